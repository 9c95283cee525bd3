"""The login node, as the laptop reaches it."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv6Address

from slurm_nb.errors import UserError
from slurm_nb.joblog.nodes import is_node

# IPv6Address accepts more characters in the zone after a percent sign.
_IPV6_LETTERS = re.compile(r"[0-9A-Fa-f:.]+(?:%[A-Za-z0-9_.-]+)?", re.ASCII)


@dataclass(frozen=True)
class Login:
    """The host that the laptop's ssh reaches."""

    host: str
    """A name or an IP address: `login.hpc.edu`, `10.1.2.3`, `fd00::1`."""
    port: int = 22

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
    """Return this host as the laptop reaches it: the address of the SSH connection, else its name.

    SSH_CONNECTION is `CLIENT-IP CLIENT-PORT SERVER-IP SERVER-PORT` (ssh(1), ENVIRONMENT).
    """
    match environ.get("SSH_CONNECTION", "").split():
        case [_, _, address, port]:
            with contextlib.suppress(UserError):  # sshd writes UNKNOWN if it is not TCP
                return Login.parse(f"[{address}]:{port}" if ":" in address else f"{address}:{port}")
    import socket  # noqa: PLC0415  few commands need it

    name = socket.getfqdn()
    return Login(socket.gethostname() if name.startswith("localhost") else name)
