"""Two sessions of Alice's side by side, slurm-nb's and a plain one, and the table of attacks."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.attacks.owner import Owner
from tests.attacks.score_table import UNTRIED, ScoreTable, Trial
from tests.attacks.target import Target
from tests.cluster import Cluster
from tests.e2e.scientist import Scientist, await_port

KINDS = ("plain", "slurm-nb")
# As the wikis of clusters tell: by sbatch, on all addresses, the token in the job's output.
WIKI = "/srv/venv/bin/jupyter notebook --ip 0.0.0.0 --no-browser --port 8888"
_PRINTED = re.compile(r"http://[\w.]+:(\d+)/tree\?token=([0-9a-f]+)")
_TABLE = pytest.StashKey[ScoreTable]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_TABLE] = ScoreTable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.cluster)


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    table = config.stash.get(_TABLE, ScoreTable())
    if table.rows:
        terminalreporter.section("attacks by a second ordinary user, and from hostile web pages")
        for line in table.lines():
            terminalreporter.line(line)


@pytest.fixture(scope="package")
def alice(cluster: Cluster) -> Iterator[Scientist]:
    """The owner; her jobs and files live as long as the run."""
    scientist = Scientist(cluster)
    yield scientist
    scientist.clean_up()


@pytest.fixture(scope="package")
def plain(alice: Scientist) -> Iterator[Target]:
    """Jupyter as the wikis tell, on c1."""
    with plain_session(alice, "c1") as target:
        yield target


@pytest.fixture(scope="package")
def ours(alice: Scientist) -> Iterator[Target]:
    """A session of slurm-nb as it is by default, on c2."""
    with slurm_nb_session(alice, "-w", "c2") as target:
        yield target


@pytest.fixture(params=KINDS)
def target(request: pytest.FixtureRequest) -> Target:
    """Each of the two in turn."""
    found: Target = request.getfixturevalue("plain" if request.param == "plain" else "ours")
    return found


@pytest.fixture
def trial(request: pytest.FixtureRequest, target: Target) -> Trial:
    """This test's attack on one of the two."""
    return _trial(request, target)


@pytest.fixture
def our_trial(request: pytest.FixtureRequest, ours: Target) -> Trial:
    """An attack that has nothing to aim at on plain Jupyter."""
    return _trial(request, ours)


def _trial(request: pytest.FixtureRequest, target: Target) -> Trial:
    test = request.function
    words = " ".join((test.__doc__ or test.__name__).split()).partition(": ")[0]
    row = request.config.stash[_TABLE].row(f"{test.__module__}.{test.__name__}", words)
    trial = Trial(target, row, request.node.name)
    trial.note(UNTRIED)
    return trial


@contextmanager
def plain_session(alice: Scientist, node: str, local_port: int = 8888) -> Iterator[Target]:
    """Plain Jupyter in a job, with the wiki's tunnel on the laptop."""
    login = alice.cluster.login
    words = ["sbatch", "--parsable", f"--nodelist={node}", "--output=jupyter-%j.log"]
    job_id = login.run([*words, f"--wrap={WIKI}"], user="alice").stdout.strip()
    log = Path(f"/home/alice/jupyter-{job_id}.log")
    seen = login.root / str(log)[1:]
    found = None
    deadline = time.monotonic() + 60
    while not found:
        found = _PRINTED.search(seen.read_text()) if seen.exists() else None
        assert time.monotonic() < deadline, "plain Jupyter did not start"
        time.sleep(0.05)
    port, token = int(found[1]), found[2]
    tunnel = f"ssh -N -L {local_port}:{node}:{port} alice@login"
    owner = Owner.start(alice.cluster.hosts[node], f"http://127.0.0.1:{port}", token)
    try:
        with alice.tunnel(tunnel):
            await_port(alice.cluster.laptop, local_port)
            yield Target("plain", alice.cluster, job_id, node, port, token, log, local_port, owner)
    finally:
        owner.close()
        login.run(["scancel", job_id], user="alice")
        seen.unlink()


@contextmanager
def slurm_nb_session(alice: Scientist, *words: str) -> Iterator[Target]:
    """A session of slurm-nb, with the printed tunnel on the laptop."""
    record = alice.submit(*words)
    job_id, node, port = record["job_id"], record["node"], record["port"]
    log = Path("/home/alice/.local/state/slurm-nb/jobs", f"{job_id}_0_log.out")
    token = alice.token(job_id)
    owner = Owner.start(alice.cluster.hosts[node], f"http://127.0.0.1:{port}", token)
    try:
        with alice.tunnel(record["tunnel_command"]):
            await_port(alice.cluster.laptop, record["local_port"])
            yield Target(
                "slurm-nb", alice.cluster, job_id, node, port, token, log,
                record["local_port"], owner,
            )  # fmt: skip
    finally:
        owner.close()
        alice.slurm_nb("cancel", job_id)
