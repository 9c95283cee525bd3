"""The cluster: four hosts started, wired, furnished with daemons, and taken down again."""

import os
import shutil
import signal
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from . import accounting as database
from . import network, slurm, sshd
from .host import Host, await_ready, start_host
from .layout import HOSTS, SLURM_HOSTS, plan_file, write_layout
from .machine import missing
from .release import Release, ensure_release, own_release
from .state import StateDir, forget, make_state_dir, recall, remember, sweep_leftovers
from .users import CLUSTER_USERS


class StartError(Exception):
    """The cluster did not start; the text holds the ends of all logs."""


@dataclass(frozen=True)
class Cluster:
    """A running cluster; as a context manager, it ends with the block."""

    state: Path
    """The state dir; layout.py says what is in it."""
    hosts: Mapping[str, Host]
    """laptop, login, c1, c2."""
    owned: StateDir | None
    """None when another process started the cluster."""
    release: Release
    """Of login, c1 and c2; the laptop has this machine's own."""
    accounting: bool
    """Whether there is an accounting database."""

    @classmethod
    def start(
        cls,
        name: str = "tests",
        *,
        release: str | None = None,
        accounting: bool = False,
        stay: bool = False,
    ) -> Self:
        """Start a cluster and wait until it takes jobs and answers ssh.

        name: only a part of the state dir's name. release: the Debian that login and the nodes run,
        None for this machine's own; another is fetched first, which takes minutes once. accounting:
        with slurmdbd. stay: let it outlive this process; else it ends with this process, however
        that ends.
        """
        lacking = missing(release, accounting=accounting)
        if lacking:
            raise StartError("\n".join(lacking))
        debian = ensure_release(release or own_release())
        sweep_leftovers()
        owned = make_state_dir(name)
        hosts: dict[str, Host] = {}
        try:
            write_layout(owned.path, debian, accounting=accounting)
            for host in HOSTS:
                hosts[host] = start_host(host, plan_file(owned.path, host), stay=stay)
            for host in HOSTS:
                hosts[host] = await_ready(hosts[host])
            cluster = cls(owned.path, hosts, owned, debian, accounting)
            cluster._start_daemons()
        except BaseException as error:
            logs = read_logs(owned.path)
            _end(hosts.values(), owned)
            if isinstance(error, Exception):
                raise StartError(f"{error}\n{logs}") from error
            raise
        return cluster

    @classmethod
    def recalled(cls, name: str) -> Self | None:
        """Return the cluster that `keep` saved under a name, if it lives."""
        record = recall(name)
        if record is None or not record.alive():
            return None
        hosts = {host: Host(host, pid) for host, pid in record.inits.items()}
        return cls(record.state, hosts, None, ensure_release(record.release), record.accounting)

    def keep(self, name: str) -> None:
        """Save where a cluster started with `stay` is, and leave it running.

        If another one lives under that name, this one is ended and StartError raised.
        """
        assert self.owned is not None
        if self.recalled(name) is not None:
            self.close()
            raise StartError(f"a cluster {name} is already up")
        inits = {host.name: host.init_pid for host in self.hosts.values()}
        remember(name, self.state, inits, release=self.release.name, accounting=self.accounting)
        self.owned.release(wait_s=0)

    @property
    def laptop(self) -> Host:
        return self.hosts["laptop"]

    @property
    def login(self) -> Host:
        return self.hosts["login"]

    @property
    def nodes(self) -> tuple[Host, ...]:
        """c1 and c2."""
        return tuple(self.hosts[node] for node in network.NODE_ADDRESSES)

    def stop_slurmctld(self) -> None:
        """End slurmctld as a service manager would. Jobs keep running; clients fail to connect."""
        slurm.stop_slurmctld(self.login)

    def start_slurmctld(self) -> None:
        """Start slurmctld with the jobs it knew, and return when it knows its nodes again.

        That takes about 5 s; it answers long before, but starts no job.
        """
        slurm.start_slurmctld(self.login)
        slurm.await_known_nodes(self.login)

    def restart_slurmctld(self) -> None:
        """Stop slurmctld and start it."""
        self.stop_slurmctld()
        self.start_slurmctld()

    def freeze_slurmctld(self) -> None:
        """Make slurmctld hang: clients connect and get no answer until `thaw_slurmctld`."""
        slurm.freeze_slurmctld(self.login)

    def thaw_slurmctld(self) -> None:
        """Let a frozen slurmctld continue."""
        slurm.thaw_slurmctld(self.login)

    def cancel_jobs(self, timeout_s: float = 30) -> None:
        """Cancel every job of every user and wait until all have left the nodes."""
        loop = 'for user; do scancel --user="$user" || exit 1; done'
        self.login.run(["bash", "-c", loop, "-", *(user.name for user in CLUSTER_USERS)])
        deadline = time.monotonic() + timeout_s
        while self.login.run(["squeue", "-h", "-o", "%i %T"]).stdout.strip():
            if time.monotonic() > deadline:
                raise TimeoutError(f"jobs still there {timeout_s:.0f} s after scancel")
            time.sleep(0.1)

    def close(self) -> None:
        """End every process of the cluster and remove the state dir."""
        assert self.owned is not None
        _end(self.hosts.values(), self.owned)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _start_daemons(self) -> None:
        network.connect(self.hosts)
        slurm_hosts = [self.hosts[name] for name in SLURM_HOSTS]
        steps: list[Callable[[], None]] = [lambda: self._start_slurm(slurm_hosts)]
        steps += [lambda host=host: sshd.start(host) for host in slurm_hosts]  # type: ignore[misc]
        with ThreadPoolExecutor(len(steps)) as pool:
            for step in [pool.submit(step) for step in steps]:
                step.result()
        for host in slurm_hosts:
            _await_file(host.root / sshd.PID_FILE)

    def _start_slurm(self, slurm_hosts: Iterable[Host]) -> None:
        for host in slurm_hosts:
            slurm.start_munged(host)
        if self.accounting:
            database.start(self.login)
        slurm.start_slurmctld(self.login)
        for node in self.nodes:
            slurm.start_slurmd(node)
        slurm.await_nodes(self.login, self.nodes)


def take_down(name: str, wait_s: float = 20) -> bool:
    """End a kept cluster and return whether there was one; the rest of a crashed one goes too."""
    record = recall(name)
    if record is None:
        return False
    for host, pid in record.inits.items():
        if record.living(host):
            os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + wait_s
    while record.state.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    # Usually the sweeper has done it; it may have been killed.
    shutil.rmtree(record.state, ignore_errors=True)
    forget(name)
    return True


def read_logs(state: Path, lines: int = 30) -> str:
    """Return the last lines of every log in a state dir."""
    parts = []
    for path in sorted([*state.glob("*/plan.log"), *state.glob("*/log/**/*.log")]):
        text = path.read_text("utf-8", errors="replace").splitlines()
        if text:
            parts += [f"--- {path.relative_to(state)}", *text[-lines:]]
    return "\n".join(parts)


def _end(hosts: Iterable[Host], owned: StateDir) -> None:
    """Kill the PID 1 of each host, and so all its processes; the sweeper removes the state dir."""
    for host in hosts:
        if host.unshare is not None:
            host.unshare.kill()
            host.unshare.wait(20)
            for pipe in (host.unshare.stdin, host.unshare.stdout):
                if pipe is not None:
                    pipe.close()
    owned.release(wait_s=30)


def _await_file(path: Path, timeout_s: float = 20) -> None:
    deadline = time.monotonic() + timeout_s
    while not path.exists():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {timeout_s:.0f} s in vain for {path.name}")
        time.sleep(0.02)
