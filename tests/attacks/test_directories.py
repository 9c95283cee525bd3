"""Directories and files planted or tampered with by a stranger, on the login node and the nodes."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.attacks.conftest import slurm_nb_session
from tests.attacks.score_table import Trial
from tests.attacks.target import PYTHON, Target, await_line, finish
from tests.cluster.users import ALICE, MALLORY
from tests.e2e.scientist import Said, Scientist


@pytest.fixture
def shared(alice: Scientist) -> Iterator[Path]:
    """Make a world-writable folder that login and nodes share, as /scratch is."""
    folder = alice.home.parent / "scratch"
    folder.mkdir()
    folder.chmod(0o1777)
    yield folder
    subprocess.run(["rm", "-rf", str(folder)], check=True, timeout=20)


def as_mallory(alice: Scientist, script: str) -> None:
    alice.cluster.login.run(["bash", "-c", script], user="mallory")


def submit_there(alice: Scientist, folder: str) -> tuple[Said, list[str]]:
    """Submit with SLURM_NB_HOME there; return the output and the new jobs."""
    before = set(alice.squeue("%i"))
    said = alice.slurm_nb("submit", "-w", "c1", env={"SLURM_NB_HOME": folder})
    made = sorted(set(alice.squeue("%i")) - before)
    for job_id in made:
        alice.cluster.login.run(["scancel", job_id], user="alice")
    return said, made


@pytest.mark.usefixtures("shared")
@pytest.mark.parametrize(
    "planted",
    [
        "mkdir -m 777 /home/scratch/nb",
        "mkdir -p /home/scratch/nb/sessions/testbed; chmod -R 777 /home/scratch/nb",
        "mkdir -m 777 /home/scratch/hers; ln -s hers /home/scratch/nb",
        "ln -s /home/mallory/caught /home/scratch/nb; mkdir -m 777 -p /home/mallory/caught",
    ],
    ids=["folder", "session folder", "link beside it", "link to his home"],
)
def test_planted_state_directory(our_trial: Trial, alice: Scientist, planted: str) -> None:
    """Plant Alice's state directory, or a link in its place: another user's is refused."""
    as_mallory(alice, planted)

    said, made = submit_there(alice, "/home/scratch/nb")

    our_trial.verdict(bool(made) or said.exit_code != 1, (said, made))


def test_parent_that_others_may_write(our_trial: Trial, alice: Scientist, shared: Path) -> None:
    """Swap a state directory below a folder that others may write: such a parent is refused."""
    shared.chmod(0o777)  # not sticky: everyone may rename everything in it

    said, made = submit_there(alice, "/home/scratch/nb")

    our_trial.verdict(bool(made) or said.exit_code != 1, (said, made))


def test_group_writable_parent(our_trial: Trial, alice: Scientist, shared: Path) -> None:
    """Swap a state directory below a group's folder: a parent that the group writes is refused."""
    os.chown(shared, ALICE.uid, MALLORY.uid)
    shared.chmod(0o770)

    said, made = submit_there(alice, "/home/scratch/nb")

    our_trial.verdict(bool(made) or said.exit_code != 1, (said, made))


TAMPERED = {
    "owned by mallory": "chown 21002 {file}",
    "group-writable": "chmod 660 {file}",
    "world-writable": "chmod 666 {file}",
    "a link": "mv {file} {file}.old; ln -s /home/mallory/session.json {file}",
    "folder world-writable": "chmod 777 {folder}",
    "folder a link": "mv {folder} {folder}.old; ln -s /home/mallory/7 {folder}",
    "token of mallory": "chown 21002 {folder}/token",
    "token a link": "mv {folder}/token {folder}/old; ln -s /home/mallory/token {folder}/token",
    "token readable": "chmod 644 {folder}/token",
}


@pytest.mark.parametrize("how", TAMPERED)
def test_tampered_record(our_trial: Trial, alice: Scientist, how: str) -> None:
    """Replace or open the record or token of Alice's session: a file open to others is refused."""
    target = our_trial.target
    with _saved_record(alice, target) as folder:
        home = alice.home.parent / "mallory"
        (home / "7").mkdir(exist_ok=True)
        for path in (home / "session.json", home / "7/session.json"):
            path.write_text((folder / "session.json").read_text())
        for path in (home / "token", home / "7/token"):
            path.write_text(target.token)
        script = TAMPERED[how].format(file=folder / "session.json", folder=folder)
        subprocess.run(["bash", "-c", script], check=True, timeout=20)
        said = alice.slurm_nb("tunnel-cmd", target.job_id)

    our_trial.verdict("ssh " in said.stdout or said.exit_code == 0, said)


