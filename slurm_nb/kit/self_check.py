"""Checks, inside the Jupyter server, its own sockets and its answers to strangers.

For /proc see proc(5).
"""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import stat
import struct
from typing import Dict, List, NamedTuple, Optional

from . import processes
from .audit import probe

_LISTEN = "0A"


class Refused(Exception):
    """slurm-nb must not announce the server; the text says why."""


def check_one(listeners: List[socket.socket]) -> None:
    """Raise `Refused` unless there is one listener."""
    if len(listeners) != 1:
        raise Refused("it listens on %d sockets, not one" % len(listeners))


def check_own(listener: socket.socket) -> None:
    """Raise `Refused` unless `listener` belongs to this process only.

    For TCP, the kernel's table must show its inode at its address for this user. For a UNIX
    socket, the path must be private, and this process must answer there.
    """
    if listener.family == socket.AF_UNIX:
        _check_own_path(listener.getsockname())
        return
    inode = os.fstat(listener.fileno()).st_ino
    address, port = listener.getsockname()[:2]
    if tcp_listeners().get(inode) != "%s:%d" % (address, port):
        raise Refused("port %d is not the server's own" % port)


def check_alone(listener: socket.socket, mark: str) -> None:
    """Raise `Refused` when a process that carries `mark` listens on any other TCP port."""
    own = os.fstat(listener.fileno()).st_ino
    held = processes.marked_inodes(mark) - {own}
    others = [address for inode, address in tcp_listeners().items() if inode in held]
    if others:
        raise Refused("another program in this job listens on TCP: %s" % ", ".join(others))


async def check_door(listener: socket.socket, path: str, token: str, tls: Optional[str]) -> None:
    """Raise `Refused` unless `path` answers 403 without the token and 200 with it.

    With the token it must also answer 403 if the Host is another name (DNS rebinding).
    tls: the certificate's file, or None.
    """
    without = await _status(listener, path, None, tls)
    if without != 403:
        raise Refused("without the token the server answers %d, not 403" % without)
    with_token = await _status(listener, path, token, tls)
    if with_token != 200:
        raise Refused("with the token the server answers %d, not 200" % with_token)
    rebound = await _status(listener, path, token, tls, host="other.invalid")
    if rebound != 403:
        raise Refused("for another Host the server answers %d, not 403" % rebound)


class InetSocket(NamedTuple):
    """A row of the kernel's tables."""

    address: str
    """`ADDRESS:PORT`"""
    state: str
    """The state in hexadecimal, as in linux/tcp_states.h."""
    uid: int


def tcp_listeners() -> Dict[int, str]:
    """Return `ADDRESS:PORT` by inode, of every listening TCP socket in this network namespace."""
    rows = inet_sockets("tcp").items()
    return {inode: row.address for inode, row in rows if row.state == _LISTEN}


def inet_sockets(protocol: str) -> Dict[int, InetSocket]:
    """Return every socket of `tcp` or `udp` in this network namespace, by inode."""
    found = {}
    families = ((protocol, socket.AF_INET, 1), (protocol + "6", socket.AF_INET6, 4))
    for name, family, words in families:
        try:
            with open("/proc/net/" + name) as table:
                rows = [line.split() for line in table][1:]
        except OSError:
            continue
        for row in rows:
            address, _, port = row[1].partition(":")
            # Words of 32 bits in the machine's byte order.
            packed = bytes.fromhex(address)
            raw = struct.pack("=%dI" % words, *struct.unpack(">%dI" % words, packed))
            at = "%s:%d" % (socket.inet_ntop(family, raw), int(port, 16))
            found[int(row[9])] = InetSocket(at, row[3], int(row[7]))
    return found


def _check_own_path(path: str) -> None:
    found, folder = os.lstat(path), os.lstat(os.path.dirname(path))
    if not stat.S_ISSOCK(found.st_mode) or stat.S_IMODE(found.st_mode) != 0o600:
        raise Refused("%s is not a socket of mode 0600" % path)
    if not stat.S_ISDIR(folder.st_mode) or stat.S_IMODE(folder.st_mode) != 0o700:
        raise Refused("%s is not in a directory of mode 0700" % path)
    if {found.st_uid, folder.st_uid} != {os.geteuid()}:
        raise Refused("%s belongs to another user" % path)
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(path)
        size = struct.calcsize("3i")
        pid, _, _ = struct.unpack(
            "3i", client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
        )
    if pid != os.getpid():
        raise Refused("process %d answers at %s, not the server" % (pid, path))


async def _status(
    listener: socket.socket,
    path: str,
    token: Optional[str],
    tls: Optional[str],
    host: str = "localhost",
) -> int:
    """Return the status of a GET like that of a browser on the laptop."""
    context = None
    if tls:
        context = ssl.create_default_context(cafile=tls)
    if listener.family == socket.AF_UNIX:
        opening = asyncio.open_unix_connection(listener.getsockname())
    else:
        address, port = listener.getsockname()[:2]
        name = "localhost" if context else None
        opening = asyncio.open_connection(address, port, ssl=context, server_hostname=name)
    reader, writer = await asyncio.wait_for(opening, 30)
    try:
        writer.write(probe.request(path, host, token or ""))
        answer = await asyncio.wait_for(reader.readline(), 30)
    finally:
        writer.close()
    try:
        return probe.status_of(answer)
    except ValueError:
        raise Refused("the server's answer is not HTTP") from None
