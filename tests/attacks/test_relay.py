"""A relay of Alice, and a stranger on the login node and the compute node."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.attacks.score_table import Trial
from tests.cluster.users import ALICE, MALLORY
from tests.e2e.scientist import Scientist
from tests.e2e.watched import read_until

RELAY = "/home/alice/.local/state/slurm-nb/relay"


@dataclass(frozen=True)
class Relay:
    """A relay that Alice holds."""

    record: dict[str, Any]

    @property
    def keys(self) -> str:
        """The folder of the session's keys."""
        return f"/home/alice/.local/state/slurm-nb/sessions/testbed/{self.record['job_id']}/relay"


@pytest.fixture(scope="module")
def relay(alice: Scientist) -> Iterator[Relay]:
    """Hold a relay to a session on c1."""
    record = alice.submit("-w", "c1", "--route", "relay", "--login-host", "login")
    with held(alice, record):
        yield Relay(record)
    alice.slurm_nb("cancel", record["job_id"])


@contextmanager
def held(alice: Scientist, record: dict[str, Any], *words: str) -> Iterator[str]:
    command = f"exec {record['tunnel_command']} {' '.join(words)}"
    terminal = alice.cluster.laptop.open_terminal(["bash", "-c", command], user="lea")
    try:
        yield read_until(terminal, "Leave this running")
    finally:
        terminal.close()


@pytest.mark.parametrize("way", ["by its path", "by a link", "by another root"])
def test_socket(our_trial: Trial, relay: Relay, way: str) -> None:
    """Connect to Alice's relay on the login node: only its owner may enter its folder."""
    path = {
        "by its path": f"{RELAY}/socket",
        "by a link": "/tmp/mallorys",
        "by another root": "$(echo /proc/*/root | tr ' ' '\\n' | tail -n 1)" + RELAY + "/socket",
    }[way]
    script = f"ln -sfn {RELAY}/socket /tmp/mallorys; curl -sS --unix-socket {path} http://x/api"
    seen = our_trial.target.on_login.bash(script)

    assert relay.record["url"]
    our_trial.verdict('"version"' in seen, seen)


@pytest.mark.parametrize("name", ["client", "host", "sshd_config", "known_hosts", "../../relay"])
def test_keys(our_trial: Trial, relay: Relay, name: str) -> None:
    """Read the keys of a session's relay: they are 0600 in a folder of the owner's."""
    script = f"cat {relay.keys}/{name} {RELAY}/secret"
    seen = our_trial.target.on_login.bash(script) + our_trial.target.on_node.bash(script)

    opened = any(word in seen for word in ("PRIVATE KEY", "HostKey", "ecdsa"))
    our_trial.verdict(opened or "ermission denied" not in seen, seen)


def test_arguments(our_trial: Trial, relay: Relay) -> None:
    """Find the token or a key in the arguments of a relay's processes: they contain only paths."""
    seen = our_trial.target.on_login.bash("ps -eww -o args; cat /proc/[0-9]*/environ 2>/dev/null")
    token = relay.record["url"].partition("token=")[2]

    assert "slurm-nb-relay" in seen
    our_trial.verdict(token in seen or "PRIVATE KEY" in seen, seen)


def test_listeners(our_trial: Trial, relay: Relay) -> None:
    """Connect to what a relay listens on by TCP: it listens nowhere, on login and node."""
    seen = [
        line
        for host in (our_trial.target.cluster.login, our_trial.target.cluster.hosts["c1"])
        for line in host.run(["ss", "-H", "-l", "-t", "-n", "-p"]).stdout.splitlines()
        if '"ssh"' in line or ('"sshd' in line and ":22 " not in line)
    ]

    assert relay.record["job_id"]
    our_trial.verdict(bool(seen), seen)


@pytest.mark.parametrize("program", ["cat", "sshd"])
def test_step(our_trial: Trial, relay: Relay, program: str) -> None:
    """Start a step in Alice's job as the relay does: Slurm refuses another user's."""
    what = {
        "cat": f"cat {relay.keys}/../token",
        "sshd": f"/usr/sbin/sshd -i -e -f {relay.keys}/sshd_config",
    }[program]
    job_id = relay.record["job_id"]
    seen = our_trial.target.on_login.bash(
        f"timeout 20 srun --jobid={job_id} --overlap -N1 -n1 {what} </dev/null; echo exit=$?"
    )

    our_trial.verdict("exit=0" in seen or "SSH-2.0" in seen, seen)


PLANTED = {
    "socket": "mkdir -m 777 {folder}; python3 -c 'import socket; s = socket.socket(1);"
    ' s.bind("{folder}/socket")\'',
    "link": "ln -s /home/mallory {folder}",
    "file": "touch {folder}",
}


@pytest.mark.parametrize("how", PLANTED)
def test_planted_folder(our_trial: Trial, alice: Scientist, how: str) -> None:
    """Put a folder, link or socket where a relay will have its own: it is refused.

    Its name follows from a secret; this stranger guessed it.
    """
    folder = "/tmp/slurm-nb-guessed"
    our_trial.target.on_login.bash(PLANTED[how].format(folder=folder))
    words = ["connect", our_trial.target.job_id, "--socket", f"{folder}/socket"]
    said = alice.slurm_nb(*words, timeout_s=30)
    our_trial.target.on_login.bash(f"rm -rf {folder}")

    our_trial.verdict(said.exit_code != 1 or "Jupyter is ready" in said.stdout, said)


@pytest.mark.parametrize("what", ["folder", "lock"])
def test_planted_state(our_trial: Trial, alice: Scientist, what: str) -> None:
    """Put the relay's folder or lock into Alice's state directory: another user's is refused."""
    path = alice.state / "relay"
    aside = path.with_name("relay.aside")
    path.rename(aside) if path.exists() else None
    planted = alice.home.parent / "mallory/relay"
    planted.mkdir(exist_ok=True)
    os.chown(planted, MALLORY.uid, MALLORY.uid)
    if what == "folder":
        path.symlink_to("/home/mallory/relay")
    else:
        path.mkdir(mode=0o700)
        os.chown(path, ALICE.uid, ALICE.uid)
        (path / "lock").symlink_to("/home/mallory/relay/lock")
    try:
        said = alice.slurm_nb("connect", our_trial.target.job_id, timeout_s=30)
        caught = [each.name for each in Path(planted).iterdir()]
    finally:
        path.unlink() if path.is_symlink() else None
        (path / "lock").unlink(missing_ok=True)
        path.rmdir() if path.exists() and not any(path.iterdir()) else None
        aside.rename(path) if aside.exists() and not path.exists() else None

    our_trial.verdict(bool(caught) or said.exit_code != 1, (said, caught))
