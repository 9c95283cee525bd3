"""The server cleans up on the node if its job script was killed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

# The script starts a server, says when it runs, and is then killed or waits for it.
SCRIPT = """
import os, signal, subprocess, sys
child = subprocess.Popen(
    [sys.executable, "-c", sys.argv[1]], stdout=subprocess.PIPE, close_fds=False
)
child.stdout.readline()
if sys.argv[2] == "killed":
    os.kill(os.getpid(), signal.SIGKILL)
child.wait()
"""
# The server ends at once or when its parent has ended; a process it has forked ends earlier.
SERVER = """
import os, sys, time
from slurm_nb.kit import cleanup
cleanup.clean_up_in_place_of_the_script({run_dir!r}, {session_dir!r}, "5f5f")
parent = os.getppid()
print("begun", flush=True)
while {waits} and os.getppid() == parent:
    time.sleep(0.01)
if os.fork() == 0:
    sys.exit()
os.wait()
assert os.path.isdir({run_dir!r})
"""


def left_by(tmp_path: Path, how: str, content: str = "5f5f") -> set[str]:
    """Return the names that are left after the server has ended.

    how: the script's end. content: of the token's file.
    """
    run_dir, session_dir = tmp_path / "slurm-nb.abc", tmp_path / "7"
    (run_dir / "runtime").mkdir(parents=True)
    session_dir.mkdir()
    for name, text in (("token", content), ("open.html", f"?token={content}"), ("nonce", "5f5f")):
        (session_dir / name).write_text(text)
    server = SERVER.format(
        run_dir=str(run_dir), session_dir=str(session_dir), waits=how == "killed"
    )
    reader, writer = os.pipe()  # closes when the server has ended
    subprocess.run(
        [sys.executable, "-c", SCRIPT, server, how], pass_fds=[writer], check=False, timeout=30
    )
    os.close(writer)
    os.read(reader, 1)
    os.close(reader)
    return {path.name for path in (*tmp_path.iterdir(), *session_dir.iterdir())}


def test_after_its_script_was_killed_a_server_removes_directory_and_token(tmp_path: Path) -> None:
    """Nobody else would; a process that the server has forked does not."""
    assert left_by(tmp_path, "killed") == {"7", "nonce"}


def test_the_token_of_another_run_stays(tmp_path: Path) -> None:
    """The job was requeued, and this server outlived it."""
    assert left_by(tmp_path, "killed", "another") == {"7", "nonce", "token", "open.html"}


def test_while_its_script_lives_a_server_leaves_all(tmp_path: Path) -> None:
    """The script reads them afterwards and removes them."""
    assert left_by(tmp_path, "lives") == {"slurm-nb.abc", "7", "nonce", "token", "open.html"}
