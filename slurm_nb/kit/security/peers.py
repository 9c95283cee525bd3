"""Finds the user at the other end of a connection.

See sock_diag(7), unix(7), user_namespaces(7).
"""

from __future__ import annotations

import os
import socket
import struct
from typing import Iterator, List, NamedTuple, Optional, Set, Tuple

_NETLINK_SOCK_DIAG = 4
_SOCK_DIAG_BY_FAMILY = 20
_NLM_F_REQUEST = 1
_NLM_F_DUMP = 0x300
_NLMSG_ERROR = 2
_NLMSG_DONE = 3
_HEADER = struct.Struct("=IHHII")  # nlmsghdr
_ACCEPTS = 0x10000  # __SO_ACCEPTCON of linux/net.h, in the flags of /proc/net/unix
_UNIX_DIAG_NAME, _UNIX_DIAG_UID = 0, 7  # attributes, of linux/unix_diag.h
_UDIAG_SHOW_NAME, _UDIAG_SHOW_UID = 1, 64
_OVERFLOW_UID = 65534
_ALL_IDS = 2**32 - 1
# ESTABLISHED, FIN_WAIT1, FIN_WAIT2, CLOSE_WAIT, LAST_ACK and CLOSING of linux/tcp_states.h. Another
# user may listen on the same port, or try to connect from it, after the peer has closed its socket.
_CONNECTED = frozenset((1, 4, 5, 8, 9, 11))

Address = Tuple[str, int]


class Unknown(Exception):
    """The kernel does not report the user; the text says why."""


class UnixSocket(NamedTuple):
    """A UNIX socket that has a name."""

    inode: int
    name: str
    """A path, or `@NAME` for an abstract one."""
    kind: int
    """`socket.SOCK_STREAM` and so on."""
    listens: bool
    uid: Optional[int]
    """None: the kernel does not report it (before Linux 5.3)."""


def trusted() -> Set[int]:
    """Return the uids that may connect: the uid of this process, and root.

    In a user namespace, such as a rootless container, every uid without a mapping looks like the
    overflow uid, which therefore identifies nobody. Raise `Unknown` if it is also ours.
    """
    uids = {os.geteuid(), 0}
    if not _sees_all_uids():
        if os.geteuid() == _overflow_uid():
            raise Unknown("in this container slurm-nb cannot distinguish your uid from others")
        uids -= {_overflow_uid()}
    return uids


def uid_of(connection: socket.socket) -> int:
    """Return the uid at the other end of an accepted connection.

    Raise `Unknown` if that end is closed: a closed socket has no owner, and the kernel shows uid 0
    for it.
    """
    if connection.family == socket.AF_UNIX:
        size = struct.calcsize("3i")
        told = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
        return int(struct.unpack("3i", told)[1])
    here, there = connection.getsockname()[:2], connection.getpeername()[:2]
    try:
        found = _ask_kernel(connection.family, there, here)
    except OSError:
        found = _read_table(there, here)
    if found is None or not found[1]:
        raise Unknown("the other end is closed")
    return found[0]


def unix_sockets() -> List[UnixSocket]:
    """Return the named UNIX sockets of this network namespace."""
    try:
        return list(_unix_by_kernel())
    except OSError:
        return list(_unix_by_table())


def _unix_by_kernel() -> Iterator[UnixSocket]:
    show = _UDIAG_SHOW_NAME | _UDIAG_SHOW_UID
    request = struct.pack("=BBHIIIII", socket.AF_UNIX, 0, 0, _ALL_IDS, 0, show, 0, 0)
    for message in _diagnose(request, _NLM_F_DUMP):
        _, kind, state, _, inode = struct.unpack_from("=BBBBI", message)
        attributes = dict(_attributes(message[16:]))
        name, uid = attributes.get(_UNIX_DIAG_NAME), attributes.get(_UNIX_DIAG_UID)
        if name:
            text = "@" + os.fsdecode(name[1:]) if name[:1] == b"\0" else os.fsdecode(name)
            owner = struct.unpack("=I", uid)[0] if uid else None
            yield UnixSocket(inode, text.rstrip("\0"), kind, state == 10, owner)


def _unix_by_table() -> Iterator[UnixSocket]:
    with open("/proc/net/unix") as table:
        rows = [line.rstrip("\n").split(None, 7) for line in table][1:]
    for row in rows:
        if len(row) == 8:
            listens = bool(int(row[3], 16) & _ACCEPTS)
            yield UnixSocket(int(row[6]), row[7], int(row[4], 16), listens, None)


