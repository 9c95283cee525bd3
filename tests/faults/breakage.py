"""Ways to break things on the test cluster and to repair them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from tests.cluster import Host
from tests.e2e.scientist import Scientist


def kill(alice: Scientist, part: str = "", *, signal: str = "KILL", host: str = "login") -> int:
    """Send a signal to Alice's processes on a host, all at once; return how many there were.

    part: only to those whose command contains it.
    """
    pids = [line.split()[0] for line in alice.processes(host).splitlines() if part in line]
    if pids:
        alice.cluster.hosts[host].run(["kill", f"-{signal}", *pids], check=False)
    return len(pids)


def impatient(alice: Scientist) -> dict[str, str]:
    """Return the environment in which Slurm's commands wait for slurmctld for 2 s, not 10 s.

    A site can set that too: MessageTimeout, slurm.conf(5).
    """
    etc, own = alice.cluster.login.root / "etc/slurm", alice.home / "bin"
    own.mkdir(exist_ok=True)
    os.chown(own, alice.user.uid, alice.user.uid)
    (own / "gres.conf").write_text((etc / "gres.conf").read_text())
    (own / "slurm.conf").write_text(f"{(etc / 'slurm.conf').read_text()}\nMessageTimeout=2\n")
    return {"SLURM_CONF": f"{alice.user.home}/bin/slurm.conf"}


@contextmanager
def mounted(host: Host, path: str, *options: str) -> Iterator[None]:
    """Mount what only this host sees: `mounted(login, "/home/alice/x", "-t", "tmpfs", "none")`.

    The path is the last argument of mount(8).
    """
    host.run(["mount", *options, path])
    try:
        yield
    finally:
        host.run(["umount", path])


@contextmanager
def rebooted(host: Host) -> Iterator[None]:
    """Give the host another boot id, as after a reboot; the caller kills the processes."""
    boot_id = host.root / "run/boot_id"
    boot_id.write_text("0b0071d0-0000-4000-8000-000000000000\n")
    with mounted(host, "/proc/sys/kernel/random/boot_id", "--bind", "/run/boot_id"):
        yield
