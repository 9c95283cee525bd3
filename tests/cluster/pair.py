"""A cluster with two controllers, `pair`, next to a running one, to test a failover.

login has the first, c2 the backup, c1 the one node; their saved state is in /srv, which all see.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from .accounting import await_success
from .cluster import Cluster
from .host import Host

NAME = "pair"
CONF = f"/etc/slurm/{NAME}.conf"
# Ports, folders and files of its daemons; a backup that takes over soon; no database.
_OWN = (
    (r"ClusterName=.*", f"ClusterName={NAME}\nSlurmctldPort=6837\nSlurmdPort=6838"),
    (r"SlurmctldHost=.*", "SlurmctldHost=login\nSlurmctldHost=c2"),
    (r"SlurmctldTimeout=.*", "SlurmctldTimeout=2"),
    (r"StateSaveLocation=.*", f"StateSaveLocation=/srv/{NAME}"),
    (r"(Slurm\w+=)(/var/spool|/run|/var/log/slurm)/slurm", rf"\1\2/{NAME}-slurm"),
    (r"AccountingStorageType=.*", "AccountingStorageType=accounting_storage/none"),
    (r"AccountingStor(ageHost|ageEnforce|eFlags)=.*", ""),
    (r"JobSubmitPlugins=.*", ""),
    (r"(.*=)c1,c2", r"\1c1"),
    (r"PartitionName=(?!main).*", ""),
)


@contextmanager
def pair(cluster: Cluster) -> Iterator[None]:
    """Run both controllers and the node, for clients that have SLURM_CONF set to `CONF`."""
    login, backup, node = cluster.login, cluster.hosts["c2"], cluster.hosts["c1"]
    folder = cluster.state / "etc/slurm"
    text = (folder / "slurm.conf").read_text("ascii")
    for old, new in _OWN:
        text = re.sub(f"^{old}", new, text, flags=re.MULTILINE)
    (folder / f"{NAME}.conf").write_text(text, encoding="ascii")
    login.run(["mkdir", "-m", "700", "-p", f"/srv/{NAME}"])
    node.run(["mkdir", "-p", f"/var/spool/{NAME}-slurmd"])
    try:
        login.run(["/usr/sbin/slurmctld", "-f", CONF])
        backup.run(["/usr/sbin/slurmctld", "-f", CONF])
        node.run(["/usr/sbin/slurmd", "-N", "c1", "-f", CONF])
        idle = f'[ "$(SLURM_CONF={CONF} sinfo -h -t idle -o %D)" = 1 ]'
        await_success(login, ["bash", "-c", idle], "the node of the pair")
        yield
    finally:
        for host in (login, backup, node):
            _end(host)


def end_first(cluster: Cluster) -> None:
    """The first controller is ended, as when its host is shut down; it saves its state.

    Killed, it would have saved nothing for up to five minutes (seen on 22.05).
    """
    _end(cluster.login, "TERM")


def _end(host: Host, signal: str = "KILL") -> None:
    for path in (host.root / "run").glob(f"{NAME}-slurm*.pid"):
        pid = path.read_text("ascii").strip()
        host.run(["kill", f"-{signal}", pid], check=False)
        host.run(["timeout", "20", "tail", "-f", "/dev/null", f"--pid={pid}"])
        host.run(["rm", "-f", f"/run/{path.name}"])
