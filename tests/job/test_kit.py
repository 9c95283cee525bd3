"""The state directory has the kit completely or not at all, for as long as somebody uses it."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from slurm_nb.errors import UserError
from slurm_nb.files import write_private
from slurm_nb.job import kit
from slurm_nb.job.script import render
from slurm_nb.job.spec import JobSpec
from slurm_nb.joblog.events import read_progress
from slurm_nb.operations.prune import clean_up
from slurm_nb.scheduler.job import Job
from slurm_nb.session.session import Session
from slurm_nb.session.store import Store

PACKAGE = Path(kit.__file__).parents[1] / "kit"
DAY_S = 86400


def installed(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder / kit.PACKAGE)): path.read_text(encoding="utf-8")
        for path in (folder / kit.PACKAGE).rglob("*")
        if path.is_file()
    }


def test_every_file_of_the_package_is_installed_and_private(store: Store) -> None:
    """Python, bash and the page's script are identical; no other user can enter or read."""
    folder = kit.install(store.kits)

    source = {
        str(path.relative_to(PACKAGE)): path.read_text(encoding="utf-8")
        for path in PACKAGE.rglob("*")
        if path.is_file() and path.parent.name != "__pycache__"
    }
    modes = {path.is_dir(): path.stat().st_mode & 0o777 for path in [folder, *folder.rglob("*")]}
    assert installed(folder) == source
    assert modes == {True: 0o700, False: 0o600}


