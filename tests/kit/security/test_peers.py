"""The kernel tells which user holds the other end of a connection."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from slurm_nb.kit.security import peers

OTHER_UID = 12345
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")
CONNECT = """
import os, socket, sys
family, address, uid = int(sys.argv[1]), eval(sys.argv[2]), int(sys.argv[3])
if uid != os.geteuid():
    os.setgroups([]); os.setuid(uid)
link = socket.socket(family)
link.connect(address)
sys.stdin.readline()
"""


@contextmanager
def connected(
    listener: socket.socket, *, uid: int | None = None, family: int | None = None
) -> Iterator[socket.socket]:
    """Yield the server's end of a connection that a process with this uid holds."""
    address = listener.getsockname()
    if family == socket.AF_INET6 and listener.family == socket.AF_INET:
        address = ("::ffff:127.0.0.1", address[1])
    words = [str(int(family or listener.family)), repr(address), str(uid or os.geteuid())]
    with subprocess.Popen(
        [sys.executable, "-c", CONNECT, *words], stdin=subprocess.PIPE, text=True
    ) as client:
        accepted, _ = listener.accept()
        with accepted:
            yield accepted
        client.communicate("\n")


@pytest.fixture(params=["asked", "read"])
def by(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Run the test with sock_diag, and with /proc/net where sock_diag is forbidden."""
    if request.param == "read":

        def forbidden(*_: object) -> None:
            raise PermissionError

        monkeypatch.setattr(peers, "_ask_kernel", forbidden)
    return str(request.param)


@as_root
@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
@pytest.mark.usefixtures("by")
def test_another_users_connection_is_recognised(family: int) -> None:
    """It may also reach the IPv4 address through an IPv6 socket."""
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        connected(listener, uid=OTHER_UID, family=family) as accepted,
    ):
        assert peers.uid_of(accepted) == OTHER_UID


@pytest.mark.usefixtures("by")
def test_the_users_own_connection_is_recognised() -> None:
    """The ready check passes through the listener as well."""
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        connected(listener) as accepted,
    ):
        assert peers.uid_of(accepted) == os.geteuid()
        assert peers.uid_of(accepted) in peers.trusted()


@as_root
@pytest.mark.usefixtures("by")
def test_an_ipv6_connection_is_recognised() -> None:
    with (
        socket.create_server(("::1", 0), family=socket.AF_INET6) as listener,
        connected(listener, uid=OTHER_UID) as accepted,
    ):
        assert peers.uid_of(accepted) == OTHER_UID


@as_root
def test_the_user_of_a_unix_socket_is_recognised(tmp_path: Path) -> None:
    """SO_PEERCRED names them."""
    path = tmp_path / "s"
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(0o755)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        path.chmod(0o666)
        listener.listen()
        with connected(listener, uid=OTHER_UID) as accepted:
            assert peers.uid_of(accepted) == OTHER_UID


@pytest.mark.usefixtures("by")
def test_a_closed_socket_belongs_to_nobody() -> None:
    """The kernel reports uid 0 for it, and root is trusted. A request sent before the close is
    still
    there to be read.
    """
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname())
        client.sendall(b"GET / HTTP/1.0\r\n\r\n")
        accepted, _ = listener.accept()
        client.close()
        with accepted, pytest.raises(peers.Unknown):
            peers.uid_of(accepted)


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
@pytest.mark.usefixtures("by")
def test_a_listener_on_the_closed_sockets_port_is_not_the_peer(family: int) -> None:
    """If no connected socket is left, sock_diag returns the one that listens on the same port. The
    session's user may have opened it, long after a stranger has chosen the port.
    """
    host = "127.0.0.1" if family == socket.AF_INET else "::1"
    with socket.create_server((host, 0), family=family) as listener:
        client = socket.socket(family)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        client.bind((host, 0))
        port = client.getsockname()[1]
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_LINGER2, 1)
        client.connect(listener.getsockname())
        accepted, _ = listener.accept()
        client.close()
        with accepted, socket.create_server((host, port), family=family):
            soon = time.monotonic() + 20
            while _is_in_table(port) and time.monotonic() < soon:
                time.sleep(0.05)
            with pytest.raises(peers.Unknown):
                peers.uid_of(accepted)


def _is_in_table(port: int) -> bool:
    """Return whether the kernel still has a closed socket with this local port."""
    rows = [
        line.split()
        for table in ("tcp", "tcp6")
        for line in Path("/proc/net", table).read_text("ascii").splitlines()[1:]
    ]
    return any(row[1].endswith(f":{port:04X}") and row[3] != "0A" for row in rows)


@pytest.mark.parametrize(
    ("uid_map", "euid", "expected"),
    [
        ("0 0 4294967295\n", 1000, {0, 1000}),
        ("1000 1000 1\n", 1000, {0, 1000}),
        ("0 1000 1\n", 0, {0}),
        ("0 0 4294967295\n", 65534, {0, 65534}),
    ],
    ids=["host", "rootless container", "fakeroot", "nobody on the host"],
)
def test_the_sessions_user_and_root_are_trusted(
    uid_map: str, euid: int, expected: set[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their uids are those that this user namespace shows."""
    _pretend(monkeypatch, uid_map, euid)

    assert peers.trusted() == expected


def test_a_uid_that_stands_for_all_others_is_not_trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a container that maps one uid, every other user looks like nobody, so a session run by
    nobody
    cannot trust its own uid.
    """
    _pretend(monkeypatch, "65534 1000 1\n", 65534)

    with pytest.raises(peers.Unknown):
        peers.trusted()


def _pretend(monkeypatch: pytest.MonkeyPatch, uid_map: str, euid: int) -> None:
    rows = [line.split() for line in uid_map.splitlines()]
    whole = any(int(row[2]) >= 2**32 - 1 for row in rows)
    monkeypatch.setattr(peers, "_sees_all_uids", lambda: whole)
    monkeypatch.setattr(os, "geteuid", lambda: euid)


def test_abstract_sockets_are_listed_with_their_owner() -> None:
    """Any user in the network namespace can connect to one."""
    name = f"slurm-nb-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("\0" + name)
        listener.listen()
        (found,) = [each for each in peers.unix_sockets() if each.name == "@" + name]

        assert (found.listens, found.uid) == (True, os.geteuid())
        assert [each.inode for each in peers._unix_by_table() if each.name == "@" + name] == [  # noqa: SLF001
            found.inode
        ]
