"""The job announces the server only if its listener is its own, the only one, and protected."""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from slurm_nb.kit import processes
from slurm_nb.kit import self_check as checks
from slurm_nb.kit.self_check import Refused
from tests.kit.bash import bash

TOKEN = "0123456789abcdef" * 4
MARK = f"SLURM_NB_SESSION=hpc/test-{os.getpid()}"
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")


@pytest.fixture
def tcp() -> Iterator[socket.socket]:
    """Yield a listener of this process on a free loopback port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


@pytest.fixture
def folder() -> Iterator[Path]:
    """Yield a private directory whose name is short enough for a socket's path."""
    with tempfile.TemporaryDirectory(prefix="nb", dir="/tmp") as name:
        yield Path(name)


@pytest.fixture
def unix(folder: Path) -> Iterator[socket.socket]:
    """Yield a UNIX listener of this process, made as Jupyter makes one."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(folder / "jupyter.sock"))
        (folder / "jupyter.sock").chmod(0o600)
        listener.listen()
        yield listener


# --- one listener, and our own ---


def test_one_listener_is_enough(tcp: socket.socket) -> None:
    """A server listens on one socket."""
    checks.check_one([tcp])


@pytest.mark.parametrize("number", [0, 2])
def test_any_other_number_of_listeners_is_rejected(tcp: socket.socket, number: int) -> None:
    """A server that also listens elsewhere, such as on IPv6, is not announced."""
    with pytest.raises(Refused, match=f"listens on {number} sockets"):
        checks.check_one([tcp] * number)


@pytest.mark.parametrize("address", ["127.0.0.1", "127.0.0.7", "0.0.0.0"])  # noqa: S104  as asked
def test_the_servers_own_port_passes(address: str) -> None:
    """The kernel's table shows this very socket at this very address."""
    with socket.create_server((address, 0)) as listener:
        checks.check_own(listener)


def test_a_port_that_does_not_listen_is_rejected() -> None:
    """A bound socket that accepts no connections does not answer there."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))

        with pytest.raises(Refused, match="is not the server's own"):
            checks.check_own(bound)


def test_another_processs_port_is_rejected(tcp: socket.socket) -> None:
    """Another process may listen on the announced port, but its socket is not the server's."""
    with socket.socket() as bound:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)

        class Claimed:
            """A socket that claims another socket's address."""

            family = socket.AF_INET

            def fileno(self) -> int:
                return bound.fileno()

            def getsockname(self) -> Any:
                return tcp.getsockname()

        claimed: Any = Claimed()

        with pytest.raises(Refused, match="is not the server's own"):
            checks.check_own(claimed)


def test_the_servers_own_socket_passes(unix: socket.socket) -> None:
    """It is a private socket in a private directory, and this process answers."""
    checks.check_own(unix)


def test_a_path_that_another_process_answers_is_rejected(unix: socket.socket, folder: Path) -> None:
    """The peer's credentials show that another process has replaced the socket."""
    path = folder / "jupyter.sock"
    path.unlink()
    script = (
        "import os, socket, sys; s = socket.socket(socket.AF_UNIX); s.bind(sys.argv[1]);"
        " os.chmod(sys.argv[1], 0o600); s.listen(); print('up', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout
        assert other.stdin
        other.stdout.readline()

        with pytest.raises(Refused, match=f"process {other.pid} answers at .*, not the server"):
            checks.check_own(unix)

        other.stdin.close()


def test_a_path_that_nobody_answers_is_not_announced(unix: socket.socket, folder: Path) -> None:
    """Nobody can connect to a socket whose path leads to a dead one."""
    path = folder / "jupyter.sock"
    path.unlink()
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
        path.chmod(0o600)

        with pytest.raises((Refused, OSError)):
            checks.check_own(unix)


def a_link(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    path.symlink_to("elsewhere")


def a_file(path: Path) -> None:
    path.unlink()
    path.touch(0o600)


def a_folder_link(path: Path) -> None:
    aside = path.parent.with_name(f"{path.parent.name}-aside")
    path.parent.rename(aside)
    path.parent.symlink_to(aside)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (a_link, "is not a socket of mode 0600"),
        (a_file, "is not a socket of mode 0600"),
        (lambda path: path.chmod(0o666), "is not a socket of mode 0600"),
        (lambda path: path.chmod(0o660), "is not a socket of mode 0600"),
        (lambda path: path.chmod(0o604), "is not a socket of mode 0600"),
        (lambda path: path.parent.chmod(0o755), "is not in a directory of mode 0700"),
        (lambda path: path.parent.chmod(0o777), "is not in a directory of mode 0700"),
        (lambda path: path.parent.chmod(0o1770), "is not in a directory of mode 0700"),
    ],
    ids=["link", "file", "0666", "0660", "0604", "0755 folder", "0777 folder", "1770 folder"],
)
def test_a_path_that_others_could_use_is_rejected(
    unix: socket.socket, folder: Path, change: Callable[[Path], None], problem: str
) -> None:
    """Only the user may be able to open the socket and to enter its directory."""
    change(folder / "jupyter.sock")

    with pytest.raises(Refused, match=problem):
        checks.check_own(unix)


