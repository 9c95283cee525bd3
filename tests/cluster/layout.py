"""The file tree of each host: folders of the state dir, and the mounts of them.

The state dir, one per cluster (mkdtemp, 0700; ordinary users see its parts only through mounts):

    alive                 empty; locked while the cluster lives (state.py)
    etc/slurm, etc/munge  of login, c1, c2
    home, home-laptop     /home of login, c1, c2; of the laptop
    srv                   /srv of all four; of another release's three
    srv-laptop            /srv of the laptop, when the others have another release
    HOST/etc              hosts, hostname, passwd, group, shadow, ssh/
    HOST/log, HOST/spool  /var/log and /var/spool
    HOST/plan.json        for init.py; plan.log: its stderr
"""

import json
from pathlib import Path

from . import network, slurm, sshd, users
from .release import Release

HOSTS = ("laptop", "login", *network.NODE_ADDRESSES)
SLURM_HOSTS = ("login", *network.NODE_ADDRESSES)

# Made by init.py in the fresh tmpfs of /run, with their modes. No /run/user/UID: nothing here is a
# systemd login. /run/lock is where Debian's /var/lock leads.
_FOLDERS = (
    ("/run/sshd", "755"),
    ("/run/munge", "755"),
    ("/run/user", "755"),
    ("/run/lock", "1777"),
    ("/var/log/slurm", "755"),
    ("/var/log/munge", "700"),
    ("/var/spool/slurmd", "755"),
    ("/var/spool/slurmctld", "700"),
)

_TMPFS = (("/dev/shm", "1777"), ("/run", "755"), ("/var/tmp", "1777"), ("/tmp", "1777"))


def write_layout(state: Path, release: Release, *, accounting: bool) -> None:
    """Fill the state dir, whose `alive` exists already.

    release: of login, c1 and c2; the laptop has this machine's own.
    """
    for folder in {"srv", laptop_srv(release), *HOSTS}:
        (state / folder).mkdir(mode=0o755)
    slurm.make_config(state / "etc/slurm", state / "etc/munge", release, accounting=accounting)
    for host in HOSTS:
        _write_host(state, host, release)
    known = sshd.known_hosts((host, state / host / "etc/ssh") for host in SLURM_HOSTS)
    users.make_homes(state / "home", state / "home-laptop", known)


def laptop_srv(release: Release) -> str:
    """Return the folder of the state dir that is the laptop's /srv."""
    return "srv-laptop" if release.foreign else "srv"


def _write_host(state: Path, host: str, release: Release) -> None:
    folder = state / host
    for name in ("log", "spool"):
        (folder / name).mkdir(mode=0o755)
    sshd.make_config(folder / "etc/ssh", host)
    texts = {
        **users.account_files(host, Path("/") if host == "laptop" else release.root),
        "hosts": network.hosts_file(host),
        "hostname": f"{host}\n",
    }
    for name, text in texts.items():
        (folder / "etc" / name).write_text(text, encoding="utf-8")
    (folder / "etc/shadow").chmod(0o600)
    plan = {
        "hostname": host,
        "alive": str(state / "alive"),
        "mounts": _mounts(state, host, texts, release),
        "folders": _FOLDERS,
    }
    plan_file(state, host).write_text(json.dumps(plan, indent=1), encoding="utf-8")


def plan_file(state: Path, host: str) -> Path:
    """Return the path of a host's plan for init.py."""
    return state / host / "plan.json"


def _mounts(state: Path, host: str, etc_files: dict[str, str], release: Release) -> list[list[str]]:
    """Return the arguments of mount(8), in order.

    The tmpfs come last, because the state dir may be below one of them.
    """
    folder = state / host
    laptop = host == "laptop"
    binds = {
        **{f"/etc/{name}": folder / "etc" / name for name in etc_files},
        "/etc/ssh": folder / "etc/ssh",
        "/home": state / ("home-laptop" if laptop else "home"),
        "/srv": state / (laptop_srv(release) if laptop else "srv"),
        "/var/log": folder / "log",
        "/var/spool": folder / "spool",
    }
    if not laptop:
        binds |= {"/etc/slurm": state / "etc/slurm", "/etc/munge": state / "etc/munge"}
    # Some minimal systems have no /etc/hostname; a bind mount needs something to lie upon.
    mounts = [] if laptop else release.mounts()
    mounts += [
        ["--bind", str(source), target]
        for target, source in binds.items()
        if target != "/etc/hostname" or Path(target).exists()
    ]
    mounts += [["-t", "tmpfs", "-o", f"mode={mode}", "tmpfs", target] for target, mode in _TMPFS]
    return mounts
