"""The addresses of this host in the cluster's networks."""

from __future__ import annotations

import fcntl
import socket
import struct
from collections.abc import Mapping

_SIOCGIFADDR = 0x8915  # netdevice(7)


def login_addresses(environ: Mapping[str, str]) -> tuple[str, ...]:
    """Return this host's IPv4 addresses; the address of the user's SSH connection is the last.

    A compute node reaches one of them even if it cannot resolve this host's name.
    """
    found = [_address_of(name) for _, name in socket.if_nameindex()]
    match environ.get("SSH_CONNECTION", "").split():
        case [_, _, address, _]:
            found = [each for each in found if each != address] + [address]
    return tuple(dict.fromkeys(each for each in found if _is_reachable(each)))


def _address_of(interface: str) -> str:
    """Return an interface's IPv4 address; empty where it has none."""
    request = struct.pack("256s", interface.encode()[:15])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
        try:
            answer = fcntl.ioctl(asked.fileno(), _SIOCGIFADDR, request)
        except OSError:
            return ""
    return socket.inet_ntoa(answer[20:24])


def _is_reachable(address: str) -> bool:
    """Return whether it is an IPv4 address other than those of the loopback interface."""
    try:
        return socket.inet_pton(socket.AF_INET, address)[0] != 127
    except (OSError, UnicodeError):
        return False
