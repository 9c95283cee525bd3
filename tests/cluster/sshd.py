"""sshd on login and the nodes: key only, no PAM, host keys that everyone already knows."""

from collections.abc import Iterable
from pathlib import Path

from .host import PATH, Host
from .network import DOMAIN, LOGIN_ADDRESS, LOGIN_OUTER_ADDRESS, NODE_ADDRESSES
from .users import keygen

PID_FILE = "run/sshd.pid"
"""Below the host's root. sshd writes it once it listens."""

_CONFIG = f"""\
HostKey /etc/ssh/ssh_host_ed25519_key
PidFile /{PID_FILE}
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
UseDNS no
PrintMotd no
MaxStartups 100
SetEnv PATH={PATH}
Subsystem sftp internal-sftp
"""


def make_config(folder: Path, host: str) -> None:
    """Fill a host's /etc/ssh."""
    folder.mkdir(parents=True)
    (folder / "ssh_config").write_text("", encoding="ascii")
    if host != "laptop":
        (folder / "sshd_config").write_text(_CONFIG, encoding="ascii")
        keygen(folder / "ssh_host_ed25519_key", f"root@{host}")


def known_hosts(folders: Iterable[tuple[str, Path]]) -> str:
    """Return the text of a known_hosts that names every host by each of its names and addresses.

    folders: of hosts with sshd, their name and /etc/ssh.
    """
    addresses = {
        "login": f"{LOGIN_ADDRESS},{LOGIN_OUTER_ADDRESS}",
        **NODE_ADDRESSES,
    }
    lines = []
    for host, folder in folders:
        kind, key, _ = (folder / "ssh_host_ed25519_key.pub").read_text("ascii").split()
        lines.append(f"{host},{host}.{DOMAIN},{addresses[host]} {kind} {key}\n")
    return "".join(lines)


def start(host: Host) -> None:
    """Start a host's sshd; it listens when PID_FILE exists."""
    host.run(["/usr/sbin/sshd", "-E", "/var/log/sshd.log"])
