"""The job's directory on the node is used only while it is the one that the job created."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import Any

import pytest

from slurm_nb.kit.security.run_dir import RunDir


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "slurm-nb.X"
    for each in (folder, folder / "runtime"):
        each.mkdir()
        each.chmod(0o700)
    return folder


def held(folder: Path) -> RunDir:
    return RunDir(str(folder), [str(folder / "runtime")])


def test_an_unchanged_directory_is_used(folder: Path) -> None:
    """Jupyter sets the sticky bit of the runtime directory."""
    run_dir = held(folder)
    (folder / "runtime").chmod(0o1700)
    (folder / "runtime" / "kernel-1.json").touch()

    assert run_dir.flaw() == ""


def removed(folder: Path) -> None:
    (folder / "runtime").rmdir()
    folder.rmdir()


def replaced(folder: Path) -> None:
    folder.rename(folder.with_name("gone"))
    folder.mkdir(mode=0o700)
    (folder / "runtime").mkdir(mode=0o700)


def linked(folder: Path) -> None:
    folder.rename(folder.with_name("gone"))
    folder.symlink_to("gone")


def opened(folder: Path) -> None:
    folder.chmod(0o777)


def given_away(folder: Path) -> None:
    os.chown(folder, 12345, 12345)


def without_runtime(folder: Path) -> None:
    (folder / "runtime").rmdir()
    (folder / "runtime").mkdir(mode=0o700)


@pytest.mark.parametrize("change", [removed, replaced, linked, opened, given_away, without_runtime])
def test_a_directory_that_somebody_else_may_have_made_is_not_used(
    folder: Path, change: Any
) -> None:
    if change is given_away and os.geteuid() != 0:
        pytest.skip("only root can change the owner")
    run_dir = held(folder)

    change(folder)

    assert run_dir.flaw().startswith(f"{folder}")
    assert "save your notebooks, and start another session" in run_dir.flaw()


def test_systemd_tmpfiles_does_not_clean_the_directory(folder: Path) -> None:
    """It skips a directory on which it cannot get an exclusive lock."""
    run_dir = held(folder)
    cleaner = os.open(folder, os.O_RDONLY)

    with pytest.raises(BlockingIOError):
        fcntl.flock(cleaner, fcntl.LOCK_EX | fcntl.LOCK_NB)

    os.close(cleaner)
    assert run_dir.flaw() == ""


def test_files_do_not_look_old_to_a_cleaner(folder: Path) -> None:
    """Links are not followed: they may lead to the user's own files."""
    outside = folder.parent / "outside"
    (folder / "page").mkdir()
    paths = [folder, folder / "page", folder / "page" / "login.html", folder / "owner"]
    for path in (outside, *paths[2:]):
        path.touch()
    (folder / "link").symlink_to(outside)
    for path in (*paths, outside):
        os.utime(path, (1000, 1000))

    held(folder).renew()

    assert all(min(path.stat()[7:9]) > 1000 for path in paths)
    assert outside.stat().st_mtime == 1000


def test_the_anchored_path_leads_to_the_directory_itself(folder: Path) -> None:
    run_dir = held(folder)
    (folder / "end-time").write_text("1")

    replaced(folder)
    (folder / "end-time").write_text("2")

    assert Path(run_dir.anchored, "end-time").read_text() == "1"