@pytest.mark.parametrize("name", ["ended.json", "witness.json", "submission", "nonce"])
def test_planted_ending(our_trial: Trial, alice: Scientist, name: str) -> None:
    """Plant the ending of a session, or the owner of its token: it must be the owner's."""
    target = our_trial.target
    with _saved_record(alice, target) as folder:
        (folder / name).unlink(missing_ok=True)
        (folder / name).write_text('{"at": 1}')
        os.chown(folder / name, MALLORY.uid, MALLORY.uid)
        listed = alice.slurm_nb("list", "--prune")
        said = alice.slurm_nb("tunnel-cmd", target.job_id)
        there = (folder / "token").exists()

    our_trial.verdict(not there or said.exit_code == 0, (listed, said))


HOSTILE_RECORDS = {
    "login host": {"login_host": "x -oProxyCommand=touch${IFS}/tmp/pwned"},
    "local port": {"local_port": "1 -R 1:x:1"},
    "cluster": {"cluster": "../../../mallory"},
    "another job": {"job_id": "999999"},
    "node": {"ready": {"node": "c1;touch /tmp/pwned", "port": 1, "path": "/"}},
}


@pytest.mark.parametrize("what", HOSTILE_RECORDS)
def test_hostile_record(our_trial: Trial, alice: Scientist, what: str) -> None:
    """Have shell text, a path or another job in session.json: its values are checked again."""
    target = our_trial.target
    with _saved_record(alice, target) as folder:
        record = json.loads((folder / "session.json").read_text()) | HOSTILE_RECORDS[what]
        (folder / "session.json").write_text(json.dumps(record))
        said = alice.slurm_nb("tunnel-cmd", target.job_id)

    steered = any(text in said.stdout for text in ("Proxy", "-R", ";", "mallory"))
    wrong_job = what in {"another job", "cluster"} and said.exit_code == 0
    our_trial.verdict(steered or wrong_job or said.exit_code == 70, said)


@pytest.mark.parametrize("tmpdir", ["/tmp/of-mallory", "/tmp/link-of-mallory"])
def test_tmpdir_of_a_stranger(our_trial: Trial, alice: Scientist, tmpdir: str) -> None:
    """Set TMPDIR to Mallory's folder on the node, to swap sockets and kit there: refused."""
    node = alice.cluster.hosts["c1"]
    script = "mkdir -p -m 777 /tmp/of-mallory; ln -sfn of-mallory /tmp/link-of-mallory"
    node.run(["bash", "-c", script], user="mallory")
    said = alice.slurm_nb("submit", "-w", "c1", "--json", env={"TMPDIR": tmpdir})
    inside = [path.name for path in (node.root / "tmp/of-mallory").iterdir()]
    alice.cluster.login.run(["bash", "-c", "scancel -w c1 -n slurm-nb"], user="alice")
    node.run(["rm", "-rf", "/tmp/of-mallory", "/tmp/link-of-mallory"])

    our_trial.verdict(any(name.startswith("slurm-nb") for name in inside), (said, inside))


def test_planted_node_local_directories(our_trial: Trial, alice: Scientist) -> None:
    """Plant /tmp/slurm-nb* on the node, as folders and links: the job makes its own."""
    node = alice.cluster.hosts["c1"]
    names = " ".join(f"/tmp/slurm-nb{end}" for end in ("", ".1", "-alice", "-21001", ".alice"))
    script = f"mkdir -m 777 -p {names} && ln -s /home/mallory /tmp/slurm-nb.link && ls -d /tmp/*"
    node.run(["bash", "-c", script], user="mallory")
    record = alice.submit("-w", "c1")
    find = ["find", *names.split(), "/home/mallory", "-user", "alice"]
    used = node.run(find, check=False).stdout
    alice.slurm_nb("cancel", record["job_id"])
    node.run(["bash", "-c", f"rm -rf {names} /tmp/slurm-nb.link"])

    our_trial.verdict(bool(used.strip()), used)


def test_job_directory_made_again(our_trial: Trial, alice: Scientist) -> None:
    """Create the job's directory on the node again, after a cleaner of /tmp has removed it: no
    kernel starts and no page is served from there, and notebooks can be saved.
    """
    put = json.dumps({"type": "file", "format": "text", "content": "x"})
    with slurm_nb_session(alice, "-w", "c1") as target:
        code = "from ipykernel.connect import get_connection_file as f; print(f())"
        folder = str(Path(target.owner.run(code).strip()).parents[1])
        target.cluster.hosts["c1"].run(["rm", "-rf", folder])
        env = {"RUN_DIR": folder, "CODE": "import os; os.system('id')"}
        attack = target.on_node.start("planted", **env)
        assert await_line(attack) == "planted"
        (page,) = target.web([{"path": "/login"}])
        started = target.owner.ask("rest", method="POST", path="/api/kernels", body="{}")
        saved = target.owner.ask("rest", method="PUT", path="/api/contents/saved.txt", body=put)
        told = finish(attack)
        target.cluster.hosts["c1"].run(["rm", "-rf", folder])
    (alice.home / "saved.txt").unlink()

    assert saved["status"] == 201, saved
    assert folder in started["body"], started
    our_trial.verdict("uid=" in told or "planted" in page["body"], (told, page, started))