def test_sha256sum_and_the_name_are_enough_to_check_the_kit(store: Store) -> None:
    """The job script checks it in this way, with programs that every node has."""
    folder = kit.install(store.kits)

    subprocess.run(["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=folder, check=True)
    sums = (folder / "SHA256SUMS").read_bytes()
    assert hashlib.sha256(sums).hexdigest() == folder.name == kit.digest()


def test_the_kit_is_written_once(store: Store) -> None:
    """A second submission finds it and records the use."""
    folder = kit.install(store.kits)
    before = {path: path.stat().st_ino for path in folder.rglob("*")}
    os.utime(folder, (0, 0))

    assert kit.install(store.kits) == folder

    assert {path: path.stat().st_ino for path in folder.rglob("*")} == before
    assert time.time() - folder.stat().st_mtime < 60
    assert list(store.kits.iterdir()) == [folder]


def change(folder: Path) -> None:
    (folder / kit.PACKAGE / "server.py").write_text("raise SystemExit('not ours')\n")


def cut(folder: Path) -> None:
    path = folder / kit.PACKAGE / "functions.sh"
    path.write_text(path.read_text()[:-9])


def lose(folder: Path) -> None:
    (folder / kit.PACKAGE / "monitor/idle.py").unlink()


def forge(folder: Path) -> None:
    """Change a file and its sum, so that only the kit's name is wrong."""
    change(folder)
    text = (folder / kit.PACKAGE / "server.py").read_bytes()
    line = f"{hashlib.sha256(text).hexdigest()}  {kit.PACKAGE}/server.py"
    sums = folder / "SHA256SUMS"
    sums.write_text(re.sub(rf".*{kit.PACKAGE}/server\.py", line, sums.read_text()))


def add(folder: Path) -> None:
    """Add a module that Python would import instead of its own."""
    (folder / "token.py").write_text("")


def empty(folder: Path) -> None:
    (folder / "SHA256SUMS").write_text("")


DAMAGE = [change, cut, lose, forge, add, empty]


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_kit_is_replaced(store: Store, damage: Callable[[Path], None]) -> None:
    """Jobs that wait for a kit of this name would refuse the damaged one."""
    folder = kit.install(store.kits)
    damage(folder)
    assert not kit.is_sound(folder)

    assert kit.install(store.kits) == folder

    assert kit.is_sound(folder)
    assert list(store.kits.iterdir()) == [folder]


def job_script(store: Store) -> str:
    """Return the plain script, with an interpreter that ends at once."""
    python = store.folder.parent / "python"
    python.write_text(
        '#!/bin/bash\necho "Jupyter $PWD"; touch "$SLURM_NB_RUN_DIR/python-started"\n'
    )
    python.chmod(0o755)
    spec = JobSpec(notebook_dir=store.folder, python=python)
    return render(spec, state_dir=store.folder, folders=[])


def run_script(script: str) -> subprocess.CompletedProcess[str]:
    """Run the script as Slurm starts it."""
    return subprocess.run(
        ["bash", "-c", script, "slurm_script"],
        env={
            "PATH": os.environ["PATH"], "HOME": "/nonexistent", "SLURM_CLUSTER_NAME": "hpc",
            "SLURM_JOB_ID": "7", "SLURMD_NODENAME": "c1",
        },
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip


def test_a_job_runs_in_the_kit(store: Store) -> None:
    """A file in the user's directory must not be imported instead of Python's."""
    folder = kit.install(store.kits)

    done = run_script(job_script(store))

    assert f"Jupyter {folder}\n" in done.stdout
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("damage", [*DAMAGE, lambda folder: folder.rename(f"{folder}-away")])
def test_a_job_does_not_use_a_damaged_kit(store: Store, damage: Callable[[Path], None]) -> None:
    """One line with the job's nonce says so and what to do; nothing of the kit runs."""
    damage(kit.install(store.kits))

    done = run_script(job_script(store))

    nonce = (store.session_folder("hpc", "7") / "nonce").read_text()
    who = {"cluster": "hpc", "job_id": "7", "nonce": nonce}
    progress = read_progress(done.stdout.splitlines(), who=who)
    assert progress.failure
    assert progress.failure.text == (f"the kit {kit.digest()} is missing or damaged on c1")
    assert "submit again" in progress.failure.cure
    assert progress.exit_code == done.returncode == 1
    assert "Jupyter" not in done.stdout
    assert done.stderr.count("\n") <= 1


def test_a_full_disk_leaves_no_half_of_a_kit(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kit is complete or absent, and the error says what could not be written."""

    def full(_handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)

    with pytest.raises(UserError, match="full, or you have reached your quota"):
        kit.install(store.kits)

    assert list(store.kits.iterdir()) == []


def test_two_submissions_at_once_do_no_harm(store: Store) -> None:
    """Both find a sound kit."""
    found: list[bool] = []

    def submit() -> None:
        code = "import sys, pathlib; from slurm_nb.job import kit\n"
        code += "print(kit.is_sound(kit.install(pathlib.Path(sys.argv[1]))))"
        done = subprocess.run(
            [sys.executable, "-c", code, str(store.kits)],
            capture_output=True,
            text=True,
            check=False,
        )
        found.append(done.stdout == "True\n")

    threads = [threading.Thread(target=submit) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert found == [True] * 4
    assert [path.name for path in store.kits.iterdir()] == [kit.digest()]


# Lets a child write the kit and end at a given step; prints how many steps it took.
STEPPER = """
import itertools, os, shutil, sys
from pathlib import Path
from slurm_nb.job import kit
kits, left = Path(sys.argv[1]), 0
os.fsync = lambda _handle: None  # a killed process, not a machine
def hook(event, args):
    global left
    writes = event == "open" and isinstance(args[2], int) and args[2] & os.O_CREAT
    if writes or event in ("os.mkdir", "os.rename", "os.rmdir", "os.remove"):
        left -= 1
        if left == 0:
            os._exit(9)
for step in itertools.count(1):
    child = os.fork()
    if child == 0:
        left = step
        sys.addaudithook(hook)
        kit.install(kits)
        os._exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    found = kits / kit.digest()
    assert not found.exists() or kit.is_sound(found), step
    if code == 0:
        break
    shutil.rmtree(found, ignore_errors=True)
print(step)
"""


def test_a_killed_submission_leaves_no_half_of_a_kit(store: Store) -> None:
    """After any step a kit of this name is complete, the next submission finds or creates one, and
    the
    next clean-up removes everything else.
    """
    argv = [sys.executable, "-c", STEPPER, str(store.kits)]
    steps = int(subprocess.run(argv, capture_output=True, check=True).stdout)
    for path in store.kits.iterdir():
        os.utime(path, (time.time() - 3600,) * 2)
    left = len(list(store.kits.iterdir()))

    assert kit.is_sound(kit.install(store.kits))
    kit.prune(store.folder)

    assert steps > 20
    assert left > 20
    assert [path.name for path in store.kits.iterdir()] == [kit.digest()]


# --- Python's cache ---


def imported(folder: Path) -> str:
    """Return where a process like the job's imports a module of the kit from."""
    code = "from slurm_nb_kit import versions as v; print(v.__cached__, v.MINIMUM['notebook'])"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def test_python_caches_the_kit_in_its_own_folder(store: Store) -> None:
    """The next job starts faster, and the kit is still sound."""
    folder = kit.install(store.kits)

    shown = imported(folder)

    assert Path(shown.split()[0]).is_relative_to(folder / kit.PACKAGE)
    assert Path(shown.split()[0]).stat().st_mode & 0o077 == 0
    assert Path(shown.split()[0]).parent.stat().st_mode & 0o077 == 0
    assert kit.is_sound(folder)
    assert run_script(job_script(store)).returncode == 0


def test_a_cache_does_not_outlive_its_file(store: Store) -> None:
    """The cache of a damaged kit is removed with it."""
    folder = kit.install(store.kits)
    path = folder / kit.PACKAGE / "versions.py"
    status = path.stat()
    path.write_text(path.read_text().replace('"notebook": "7', '"notebook": "6'))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))  # with its old size and time
    assert " 6." in imported(folder)

    kit.install(store.kits)

    assert " 7." in imported(folder)


def test_a_kit_that_cannot_be_cached_still_works(store: Store) -> None:
    """Nodes may have no write access to its file system."""
    folder = kit.install(store.kits)
    (folder / kit.PACKAGE / "__pycache__").rmdir()
    (folder / kit.PACKAGE / "__pycache__").touch()

    assert " 7." in imported(folder)


# --- how long a kit is kept ---


def older(store: Store, *, days: float, text: str = "of an older version\n") -> Path:
    """Create a kit of another version that was used `days` ago."""
    sums = f"{hashlib.sha256(text.encode()).hexdigest()}  {kit.PACKAGE}/server.py\n"
    folder = store.kits / hashlib.sha256(sums.encode()).hexdigest()
    (folder / kit.PACKAGE).mkdir(parents=True)
    (folder / "SHA256SUMS").write_text(sums)
    (folder / kit.PACKAGE / "server.py").write_text(text)
    used = time.time() - days * DAY_S
    os.utime(folder, (used, used))
    return folder


def test_an_unused_kit_is_removed_after_30_days(store: Store) -> None:
    """Until then `sbatch job.sh` works with the output of --dry-run."""
    old, young = older(store, days=31), older(store, days=29, text="of another version\n")

    clean_up(store)

    assert list(store.kits.iterdir()) == [young]
    assert not old.exists()


def pending(store: Store, folder: Path) -> None:
    """Save a job submitted before an upgrade and still in the queue."""
    store.save(Session(job=Job("7", "hpc")))
    write_private(
        store.script_path("7"), f"slurm_nb_kit_dir=$slurm_nb_state_dir/kits/{folder.name}\n"
    )


def by_hand(store: Store, folder: Path) -> None:
    """Save a job that the user submitted with sbatch; it has recorded its kit."""
    store.session_folder("hpc", "8").mkdir(parents=True)
    write_private(store.session_folder("hpc", "8") / "kit", f"{folder.name}\n")


def on_its_way(store: Store, folder: Path) -> None:
    """Save a submission that has no answer yet."""
    write_private(store.folder / "jobs/.submission_file_5f.sh", f"kits/{folder.name}\n")


@pytest.mark.parametrize("name", [pending, by_hand, on_its_way])
def test_a_kit_that_a_job_names_stays(store: Store, name: Callable[[Store, Path], None]) -> None:
    """Its age does not matter: a job reads it at its start, and for each kernel."""
    folder = older(store, days=400)
    name(store, folder)

    kit.prune(store.folder)
    kit.prune(store.folder)

    assert kit.is_sound(folder)


def test_a_pending_job_runs_the_kit_that_it_was_submitted_with(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another version is installed and submits before the job starts or is requeued."""
    before = kit.install(store.kits)
    script = job_script(store)
    files = {**kit._files(), f"{kit.PACKAGE}/functions.sh": b"echo of a new version\n"}  # noqa: SLF001
    files["SHA256SUMS"] = b"".join(
        f"{hashlib.sha256(text).hexdigest()}  {name}\n".encode()
        for name, text in files.items()
        if name != "SHA256SUMS"
    )
    monkeypatch.setattr(kit, "_files", lambda: files)
    after = kit.install(store.kits)
    clean_up(store)

    done = run_script(script)

    assert after != before
    assert f"Jupyter {before}\n" in done.stdout
    assert (done.returncode, done.stderr) == (0, "")
    assert "of a new version" in run_script(job_script(store)).stdout


def test_a_submission_of_a_new_version_keeps_the_kits_of_others(store: Store) -> None:
    """A pending or requeued job needs the kit that it was submitted with."""
    folder = older(store, days=0)

    new = kit.install(store.kits)
    clean_up(store)

    assert kit.is_sound(folder)
    assert kit.is_sound(new)


def test_a_kit_that_is_used_during_its_removal_stays(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A submission updates its time, and the clean-up checks that time again."""
    folder = older(store, days=31)
    rename = Path.rename

    def rename_late(path: Path, target: Path) -> Path:
        if path == folder:
            os.utime(folder)
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", rename_late)

    kit.prune(store.folder)

    assert kit.is_sound(folder)
    assert list(store.kits.iterdir()) == [folder]


@pytest.mark.parametrize(("minutes", "stays"), [(5, True), (20, False)])
def test_the_leftovers_of_a_killed_submission_are_removed_soon(
    store: Store,
    minutes: int,
    stays: bool,  # noqa: FBT001  a column of the table
) -> None:
    """By then nobody can still be writing them."""
    half, other = store.kits / f"{kit.digest()}.4711.new", store.kits / "of-the-users-own"
    for folder in (half, other):
        folder.mkdir()
        os.utime(folder, (time.time() - minutes * 60,) * 2)

    kit.prune(store.folder)

    assert half.exists() is stays
    assert other.exists()
