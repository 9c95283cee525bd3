"""Fixtures that tests share: recorded answers of Slurm, a state directory, the real cluster.

Limits, signals and reasons that are printed once make a run the same however it is started.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

from slurm_nb.job.spec import JobSpec
from slurm_nb.session.store import Store
from tests import events, time_limits
from tests.cluster import RELEASES, Cluster, ensure_environment, missing, run_here

ROOT = Path(__file__).resolve().parents[1]
DATA = Path(__file__).parent / "data"
NONCE = "5f" * 16
"""The nonce in the job's lines of the tests."""

AddProgram = Callable[[str, str], Path]
_CLUSTER_TEST_S = 300
_CLUSTER_START_S = 1800
"""Once for each release its programs are fetched."""
_BUILD_S = 600
_ERRORS = pytest.StashKey[dict[int, str]]()
"""The error of a fixture that many tests share, by id: the test that first reported it."""


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("the real cluster")
    group.addoption("--release", choices=RELEASES, help="whose Slurm and Python; else own")
    group.addoption("--accounting", action="store_true", help="with slurmdbd on a MariaDB")
    events.add_option(parser)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "slow: takes seconds, and a package index to build from")
    config.stash[_ERRORS] = {}
    for plugin in (events, time_limits):
        config.pluginmanager.register(plugin)
    _hear_signals()


def _hear_signals() -> None:
    """Undo `nohup` and a script's `&`, whose ignored signals every program of a test would inherit.

    A handler is not inherited, so those programs start with the default. This process still
    survives a SIGHUP or SIGQUIT that its parent made it ignore.
    """
    handlers = {
        signal.SIGINT: signal.default_int_handler,
        signal.SIGQUIT: lambda *_: None,
        signal.SIGHUP: lambda *_: None,
    }
    for number, handler in handlers.items():
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, handler)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, handlers)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.get_closest_marker("cluster") and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(_CLUSTER_TEST_S))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Report once why a fixture failed that many tests share; the others name the first of them."""
    report = yield
    if report.failed and report.when == "setup" and call.excinfo is not None:
        errors = item.config.stash[_ERRORS]
        first = errors.setdefault(id(call.excinfo.value), item.nodeid)
        if first != item.nodeid:
            report.longrepr = f"the same error as in {first}"
    return report


def recorded(name: str) -> list[str]:
    """Return the lines of a recording in tests/data without the first one, its description."""
    return (DATA / name).read_text(encoding="utf-8").splitlines()[1:]


def recorded_json(name: str) -> list[Any]:
    """Return the same for recordings with one JSON array per line."""
    return [json.loads(line) for line in recorded(name)]


@pytest.fixture
def spec() -> JobSpec:
    """Return a job that asks for nothing in particular."""
    return JobSpec(notebook_dir=Path("/"), python=Path("/usr/bin/true"))


@pytest.fixture
def clean_environ(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Remove the variables of a Slurm, a session or an ssh login that the tests run in."""
    for name in list(os.environ):
        if name.startswith(
            ("SLURM", "SBATCH_", "SQUEUE_", "SACCT_", "SCANCEL_", "SSH_", "JUPYTER_")
        ):
            monkeypatch.delenv(name)
    return monkeypatch


@pytest.fixture
def store(tmp_path: Path, clean_environ: pytest.MonkeyPatch) -> Store:
    """Return the state directory of this test, set as SLURM_NB_HOME; there is no config file."""
    clean_environ.setenv("SLURM_NB_HOME", str(tmp_path / "state"))
    clean_environ.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return Store.of_user(os.environ)


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AddProgram:
    """Put a shell script of the given name and body in front of everything on PATH."""
    folder = tmp_path / "programs"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")

    def add(name: str, body: str) -> Path:
        path = folder / name
        path.write_text(f"#!/bin/bash\n{body}\n", encoding="utf-8")
        path.chmod(0o755)
        return path

    return add


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the wheel of this checkout: SLURM_NB_WHEEL, else built here."""
    if "SLURM_NB_WHEEL" in os.environ:
        return Path(os.environ["SLURM_NB_WHEEL"])
    time_limits.allow(_BUILD_S)
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--outdir", str(folder), str(ROOT)]
    run_here(command, timeout_s=_BUILD_S)
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="session")
def cluster(wheel: Path, pytestconfig: pytest.Config) -> Iterator[Cluster]:
    """Start a real Slurm on its own hosts; without one the tests are skipped, in CI they fail."""
    release: str | None = pytestconfig.getoption("--release")
    accounting: bool = pytestconfig.getoption("--accounting")
    lacking = missing(release, accounting=accounting)
    if lacking:
        words = "no real cluster: " + " ".join(lacking)
        if os.environ.get("CI"):
            pytest.fail(words)
        pytest.skip(words)
    time_limits.allow(_CLUSTER_START_S)
    with Cluster.start("tests", release=release, accounting=accounting) as running:
        environment = ensure_environment(running, wheel)
        for name, command in (("slurm", "sbatch"), ("python", environment.python)):
            said = running.login.run([command, "--version"]).stdout
            events.note(pytestconfig, "fact", name=name, value=said.split()[-1])
        yield running


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Report skips loudly, and each reason once."""
    skipped = terminalreporter.stats.get("skipped", [])
    if skipped:
        terminalreporter.section(f"{len(skipped)} TESTS WERE SKIPPED", sep="!", red=True)
        reasons = Counter(str(report.longrepr[2]) for report in skipped)
        for reason, count in reasons.most_common():
            terminalreporter.line(f"[{count}] {reason}")


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Treat a skipped test as failed in CI."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    skipped = reporter.stats.get("skipped", []) if reporter else []
    if os.environ.get("CI") and skipped and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