@pytest.fixture
def precious(alice: Scientist) -> Iterator[Path]:
    """Yield a folder of Alice's whose files have the names that slurm-nb removes elsewhere."""
    folder = alice.home / "precious"
    folder.mkdir()
    for name in ("stdout", "stderr", "owner"):
        (folder / name).write_text("testbed/1 1 x x\n")
    for path in (folder, *folder.iterdir()):
        os.chown(path, ALICE.uid, ALICE.uid)
        os.utime(path, (1, 1))
    yield folder
    subprocess.run(["rm", "-rf", str(folder)], check=True, timeout=20)


def test_sweep_on_the_node(our_trial: Trial, alice: Scientist, precious: Path) -> None:
    """Make a job mistake a folder of its owner for an old job's, with links in the node's /tmp: the
    job follows no link, and removes nothing of others.
    """
    node = alice.cluster.hosts["c1"]
    plant = (
        "ln -s /home/alice/precious /tmp/slurm-nb.link;"
        " mkdir -m 777 /tmp/slurm-nb.his; ln -s /home/alice/precious /tmp/slurm-nb.his/in;"
        " echo 'testbed/1 1 x x' >/tmp/slurm-nb.his/owner"
    )
    node.run(["bash", "-c", plant], user="mallory")
    record = alice.submit("-w", "c1")
    alice.slurm_nb("cancel", record["job_id"])
    node.run(["bash", "-c", "rm -rf /tmp/slurm-nb.link /tmp/slurm-nb.his"])
    left = sorted(path.name for path in precious.iterdir())

    our_trial.verdict(left != ["owner", "stderr", "stdout"], left)


SWAP = """
import os, time
print("watching", flush=True)
deadline = time.monotonic() + 20
while time.monotonic() < deadline:
    for name in os.listdir("/home/scratch"):
        if name.startswith(("slurm-nb", ".sbatch")):
            try:
                os.rename("/home/scratch/" + name, "/home/scratch/away-" + name)
                os.mkdir("/home/scratch/" + name)
                os.chmod("/home/scratch/" + name, 0o777)
                os.symlink("/home/alice/victim", "/home/scratch/" + name + "/stdout")
                print("swapped", flush=True)
            except OSError as error:
                print(error, flush=True)
"""


def test_tmpdir_on_the_login_node(our_trial: Trial, alice: Scientist, shared: Path) -> None:
    """Overwrite Alice's files by links in the TMPDIR of a submission: slurm-nb uses no TMPDIR."""
    shared.chmod(0o777)
    victim = alice.home / "victim"
    victim.write_text("precious")
    os.chown(victim, ALICE.uid, ALICE.uid)
    with alice.cluster.login.popen([PYTHON, "-c", SWAP], user="mallory") as attack:
        assert await_line(attack) == "watching"
        env = {"TMPDIR": "/home/scratch"}
        said = alice.slurm_nb("submit", "-p", "closed", "--no-wait", env=env)
        attack.kill()
    alice.slurm_nb("cancel", "--last")
    left = victim.read_text()
    victim.unlink()

    our_trial.verdict(left != "precious" or said.exit_code != 0, (left, said))


def test_messages_of_sbatch(our_trial: Trial, alice: Scientist) -> None:
    """Read sbatch's messages on the login node: only the owner can enter the folder with them."""
    heard = "echo 'for alice' >&2; touch /tmp/heard; sleep 1.5; exec /usr/bin/sbatch \"$@\""
    env = alice.program("sbatch", f"#!/bin/sh\n{heard}\n")
    with ThreadPoolExecutor(1) as pool:
        submitted = pool.submit(alice.slurm_nb, "submit", "-p", "closed", "--no-wait", env=env)
        jobs = "/home/alice/.local/state/slurm-nb/jobs"
        look = f"cat {jobs}/.sbatch_*/* /tmp/slurm-nb-*/*"
        told = our_trial.target.on_login.bash(f"until [ -e /tmp/heard ]; do :; done; {look}")
        said = submitted.result()
    (alice.home / "bin/sbatch").unlink()
    alice.cluster.login.run(["rm", "-f", "/tmp/heard"])
    alice.slurm_nb("cancel", "--last")

    assert said.exit_code == 0, said
    our_trial.verdict("for alice" in told, told)


@contextmanager
def _saved_record(alice: Scientist, target: Target) -> Iterator[Path]:
    folder = alice.state / "sessions/testbed" / target.job_id
    saved = folder.with_name("saved")
    subprocess.run(["cp", "-a", str(folder), str(saved)], check=True, timeout=20)
    try:
        yield folder
    finally:
        script = f"rm -rf {folder} {folder}.old; mv {saved} {folder}"
        subprocess.run(["bash", "-c", script], check=True, timeout=20)
