"""A second cluster, `big`, next to a running one, to test `-M`.

Both register with the first one's slurmdbd. The second slurmctld and its one slurmd run on c2, next
to those of the first cluster.
"""

import re

from .accounting import await_success, register
from .cluster import Cluster

NAME = "big"
# Ports, folders and files of the second cluster's daemons.
_OWN = (
    ("ClusterName=testbed", f"ClusterName={NAME}\nSlurmctldPort=6827\nSlurmdPort=6828"),
    ("JobSubmitPlugins=lua\n", ""),
    ("/var/spool/slurm", "/var/spool/big-slurm"),
    ("/run/slurm", "/run/big-slurm"),
    ("/var/log/slurm/slurm", "/var/log/slurm/big-slurm"),
)


def start_second(cluster: Cluster) -> None:
    """Start it next to `cluster`, which has accounting; return when both are idle."""
    login, node = cluster.login, cluster.hosts["c2"]
    folder = cluster.state / "etc/slurm"
    text = (folder / "slurm.conf").read_text("ascii")
    for old, new in _OWN:
        text = text.replace(old, new)
    text = re.sub(r"^SlurmctldHost=.*", "SlurmctldHost=c2", text, flags=re.MULTILINE)
    (folder / f"{NAME}.conf").write_text(text.replace("c1,c2", "c2"), encoding="ascii")
    register(login, NAME)
    node.run(["mkdir", "-p", "/var/spool/big-slurmctld", "/var/spool/big-slurmd"])
    node.run(["/usr/sbin/slurmctld", "-f", f"/etc/slurm/{NAME}.conf"])
    node.run(["/usr/sbin/slurmd", "-N", "c2", "-f", f"/etc/slurm/{NAME}.conf"])
    for name, nodes in (("testbed", "2"), (NAME, "1")):
        idle = f'[ "$(sinfo -h -M {name} -p main -t idle -o %D)" = {nodes} ]'
        await_success(login, ["bash", "-c", idle], f"the nodes of {name}")