def _sees_all_uids() -> bool:
    try:
        with open("/proc/self/uid_map") as table:
            rows = [line.split() for line in table]
    except OSError:
        return True  # a kernel without user namespaces
    return any(int(row[2]) >= _ALL_IDS for row in rows)


def _overflow_uid() -> int:
    try:
        with open("/proc/sys/kernel/overflowuid") as file:
            return int(file.read())
    except (OSError, ValueError):
        return _OVERFLOW_UID


def _ask_kernel(family: int, source: Address, target: Address) -> Optional[Tuple[int, int]]:
    """Return (uid, inode) of the TCP socket at `source` that is connected to `target`."""
    cookie = struct.pack("=II", _ALL_IDS, _ALL_IDS)
    request = struct.pack("=BBBBI", family, socket.IPPROTO_TCP, 0, 0, _ALL_IDS)
    request += _ids(family, source, target) + struct.pack("=I", 0) + cookie
    wanted = [_ids(family, source, target)]
    if family == socket.AF_INET:
        wanted.append(_ids(socket.AF_INET6, _mapped(source), _mapped(target)))
    for message in _diagnose(request, 0):
        # inet_diag_msg: 4 bytes, 48 bytes of ids, then expires, rqueue, wqueue, uid, inode. If no
        # socket is connected, the kernel returns one that listens on the source's port.
        _, _, _, uid, inode = struct.unpack_from("=5I", message, 52)
        if message[1] in _CONNECTED and message[4:40] in wanted:
            return uid, inode
    return None


def _ids(family: int, source: Address, target: Address) -> bytes:
    """Return both ports and addresses, as sock_diag writes them."""
    hosts = [
        socket.inet_pton(family, host.partition("%")[0]).ljust(16, b"\0")
        for host, _ in (source, target)
    ]
    return struct.pack(">HH", source[1], target[1]) + b"".join(hosts)


def _mapped(address: Address) -> Address:
    """Return the address that an IPv6 socket has when it is connected by IPv4."""
    return "::ffff:" + address[0], address[1]


def _diagnose(request: bytes, flags: int) -> Iterator[bytes]:
    """Yield the kernel's answers to one sock_diag request."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_SOCK_DIAG) as link:
        link.settimeout(5)
        size = _HEADER.size + len(request)
        head = _HEADER.pack(size, _SOCK_DIAG_BY_FAMILY, _NLM_F_REQUEST | flags, 1, 0)
        link.sendto(head + request, (0, 0))
        while True:
            answer = link.recv(1 << 16)
            while len(answer) >= _HEADER.size:
                size, kind, _, _, _ = _HEADER.unpack_from(answer)
                body, answer = answer[_HEADER.size : size], answer[(size + 3) & ~3 :]
                if kind == _NLMSG_DONE:
                    return
                if kind == _NLMSG_ERROR:
                    (code,) = struct.unpack_from("=i", body)
                    if code == -2:  # ENOENT: there is no such socket
                        return
                    raise OSError(-code, os.strerror(-code))
                yield body
            if not flags:
                return


def _attributes(data: bytes) -> Iterator[Tuple[int, bytes]]:
    while len(data) >= 4:
        size, kind = struct.unpack_from("=HH", data)
        if size < 4:
            return
        yield kind, data[4:size]
        data = data[(size + 3) & ~3 :]


def _read_table(source: Address, target: Address) -> Optional[Tuple[int, int]]:
    """Return the same from /proc/net, even if an IPv6 socket has an IPv4 address."""
    wanted = {_in_table(source) + _in_table(target)}
    if ":" not in source[0]:
        wanted.add(_in_table(_mapped(source)) + _in_table(_mapped(target)))
    read = 0
    for name in ("tcp", "tcp6"):
        try:
            with open("/proc/net/" + name) as table:
                rows = [line.split() for line in table][1:]
        except OSError:
            continue
        read += 1
        for row in rows:
            if row[1] + row[2] in wanted and int(row[3], 16) in _CONNECTED:
                return int(row[7]), int(row[9])
    if not read:
        raise Unknown("neither sock_diag nor /proc/net is available here")
    return None


def _in_table(address: Address) -> str:
    """Return `0100007F:1F90`: words of 32 bits in the machine's byte order."""
    host, port = address
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    packed = socket.inet_pton(family, host.partition("%")[0])
    words = struct.unpack("=%dI" % (len(packed) // 4), packed)
    return "".join("%08X" % word for word in words) + ":%04X" % port