def test_a_directory_that_is_a_link_is_rejected(unix: socket.socket, folder: Path) -> None:
    """Anyone who can replace the directory with a link redirects the user's ssh."""
    a_folder_link(folder / "jupyter.sock")
    try:
        with pytest.raises(Refused, match="is not in a directory of mode 0700"):
            checks.check_own(unix)
    finally:
        folder.unlink()
        folder.with_name(f"{folder.name}-aside").rename(folder)


@as_root
@pytest.mark.parametrize("name", ["jupyter.sock", "."])
def test_another_users_path_is_rejected(unix: socket.socket, folder: Path, name: str) -> None:
    """Both socket and directory must belong to the user."""
    os.chown(folder / name, 12345, 12345)

    with pytest.raises(Refused, match="belongs to another user"):
        checks.check_own(unix)


# --- the only listener ---


@contextlib.contextmanager
def listening_child(mark: str | None, *, address: str = "127.0.0.1") -> Iterator[int]:
    """Start a process with the session's mark, or none, that listens on TCP; yield its port."""
    name, _, value = (mark or "NOTHING=x").partition("=")
    script = (
        "import socket, sys; f = socket.AF_INET6 if ':' in sys.argv[1] else socket.AF_INET;"
        " s = socket.create_server((sys.argv[1], 0), family=f);"
        " print(s.getsockname()[1], flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, address],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, name: value},
        text=True,
    ) as child:
        assert child.stdin
        assert child.stdout
        yield int(child.stdout.readline())
        child.stdin.close()


@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0", "::1", "::"])  # noqa: S104  seen too
def test_another_listener_of_the_job_is_rejected(tcp: socket.socket, address: str) -> None:
    """A helper that the server starts may not open a second port."""
    with (
        listening_child(MARK, address=address) as port,
        pytest.raises(Refused, match=f"listens on TCP: .*:{port}"),
    ):
        checks.check_alone(tcp, MARK)


@pytest.mark.parametrize("mark", [None, MARK + "0", "SLURM_NB_SESSION=hpc", "X" + MARK])
def test_a_process_outside_the_job_may_listen(tcp: socket.socket, mark: str | None) -> None:
    """The check ignores the user's other processes and other sessions on the node."""
    with listening_child(mark):
        checks.check_alone(tcp, MARK)


def test_in_private_mode_no_port_may_listen(unix: socket.socket) -> None:
    """The whole job must stay off TCP."""
    checks.check_alone(unix, MARK)

    with listening_child(MARK), pytest.raises(Refused, match="listens on TCP"):
        checks.check_alone(unix, MARK)


# --- the kernel's tables ---

# Written by hand as Linux 6.1 writes it on x86-64, with one line for each case.
PROC_TCP = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 111 1 0
   1: 00000000:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 222 1 0
   2: 0302010A:C350 0100007F:1F90 01 00000000:00000000 02:000A0000 00000000  1000        0 333 4 0
   3: 0100007F:1F91 00000000:0000 07 00000000:00000000 00:00000000 00000000  1000        0 444 2 0
   4: 0302010A:9CBB 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 555 1 0
"""
PROC_TCP6 = """\
  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000000000000000000001000000:0277 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 666 1 0
   1: 00000000000000000000000000000000:0050 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 777 1 0
   2: B80D0120000000000000000001000000:C001 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 888 1 0
   3: 0000000000000000FFFF00000100007F:1F92 0000000000000000FFFF00000100007F:C002 01 00000000:00000000 00:00000000 00000000  1000        0 999 1 0
"""  # noqa: E501  as the kernel writes it


@pytest.fixture
def proc_net(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Return the kernel's tables by path; opening a missing one fails."""
    tables: dict[str, str] = {}

    def opened(path: str) -> io.StringIO:
        if path not in tables:
            raise FileNotFoundError(path)
        return io.StringIO(tables[path])

    monkeypatch.setattr(checks, "open", opened, raising=False)
    return tables


