"""A real Slurm cluster on one machine: four hosts in Linux namespaces.

    with Cluster.start() as cluster:
        cluster.login.run(["sbatch", "--wrap=hostname"], user="alice")

cluster.py puts everything together. host.py, init.py and enter.py make a host; layout.py describes
its file tree, release.py the origin of its programs, network.py the links between hosts, users.py
the users. slurm.py and sshd.py start the daemons, accounting.py the database; software.py installs
Python environments, state.py cleans up, machine.py says what this machine lacks; second.py adds a
second cluster, pair.py one with two controllers.
By hand: `python -m tests.cluster up`.
"""

from .cluster import Cluster, StartError
from .host import CommandError, Host, Terminal, run_here
from .machine import missing
from .release import RELEASES, ReleaseError, own_release
from .slurm import POOR_ACCOUNT, REFUSED_ACCOUNT
from .software import (
    Environment,
    InstallError,
    ensure_environment,
    ensure_oldest,
    ensure_tools,
)

__all__ = [
    "POOR_ACCOUNT",
    "REFUSED_ACCOUNT",
    "RELEASES",
    "Cluster",
    "CommandError",
    "Environment",
    "Host",
    "InstallError",
    "ReleaseError",
    "StartError",
    "Terminal",
    "ensure_environment",
    "ensure_oldest",
    "ensure_tools",
    "missing",
    "own_release",
    "run_here",
]
