"""What a machine must have to run a cluster."""

import os
import shutil
import subprocess
from pathlib import Path

from .host import DEBIAN_PYTHON

_PROGRAMS = {
    "slurmctld": "slurmctld",
    "slurmd": "slurmd",
    "sbatch": "slurm-client",
    "munged": "munge",
    "sshd": "openssh-server",
    "ssh-keygen": "openssh-client",
    "ip": "iproute2",
    "unshare": "util-linux",
    "nsenter": "util-linux",
    "flock": "util-linux",
}
"""Program: its Debian package."""

_BOUND = ("/etc/slurm", "/etc/munge", "/etc/ssh", "/srv", "/home", "/var/spool")


def missing() -> list[str]:
    """What this machine lacks to run a cluster, as sentences; empty when nothing."""
    sentences = []
    if os.geteuid() != 0:
        sentences.append("The cluster needs root, to make namespaces and mounts.")
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    sentences += [
        f"The program {program} is missing (Debian: {package})."
        for program, package in _PROGRAMS.items()
        if shutil.which(program, path=path) is None
    ]
    if not Path(DEBIAN_PYTHON).exists():
        sentences.append(f"{DEBIAN_PYTHON} is missing (Debian: python3).")
    elif not list(Path("/usr/lib").glob("python3*/ensurepip")):
        sentences.append(f"{DEBIAN_PYTHON} cannot make environments (Debian: python3-venv).")
    sentences += [
        f"The folder {folder} is missing." for folder in _BOUND if not Path(folder).is_dir()
    ]
    return sentences or _refused()


def _refused() -> list[str]:
    unshare = ["unshare", "--net", "--mount", "--uts", "--ipc", "--pid", "--fork", "--mount-proc"]
    probe = [*unshare, "ip", "link", "add", "type", "bridge"]
    tried = subprocess.run(probe, capture_output=True, text=True, timeout=20, check=False)
    if tried.returncode != 0:
        return [f"This machine refuses namespaces or network bridges: {tried.stderr.strip()}"]
    return []
