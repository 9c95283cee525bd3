"""The ssh connection that this program was started through, as the kernel sees it."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from ipaddress import ip_address
from pathlib import Path

_TABLES = ("tcp", "tcp6")
_RETRANSMITTING = "01"
_ORDER = -1 if sys.byteorder == "little" else 1


def ends_of(environ: Mapping[str, str]) -> tuple[str, str] | None:
    """Return server and client of SSH_CONNECTION as /proc/net/tcp writes them.

    None if this terminal is not that connection's, as in tmux, or without ssh.
    """
    try:
        if os.ttyname(0) != environ.get("SSH_TTY"):
            return None
        client, client_port, server, server_port = environ["SSH_CONNECTION"].split()
        return _end(server, int(server_port)), _end(client, int(client_port))
    except (OSError, KeyError, ValueError):
        return None


def is_retransmitting(ends: tuple[str, str], proc: Path = Path("/proc/net")) -> bool:
    """Return whether the kernel has sent something again that the other side did not confirm.

    The columns of proc_net_tcp.rst: `sl local remote st tx:rx tr:when retrnsmt ...`.
    """
    for line in _lines(proc):
        match line.split(maxsplit=7):
            case [_, local, remote, _, _, timer, count, *_] if _is(local, remote, ends):
                return timer.startswith(_RETRANSMITTING) and int(count, 16) > 0
    return False


def _lines(proc: Path) -> Iterator[str]:
    for name in _TABLES:
        with suppress(OSError):
            yield from (proc / name).read_text(encoding="ascii").splitlines()


def _is(local: str, remote: str, ends: tuple[str, str]) -> bool:
    return (_mapped(local), _mapped(remote)) == ends


def _mapped(end: str) -> str:
    """Return an end; an IPv4 address in IPv6 as IPv4."""
    return end.removeprefix("0000000000000000FFFF0000")


def _end(address: str, port: int) -> str:
    """Return `0100007F:0016`: the address in words of the machine's byte order."""
    raw = ip_address(address.partition("%")[0]).packed
    words = [raw[at : at + 4][::_ORDER].hex().upper() for at in range(0, len(raw), 4)]
    return f"{_mapped(''.join(words))}:{port:04X}"