@pytest.mark.skipif(sys.byteorder != "little", reason="as a little-endian machine writes it")
def test_the_kernels_tables_are_read(proc_net: dict[str, str]) -> None:
    """Listeners of both families are found by inode, with address and port, and no others."""
    proc_net.update({"/proc/net/tcp": PROC_TCP, "/proc/net/tcp6": PROC_TCP6})

    assert checks.tcp_listeners() == {
        111: "127.0.0.1:8080",
        222: "0.0.0.0:22",
        555: "10.1.2.3:40123",
        666: "::1:631",
        777: ":::80",
        888: "2001:db8::1:49153",
    }


@pytest.mark.skipif(sys.byteorder != "little", reason="as a little-endian machine writes it")
def test_a_node_without_ipv6_has_one_table(proc_net: dict[str, str]) -> None:
    """The IPv4 table is then enough."""
    proc_net["/proc/net/tcp"] = PROC_TCP

    assert set(checks.tcp_listeners()) == {111, 222, 555}


@pytest.mark.usefixtures("proc_net")
def test_without_any_table_a_port_is_rejected(tcp: socket.socket) -> None:
    """If the kernel shows nothing, the server cannot show that the port is its own."""
    with pytest.raises(Refused):
        checks.check_own(tcp)


def test_this_machines_own_listener_is_in_the_tables(tcp: socket.socket) -> None:
    """They are read in this machine's byte order."""
    inode = os.fstat(tcp.fileno()).st_ino

    assert checks.tcp_listeners()[inode] == f"127.0.0.1:{tcp.getsockname()[1]}"


# --- the server's answers ---


@dataclass
class Server:
    """A server that answers with a status for each of four visitors."""

    without: int = 403
    with_token: int = 200
    other_token: int = 403
    other_host: int = 403
    tls: ssl.SSLContext | None = None
    raw: bytes | None = None
    """The answer to everybody, instead of HTTP."""
    patient: bool = True
    """Whether it waits for the end of an unencrypted request, or only for TLS's first bytes."""

    def __post_init__(self) -> None:
        self.requests: list[bytes] = []

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await reader.readuntil(b"\r\n\r\n" if self.patient else b"\x03")
        self.requests.append(request)
        status = self.without
        if b"Authorization:" in request:
            right = f"\r\nAuthorization: token {TOKEN}\r\n".encode() in request
            status = self.with_token if right else self.other_token
            if b"\r\nHost: localhost\r\n" not in request:
                status = self.other_host
        writer.write(f"HTTP/1.1 {status} X\r\n\r\n".encode() if self.raw is None else self.raw)
        writer.close()

    def check(self, listener: socket.socket, certificate: Path | None = None) -> None:
        """Check this server while it answers."""

        async def main() -> None:
            start: Callable[..., Awaitable[asyncio.Server]] = asyncio.start_server
            if listener.family == socket.AF_UNIX:
                start = asyncio.start_unix_server
            async with await start(self.answer, sock=listener.dup(), ssl=self.tls):
                await checks.check_door(
                    listener, "/base/api/status", TOKEN, str(certificate) if certificate else None
                )

        asyncio.run(main())


@pytest.fixture(params=["tcp", "unix"])
def listener(request: pytest.FixtureRequest) -> socket.socket:
    found: socket.socket = request.getfixturevalue(request.param)
    return found


def test_a_protected_server_passes(listener: socket.socket) -> None:
    """It answers 403 without the token and 200 with it, as to a browser on the laptop."""
    server = Server()

    server.check(listener)

    without, with_token, rebound = server.requests
    assert without.startswith(b"GET /base/api/status HTTP/1.")
    assert b"\r\nHost: localhost\r\n" in without
    assert TOKEN.encode() not in without
    assert f"\r\nAuthorization: token {TOKEN}\r\n".encode() in with_token
    assert b"\r\nHost: other.invalid\r\n" in rebound


@pytest.mark.parametrize("status", [200, 302, 404, 500])
def test_a_server_that_answers_to_another_host_name_is_rejected(
    listener: socket.socket, status: int
) -> None:
    """A malicious page can name 127.0.0.1; the server rejects it despite the token."""
    with pytest.raises(Refused, match=f"for another Host the server answers {status}, not 403"):
        Server(other_host=status).check(listener)


@pytest.mark.parametrize("status", [200, 204, 302, 401, 404, 405, 500, 503])
def test_a_server_that_does_not_refuse_strangers_is_rejected(
    listener: socket.socket, status: int
) -> None:
    """Only 403 shows that it is protected; otherwise the check does not send the token."""
    server = Server(without=status)

    with pytest.raises(Refused, match=f"without the token the server answers {status}, not 403"):
        server.check(listener)

    assert not any(TOKEN.encode() in request for request in server.requests)


@pytest.mark.parametrize("status", [201, 302, 400, 401, 403, 404, 500])
def test_a_server_that_the_token_does_not_open_is_rejected(
    listener: socket.socket, status: int
) -> None:
    """It is another server, or it is unusable."""
    with pytest.raises(Refused, match=f"with the token the server answers {status}, not 200"):
        Server(with_token=status).check(listener)


