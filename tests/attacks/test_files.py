"""The token, searched for in every file, process and directory that a stranger can read."""

from __future__ import annotations

import pytest

from tests.attacks.score_table import Trial

READ_FILES = "find {folders} -xdev -type f -size -20M -readable -exec cat {{}} + 2>/dev/null"


def test_token_in_ps(trial: Trial) -> None:
    """Read the token from ps on the node: no process has it in its arguments."""
    seen = trial.target.on_node.bash("ps auxewww")

    assert "alice" in seen
    trial.verdict(trial.target.token in seen, seen, on_plain=False)


@pytest.mark.parametrize("part", ["cmdline", "environ", "maps", "fd", "cwd", "mem"])
def test_token_in_proc(trial: Trial, part: str) -> None:
    """Read /proc of Alice's processes (cmdline, environ, maps, fd, mem): denied, or no secret."""
    script = f"for p in $(pgrep -u alice); do cat /proc/$p/{part} /proc/$p/{part}/* ; done"
    seen = trial.target.on_node.bash(script)

    assert "Permission denied" in seen or part == "cmdline", seen
    trial.verdict(trial.target.token in seen, seen, on_plain=False)


def test_token_in_the_log(trial: Trial) -> None:
    """Read the job's output: Jupyter writes no token there, and the file is 0600."""
    target = trial.target
    seen = target.on_login.bash(f"cat {target.log}")

    trial.verdict(target.token in seen, seen)


def test_log_at_all(trial: Trial) -> None:
    """Read the kernels' prints to the job's output: the file is 0600 in a 0700 directory."""
    target = trial.target
    target.owner.run("import os; os.write(1, b'') ; os.system('echo LEAKED-RESULT >>/proc/%d/fd/1'"
                     " % os.getppid())")  # fmt: skip
    seen = target.on_login.bash(f"cat {target.log}")

    trial.verdict("LEAKED-RESULT" in seen, seen)


def test_token_in_the_home(trial: Trial) -> None:
    """Read every file in Alice's home and runtime directories: no file of ours is readable."""
    seen = trial.target.on_login.bash(READ_FILES.format(folders="/home/alice"))

    trial.verdict(trial.target.token in seen, seen)


def test_token_on_the_node(trial: Trial) -> None:
    """Read every file in /tmp, /dev/shm, /run, /var of the node: ours are in 0700 directories."""
    folders = "/tmp /dev/shm /run /var/tmp /var/spool /var/log"
    seen = trial.target.on_node.bash(READ_FILES.format(folders=folders))

    trial.verdict(trial.target.token in seen, seen, on_plain=False)


def test_token_by_ssh(trial: Trial) -> None:
    """Log in to the node by ssh and search there: ssh gives a stranger only a stranger's view."""
    target = trial.target
    look = "cat /proc/*/environ; ps auxewww; cat $(find /tmp -type f -readable)"
    script = f"ssh {target.node} '{look}' 2>/dev/null; ssh {target.node} hostname"
    seen = target.on_login.bash(script)

    assert seen.endswith(f"{target.node}\n"), seen
    trial.verdict(target.token in seen, seen, on_plain=False)


@pytest.mark.parametrize("pattern", ["jpserver-*.json", "jpserver-*-open.html", "kernel-*.json"])
def test_runtime_files(trial: Trial, pattern: str) -> None:
    """Read jpserver-*.json, jpserver-*-open.html, kernel-*.json: their directory is 0700."""
    look = f"find /home /tmp /run /dev/shm -name '{pattern}' -readable -exec cat {{}} + 2>/dev/null"
    seen = trial.target.on_node.bash(look)

    trial.verdict("shell_port" in seen or trial.target.token in seen, seen, on_plain=False)


def test_names_in_the_node_local_directory(trial: Trial) -> None:
    """List Alice's node-local directories, for kernel ids and socket names: they are 0700."""
    script = "for d in $(find /tmp /dev/shm /run /var/tmp -user alice -type d); do ls -A $d; done"
    seen = trial.target.on_node.bash(script + " 2>/dev/null")

    trial.verdict(bool(seen.strip()), seen, on_plain=False)


def test_write_into_the_owners_directories(trial: Trial) -> None:
    """Put a module or config where Alice's Jupyter would load it: no directory allows it."""
    script = "find /home/alice /tmp /dev/shm -user alice ! -type l -writable ! -type s 2>/dev/null"
    seen = trial.target.on_node.bash(script) + trial.target.on_login.bash(script)

    trial.verdict(bool(seen.strip()), seen, on_plain=False)


def test_runtime_directory_of_what_the_owner_starts(trial: Trial) -> None:
    """Plant, on another node, the directory that Alice's cells name to Jupyter: they name none."""
    told = trial.target.owner.run("import os; print(os.environ.get('JUPYTER_RUNTIME_DIR'))")

    trial.verdict(told != "None\n", told, on_plain=False)


def test_ptrace(trial: Trial) -> None:
    """Send a signal to the server, or trace it: the kernel lets only its owner."""
    script = "for p in $(pgrep -u alice); do kill -0 $p && echo got $p; done"
    seen = trial.target.on_node.bash(script)

    assert "not permitted" in seen
    trial.verdict("got" in seen, seen, on_plain=False)
