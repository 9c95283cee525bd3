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
cleanup.clean_up_in_place_of_the_script({run_dir!r})
parent = os.getppid()
print("begun", flush=True)
while {waits} and os.getppid() == parent:
    time.sleep(0.01)
if os.fork() == 0:
    sys.exit()
os.wait()
assert os.path.isdir({run_dir!r})
"""


def left_by(tmp_path: Path, how: str) -> bool:
    """Return whether the directory exists after the server has ended; `how` is the script's end."""
    run_dir = tmp_path / "slurm-nb.abc"
    (run_dir / "runtime").mkdir(parents=True)
    server = SERVER.format(run_dir=str(run_dir), waits=how == "killed")
    reader, writer = os.pipe()  # closes when the server has ended
    subprocess.run(
        [sys.executable, "-c", SCRIPT, server, how], pass_fds=[writer], check=False, timeout=30
    )
    os.close(writer)
    os.read(reader, 1)
    os.close(reader)
    return run_dir.exists()


def test_after_its_script_was_killed_a_server_removes_the_directory(tmp_path: Path) -> None:
    """Nobody else would; a process that the server has forked does not."""
    assert not left_by(tmp_path, "killed")


def test_while_its_script_lives_a_server_leaves_the_directory(tmp_path: Path) -> None:
    """The script reads it afterwards and removes it."""
    assert left_by(tmp_path, "lives")