@pytest.mark.parametrize("raw", [b"", b"\r\n", b"HTTP/1.1\r\n", b"hello\r\n", b"HTTP/1.1 x y\r\n"])
def test_an_answer_that_is_not_http_is_rejected(listener: socket.socket, raw: bytes) -> None:
    """An empty or broken answer ends in an error that the kit treats as a refusal."""
    with pytest.raises((Refused, OSError, ValueError)):
        Server(raw=raw).check(listener)


def test_a_line_without_end_is_rejected(listener: socket.socket) -> None:
    """The check does not read an endless first line for ever."""
    with pytest.raises((Refused, OSError, ValueError)):
        Server(raw=b"H" * 1_000_000).check(listener)


def test_a_server_that_does_not_answer_is_an_error(tcp: socket.socket) -> None:
    """A port that accepts no connections is not announced."""
    address = tcp.getsockname()
    tcp.close()
    with socket.socket() as bound:
        bound.bind(address)

        with pytest.raises(OSError, match="Connect call failed"):
            asyncio.run(checks.check_door(bound, "/", TOKEN, None))


# --- the server's answers, with TLS ---


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Return two folders, each with a certificate made as the job script makes it."""
    folders = []
    for name in ("ours", "others"):
        folder = tmp_path_factory.mktemp(name)
        bash("slurm_nb_make_certificate", slurm_nb_run_dir=str(folder))
        folders.append(folder)
    return folders[0], folders[1]


def tls(folder: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "certificate.pem", folder / "key.pem")
    return context


def test_a_server_with_the_jobs_certificate_passes(
    tcp: socket.socket, certificates: tuple[Path, Path]
) -> None:
    """The certificate is valid for the name that the browser uses."""
    ours, _ = certificates
    server = Server(tls=tls(ours))

    server.check(tcp, ours / "certificate.pem")

    assert len(server.requests) == 3


@pytest.mark.parametrize("change", [{"without": 200}, {"with_token": 403}])
def test_an_unprotected_server_is_rejected_with_tls_too(
    tcp: socket.socket, certificates: tuple[Path, Path], change: dict[str, int]
) -> None:
    """A certificate does not replace the token."""
    ours, _ = certificates
    server = Server(tls=tls(ours), without=change.get("without", 403))
    server.with_token = change.get("with_token", 200)

    with pytest.raises(Refused):
        server.check(tcp, ours / "certificate.pem")


def test_a_server_with_another_certificate_gets_no_request(
    tcp: socket.socket, certificates: tuple[Path, Path]
) -> None:
    """Without the job's own key it must not see the token."""
    ours, others = certificates
    server = Server(tls=tls(others))

    with pytest.raises(OSError, match="certificate verify failed"):
        server.check(tcp, ours / "certificate.pem")

    assert server.requests == []


def test_a_server_without_tls_is_rejected_if_there_is_a_certificate(
    tcp: socket.socket, certificates: tuple[Path, Path]
) -> None:
    """The check never sends anything unencrypted then."""
    server = Server(raw=b"HTTP/1.1 403 X\r\n\r\n", patient=False)

    with pytest.raises((OSError, ValueError)):
        server.check(tcp, certificates[0] / "certificate.pem")


def test_the_certificate_passes_the_strict_check_of_python_3_13(
    certificates: tuple[Path, Path],
) -> None:
    """Newer Pythons demand more of a certificate (ssl.VERIFY_X509_STRICT)."""
    certificate = certificates[0] / "certificate.pem"
    openssl = shutil.which("openssl")
    assert openssl

    done = subprocess.run(
        [openssl, "verify", "-x509_strict", "-CAfile", certificate, certificate],
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, done.stderr) == (0, "")


def test_the_key_is_private(certificates: tuple[Path, Path]) -> None:
    """Only the user can read it."""
    assert (certificates[0] / "key.pem").stat().st_mode & 0o077 == 0


HERE = "30 1 8:1 / / rw - ext4 /dev/sda1 rw\n40 30 8:2 /job_7 /tmp rw - xfs /dev/sdb rw\n"


@pytest.mark.parametrize(
    ("outside", "private"),
    [
        (HERE, False),
        ("30 1 8:1 / / rw - ext4 /dev/sda1 rw\n", True),
        (HERE.replace("/job_7", "/"), True),
        ("", False),
    ],
)
def test_a_directory_on_a_private_mount_is_recognised(outside: str, *, private: bool) -> None:
    """sshd and others on the node see another /tmp; an unknown mount is not private."""
    assert processes.is_private("/tmp/slurm-nb.x", HERE, outside) is private
