"""The login node, as the laptop reaches it."""

from __future__ import annotations

import contextlib
import fcntl
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address, IPv6Address

from slurm_nb.errors import UserError
from slurm_nb.joblog.events import is_node
from slurm_nb.session.session import Session

# IPv6Address accepts more characters in the zone after a percent sign.
_IPV6_LETTERS = re.compile(r"[0-9A-Fa-f:.]+(?:%[A-Za-z0-9_.-]+)?", re.ASCII)

# Last parts of names that only their own network resolves: those of RFC 6762 with its appendix G,
# and two that clusters use.
_PRIVATE_DOMAINS = frozenset(
    {"intranet", "internal", "private", "corp", "home", "lan", "local", "localdomain", "cluster"}
)


@dataclass(frozen=True)
class Login:
    """The host that the laptop's ssh reaches."""

    host: str
    """A name or an IP address: `login.hpc.edu`, `10.1.2.3`, `fd00::1`."""
    port: int = 22
    is_guess: bool = field(default=False, compare=False)
    """Whether ssh on the laptop may know the login node by another name."""

    @classmethod
    def parse(cls, text: str) -> Login:
        """Parse `HOST`, `HOST:PORT`, `[IPV6]:PORT` or a bare IPv6 address. Raises `UserError`."""
        match = re.fullmatch(r"\[([^]]+)\](?::(\d{1,5}))?|([^:]+)(?::(\d{1,5}))?", text, re.ASCII)
        if match:
            host, port = match[1] or match[3], int(match[2] or match[4] or 22)
        else:
            host, port = text, 22
        if not (is_node(host) or _is_ipv6(host)) or not 0 < port < 65536:
            raise UserError(
                f"--login-host {text!r}: is not a host name or address",
                hint="write the name that you use with ssh on your laptop: login.hpc.edu",
                options=("login-host",),
            )
        return cls(host, port)

    def __str__(self) -> str:
        if self.port == 22:
            return self.host
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def _is_ipv6(text: str) -> bool:
    if not _IPV6_LETTERS.fullmatch(text):
        return False
    try:
        IPv6Address(text)
    except ValueError:
        return False
    return True


def find_login(environ: Mapping[str, str]) -> Login:
    """Return this host as the laptop probably reaches it.

    This is the host's full name if that resolves to the address of the SSH connection, else that
    address. Without an SSH connection it is the name, which may be known inside the cluster only.
    SSH_CONNECTION is `CLIENT-IP CLIENT-PORT SERVER-IP SERVER-PORT` (ssh(1), ENVIRONMENT).
    """
    import socket  # noqa: PLC0415  few commands need it

    name = socket.getfqdn()
    match environ.get("SSH_CONNECTION", "").split():
        case [_, _, address, port]:
            end = f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
            with contextlib.suppress(UserError):  # sshd writes UNKNOWN if it is not TCP
                login = Login.parse(end)
                known = _is_public(name) and address in _addresses_of(name)
                return replace(login, host=name) if known else replace(login, is_guess=True)
    host = socket.gethostname() if name.startswith("localhost") else name
    return Login(host, is_guess=True)


def saved_login(session: Session) -> Login | None:
    """Return the login node that was determined when `session` was submitted."""
    if not session.login_host:
        return None
    return replace(Login.parse(session.login_host), is_guess=session.login_is_guess)


def _is_public(name: str) -> bool:
    """Return whether the laptop can probably resolve a full name."""
    last = name.rpartition(".")[2].lower()
    return is_node(name) and "." in name and last not in _PRIVATE_DOMAINS


def _addresses_of(name: str) -> set[str]:
    import socket  # noqa: PLC0415  few commands need it

    try:
        return {str(found[4][0]) for found in socket.getaddrinfo(name, 22)}
    except (OSError, UnicodeError):
        return set()


def login_addresses(environ: Mapping[str, str]) -> tuple[str, ...]:
    """Return this host's IPv4 addresses, the one that the user came in by last.

    A compute node reaches one of them even if it does not know this host's name.
    """
    import socket  # noqa: PLC0415  few commands need it

    found = [_address_of(name) for _, name in socket.if_nameindex()]
    match environ.get("SSH_CONNECTION", "").split():
        case [_, _, address, _]:
            found = [each for each in found if each != address] + [address]
    return tuple(dict.fromkeys(each for each in found if _is_reachable(each)))


_SIOCGIFADDR = 0x8915  # netdevice(7)


def _address_of(interface: str) -> str:
    """Return an interface's IPv4 address; empty where it has none."""
    import socket  # noqa: PLC0415  few commands need it

    request = struct.pack("256s", interface.encode()[:15])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
        try:
            answer = fcntl.ioctl(asked.fileno(), _SIOCGIFADDR, request)
        except OSError:
            return ""
    return socket.inet_ntoa(answer[20:24])


def _is_reachable(address: str) -> bool:
    try:
        return not IPv4Address(address).is_loopback
    except ValueError:
        return False
