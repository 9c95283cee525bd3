"""SQLite files move away from network file systems, and only from those."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from traitlets.config import Config

from slurm_nb.kit import sqlite

LOCAL = "22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n"
LINE = "40 22 0:50 / {point} rw,relatime shared:2 - {kind} server:/export rw\n"


def mounted(kind: str, point: str = "/home") -> str:
    return LOCAL + LINE.format(kind=kind, point=point)


@pytest.mark.parametrize(
    "kind", ["nfs", "nfs4", "lustre", "gpfs", "beegfs", "ceph", "cifs", "fuse.sshfs", "9p"]
)
def test_a_network_file_system_is_recognised(kind: str) -> None:
    """The type of the path's mount decides; the path itself need not exist."""
    assert sqlite.is_network("/home/alice/.ipython", mounted(kind))
    assert not sqlite.is_network("/homes/alice", mounted(kind))
    assert not sqlite.is_network("/var", mounted(kind))


@pytest.mark.parametrize("kind", ["ext4", "xfs", "btrfs", "zfs", "tmpfs", "overlay"])
def test_a_local_file_system_is_recognised(kind: str) -> None:
    """The user's files stay on it."""
    assert not sqlite.is_network("/home/alice", mounted(kind))


def test_the_innermost_and_latest_mount_decides() -> None:
    """A local disk mounted inside a network home, or over it, is local."""
    assert not sqlite.is_network(
        "/home/a/x", mounted("nfs") + LINE.format(kind="xfs", point="/home/a")
    )
    assert not sqlite.is_network("/home/a", mounted("nfs") + LINE.format(kind="xfs", point="/home"))
    assert sqlite.is_network("/my home/a", mounted("nfs", point=r"/my\040home"))


@pytest.mark.parametrize("text", ["", "x", "1 2 3 - nfs", "- - - - -"])
def test_an_unreadable_table_changes_nothing(text: str) -> None:
    """The files stay unless the file system is known to be a network file system."""
    assert not sqlite.is_network("/home", text)


@pytest.fixture
def session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, value in {
        "HOME": "/home/alice", "JUPYTER_RUNTIME_DIR": str(tmp_path), "SLURM_NB_NOTEBOOK_DIR": "/n",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    for name in ("XDG_DATA_HOME", "JUPYTER_DATA_DIR", "IPYTHONDIR", sqlite.FOLDER):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(sqlite, "_ASKED", {})
    return tmp_path


def test_with_a_network_home_the_databases_are_on_the_node(
    session: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Signatures, file ids and, through a variable, IPython's history go to the job's directory."""
    monkeypatch.setattr(sqlite, "is_network", lambda path: path.startswith("/home/alice/"))
    config = Config()

    sqlite.configure(config)

    assert config.NotebookNotary.db_file == f"{session}/nbsignatures.db"
    assert config.BaseFileIdManager.db_path == f"{session}/file_id_manager.db"
    assert "SQLiteYStore" not in config
    assert os.environ[sqlite.FOLDER] == str(session)


@pytest.mark.usefixtures("session")
def test_with_a_local_home_the_databases_stay_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is set, so the history outlives the session."""
    monkeypatch.setattr(sqlite, "is_network", lambda _path: False)
    config = Config()

    sqlite.configure(config)

    assert config == {}
    assert sqlite.FOLDER not in os.environ
