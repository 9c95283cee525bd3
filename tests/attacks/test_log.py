"""Hostile output: text in the job's log or in Slurm's answers must not steer the user."""

from __future__ import annotations

import json
import os
from typing import Any

import pytest

from tests.attacks.score_table import Trial
from tests.attacks.target import Target
from tests.e2e.scientist import SSH_CONNECTION, Scientist

READY = "slurm-nb ready: "
SHELL = "c1; touch /tmp/pwned"


def line(target: Target, *, copied: bool = True, **changed: Any) -> str:
    """Return a ready line with the changes.

    copied: from the job's own line, which code that runs as Alice can read, whatever secret it
    holds; else with a stranger's knowledge.
    """
    record: dict[str, Any] = {"cluster": "testbed", "job_id": target.job_id, "node": target.node}
    record |= {"port": target.port, "path": "/tree"}
    if copied:
        text = (target.cluster.login.root / str(target.log)[1:]).read_text(errors="replace")
        own = next(each for each in text.splitlines() if each.startswith(READY))
        record = json.loads(own.removeprefix(READY))
    return READY + json.dumps({**record, **changed}, ensure_ascii=False)


def append(target: Target, text: str) -> None:
    """Write to the job's output from a cell, as any library that it loads can."""
    code = f"""
import os
with open(f"/proc/{{os.getppid()}}/fd/1", "a") as log:
    log.write({f"{chr(10)}{text}{chr(10)}"!r})
print("written")
"""
    assert target.owner.run(code) == "written\n"


def tunnel_cmd(target: Target) -> str:
    """Return the output of tunnel-cmd, both streams."""
    done = target.cluster.login.run(
        ["slurm-nb", "tunnel-cmd", target.job_id], user="alice", env=SSH_CONNECTION, check=False,
        timeout_s=60,
    )  # fmt: skip
    return done.stdout + done.stderr


HOSTILE: dict[str, dict[str, Any]] = {
    "shell in the node": {"node": SHELL},
    "option in the node": {"node": "-oProxyCommand=touch /tmp/pwned"},
    "substitution in the node": {"node": "$(touch /tmp/pwned)"},
    "user in the node": {"node": "mallory@c1"},
    "newline in the node": {"node": "c1\nssh evil"},
    "escape in the node": {"node": "c1\x1b]0;pwned\x07"},
    "shell in the path": {"path": "/tree';touch /tmp/pwned;'"},
    "escape in the path": {"path": "/tree\x1b[31mpwned"},
    "another host in the path": {"path": "@evil.example/"},
    "port of text": {"port": "22 -R 1:pwned:1"},
    "port out of range": {"port": 65536 + 22},
    "port zero": {"port": 0},
    "negative port": {"port": -1},
    "another job": {"job_id": "999999", "port": 31337},
    "another cluster": {"cluster": "elsewhere", "port": 31337},
}


@pytest.mark.parametrize("what", HOSTILE)
def test_malformed_ready_line(our_trial: Trial, what: str) -> None:
    """Print a ready line with shell text, escapes or impossible values: it is ignored."""
    target = our_trial.target
    before = tunnel_cmd(target)
    append(target, line(target, **HOSTILE[what]))

    after = tunnel_cmd(target)

    our_trial.verdict(after != before or "\x1b" in after, after)


@pytest.mark.parametrize("copied", [False, True], ids=["made up", "copied"])
@pytest.mark.parametrize(
    "changed",
    [{"node": "c1"}, {"port": 31337}, {"node": "evil.example", "port": 22}, {"path": "/evil"}],
    ids=["another node", "another port", "a foreign host", "another page"],
)
def test_wellformed_ready_line(our_trial: Trial, changed: dict[str, Any], *, copied: bool) -> None:
    """Print a well-formed ready line to another node, port or host: only the job's own is used."""
    target = our_trial.target
    before = tunnel_cmd(target)
    append(target, line(target, copied=copied, **changed))

    after = tunnel_cmd(target)
    append(target, line(target))  # as it was, for the other tests

    our_trial.verdict(after != before, after)


@pytest.mark.parametrize("kind", ["started", "ended"])
def test_lines_that_end_a_session(our_trial: Trial, kind: str) -> None:
    """Print that the job ended, or started again: the living session is still found."""
    target = our_trial.target
    before = tunnel_cmd(target)
    record: dict[str, Any] = {"cluster": "testbed", "job_id": target.job_id, "exit_code": 0}
    append(target, f"slurm-nb {kind}: {json.dumps(record)}")

    after = tunnel_cmd(target)
    append(target, line(target))

    our_trial.verdict(after != before, after)


def test_copied_ending(our_trial: Trial, alice: Scientist) -> None:
    """Print the line with which the job ends, its secret and all: Slurm has it running."""
    target = our_trial.target
    append(target, line(target, exit_code=0).replace(READY, "slurm-nb ended: "))

    listed = alice.slurm_nb("list", "--prune")
    there = (alice.state / "sessions/testbed" / target.job_id / "token").exists()
    append(target, line(target))

    our_trial.verdict(not there or f"{target.job_id} " not in listed.stdout, listed)


def test_flood_of_lines_like_ours(our_trial: Trial) -> None:
    """Print 120 MB of lines like the job's own, secret and all: status takes little memory."""
    target = our_trial.target
    notice = line(target, text="x" * 800).replace(READY, "slurm-nb notice: ") + "\n"
    path = target.cluster.login.root / str(target.log)[1:]
    size = path.stat().st_size
    try:
        with path.open("a") as log:
            log.writelines(notice for _ in range(120_000_000 // len(notice)))
        told = target.cluster.login.run(["/srv/venv/bin/python", "-c", _MEASURED, target.job_id],
                                        user="alice", timeout_s=120).stdout  # fmt: skip
    finally:
        os.truncate(path, size)

    our_trial.verdict(int(told) > _MOST_KIB, told)


_MOST_KIB = 100 << 10
_MEASURED = """
import resource, subprocess, sys
subprocess.run(["slurm-nb", "status", sys.argv[1]], stdout=subprocess.DEVNULL, check=True)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


def test_characters_that_steer_logs(our_trial: Trial, alice: Scientist) -> None:
    """Print characters that steer a terminal, break a line or reorder it: logs spells them out."""
    steer = {"\x1b", "\x07", "\x9b", "\u2028", "\u202e", "\u2066"}
    append(our_trial.target, "steered " + "x".join(sorted(steer)))

    said = alice.slurm_nb("logs", "-n", "20", our_trial.target.job_id)

    assert "steered" in said.stdout, said
    our_trial.verdict(bool(steer & {*said.stdout, *said.stderr}), said)


def test_fake_url_in_the_log(trial: Trial) -> None:
    """Print Mallory's address in the job's output: the printed connection ignores it."""
    target = trial.target
    fake = "http://c1:31337/tree?token=" + "f" * 64
    append(target, f"    {fake}")
    if target.kind == "plain":  # the wiki's advice: take the address from the output
        told = target.cluster.login.run(["tail", "-n2", str(target.log)], user="alice").stdout
    else:
        told = tunnel_cmd(target)

    trial.verdict("31337" in told, told)


def test_mallory_writes_to_the_log(trial: Trial) -> None:
    """Write to the job's output as Mallory: only the owner can open the file."""
    target = trial.target
    told = target.on_login.bash(f"echo x >> {target.log} && echo DONE")

    trial.verdict("DONE" in told, told, on_plain=False)
