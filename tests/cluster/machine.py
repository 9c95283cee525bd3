"""The requirements for running a cluster on a machine."""

import os
import shutil
import subprocess
from pathlib import Path

from .host import DEBIAN_PYTHON
from .release import own_release

_SERVERS = {
    "slurmctld": "slurmctld",
    "slurmd": "slurmd",
    "sbatch": "slurm-client",
    "munged": "munge",
    "sshd": "openssh-server",
}
_ACCOUNTING = {"slurmdbd": "slurmdbd", "mariadbd": "mariadb-server"}
_BOOTSTRAP = {"debootstrap": "debootstrap", "apt-get": "apt"}
_PROGRAMS = {
    "ssh-keygen": "openssh-client",
    "ip": "iproute2",
    "unshare": "util-linux",
    "nsenter": "util-linux",
    "flock": "util-linux",
}
"""Program: its Debian package. Another release brings its own servers."""

_BOUND = ("/etc/ssh", "/srv", "/home", "/var/spool")
_BOUND_BY_SERVERS = ("/etc/slurm", "/etc/munge")


def missing(release: str | None = None, *, accounting: bool = False) -> list[str]:
    """Return what this machine has not got to run a cluster, as sentences; empty when nothing.

    release, accounting: as of Cluster.start.
    """
    sentences = []
    if os.geteuid() != 0:
        sentences.append("The cluster needs root, to make namespaces and mounts.")
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    servers = {**_SERVERS, **(_ACCOUNTING if accounting else {})}
    own = release in {None, own_release()}
    programs = {**_PROGRAMS, **(servers if own else _BOOTSTRAP)}
    sentences += [
        f"The program {program} is missing (Debian: {package})."
        for program, package in programs.items()
        if shutil.which(program, path=path) is None
    ]
    if not Path(DEBIAN_PYTHON).exists():
        sentences.append(f"{DEBIAN_PYTHON} is missing (Debian: python3).")
    elif not list(Path("/usr/lib").glob("python3*/ensurepip")):
        sentences.append(f"{DEBIAN_PYTHON} cannot make environments (Debian: python3-venv).")
    sentences += [
        f"The folder {folder} is missing."
        for folder in (*_BOUND, *(_BOUND_BY_SERVERS if own else ()))
        if not Path(folder).is_dir()
    ]
    if not Path("/etc/hosts").is_file():  # each host lays its own over it
        sentences.append("The file /etc/hosts is missing (tests/debian-packages test writes one).")
    return sentences or _refused()


def _refused() -> list[str]:
    unshare = ["unshare", "--net", "--mount", "--uts", "--ipc", "--pid", "--fork", "--mount-proc"]
    probe = [*unshare, "ip", "link", "add", "type", "bridge"]
    tried = subprocess.run(probe, capture_output=True, text=True, timeout=20, check=False)
    if tried.returncode != 0:
        return [f"This machine refuses namespaces or network bridges: {tried.stderr.strip()}"]
    return []
