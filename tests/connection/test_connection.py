"""From a session on disk to the command and URL for the laptop."""

from __future__ import annotations

import os
import pwd
import socket

import pytest

from slurm_nb.connection.connection import tunnel_of
from slurm_nb.connection.login import Login, find_login, saved_login
from slurm_nb.errors import NotReady
from slurm_nb.files import user_name, write_private
from slurm_nb.joblog.events import Ready
from slurm_nb.scheduler.job import Job
from slurm_nb.session.session import Session
from slurm_nb.session.store import Store
from tests.conftest import NONCE, AddProgram

TOKEN = "ab" * 32
READY = Ready("c1", 40123, "/lab")


def saved(
    store: Store, session: Session, token: str | None = TOKEN, nonce: str | None = NONCE
) -> Session:
    store.save(session)
    folder = store.session_folder(session.cluster, session.job_id)
    for name, secret in (("token", token), ("nonce", nonce)):
        if secret is not None:
            write_private(folder / name, secret)
    return session


def test_a_slurm_session_is_reached_through_the_login_node(store: Store) -> None:
    """The command has a jump, the session's token and its own local port."""
    session = saved(store, Session(job=Job("7", "hpc")))

    connection = tunnel_of(session, READY, store, Login("login"))

    port = connection.local_port
    user = pwd.getpwuid(os.geteuid()).pw_name
    assert connection.command.endswith(f" -J {user}@login {user}@c1")
    assert connection.url == f"http://127.0.0.1:{port}/?token={TOKEN}"


def test_a_local_session_is_reached_directly(store: Store) -> None:
    """A session on this machine is one hop away."""
    session = saved(store, Session(job=Job("local-7", "local")))

    connection = tunnel_of(session, READY, store, Login("login"))

    assert " -J " not in connection.command
    assert connection.command.endswith("@login")


def test_the_users_own_local_port_is_used(store: Store) -> None:
    """ssh forwards it and the URL has it."""
    session = saved(store, Session(job=Job("7", "hpc"), local_port=9999))

    connection = tunnel_of(session, READY, store, Login("login"))

    assert connection.local_port == 9999
    assert " -L 127.0.0.1:9999:127.0.0.1:40123 " in connection.command
    assert connection.url.startswith("http://127.0.0.1:9999/")


def test_the_local_port_of_a_job_stays(store: Store) -> None:
    """The URL that is open in the browser works as long as the job does."""
    session = saved(store, Session(job=Job("7", "hpc")))

    ports = {tunnel_of(session, READY, store, Login("login")).local_port for _ in range(3)}

    assert len(ports) == 1


def test_the_local_port_does_not_follow_from_what_slurm_shows(store: Store) -> None:
    """Another user of the laptop knows cluster and job id, and must not know the port."""
    ports = set()
    for number in range(50):
        session = saved(store, Session(job=Job("7", "hpc")), nonce=f"{number * 2**99:032x}")
        ports.add(tunnel_of(session, READY, store, Login("login")).local_port)

    assert len(ports) > 45


def test_a_session_of_an_older_version_keeps_its_local_port(store: Store) -> None:
    """Its ssh may be running; the older version counted from the job id."""
    first, second = (
        tunnel_of(
            saved(store, Session(job=Job(job_id, "hpc"), submitted_at=1_795_000_000), nonce=nonce),
            READY,
            store,
            Login("login"),
        ).local_port
        for job_id, nonce in (("7", "00" * 16), ("8", "ff" * 16))
    )

    assert second == first + 1


@pytest.mark.parametrize(("token", "nonce"), [(None, NONCE), (TOKEN, None)])
def test_without_a_token_a_session_is_not_ready(
    store: Store, token: str | None, nonce: str | None
) -> None:
    """A secret may appear later, and a missing one never means access without it."""
    session = saved(store, Session(job=Job("7", "hpc")), token, nonce)

    with pytest.raises(NotReady, match="its token has not appeared"):
        tunnel_of(session, READY, store, Login("login"))


@pytest.mark.parametrize(
    ("came_in", "login"),
    [
        ("192.0.2.9 51234 198.51.100.7 22", Login("198.51.100.7")),
        ("192.0.2.9 51234 198.51.100.7 2222", Login("198.51.100.7", 2222)),
        ("fd00::9 51234 fd00::1 22", Login("fd00::1")),
    ],
)
def test_the_login_node_is_the_address_of_the_users_ssh_connection(
    came_in: str, login: Login
) -> None:
    """The laptop can reach the address that the user's own ssh reached; its name is a guess."""
    found = find_login({"SSH_CONNECTION": came_in})

    assert (found, found.is_guess) == (login, True)


@pytest.mark.parametrize(
    ("name", "address", "host"),
    [
        ("login1.hpc.edu", "198.51.100.7", "login1.hpc.edu"),
        ("login1.hpc.edu", "10.1.2.3", "198.51.100.7"),
        ("login1.hpc.edu", None, "198.51.100.7"),
        ("login1", "198.51.100.7", "198.51.100.7"),
        ("login1.cluster.local", "198.51.100.7", "198.51.100.7"),
    ],
)
def test_the_name_of_that_address_takes_precedence(
    monkeypatch: pytest.MonkeyPatch, name: str, address: str | None, host: str
) -> None:
    """ssh has settings and host keys for names, but not for those of the cluster's own network."""

    def getaddrinfo(asked: str, port: int) -> list[object]:
        if address is None:
            raise socket.gaierror
        return [(0, 0, 0, asked, (address, port))]

    monkeypatch.setattr(socket, "getfqdn", lambda: name)
    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)

    found = find_login({"SSH_CONNECTION": "192.0.2.9 51234 198.51.100.7 2222"})

    assert found == Login(host, 2222)
    assert found.is_guess == (host != name)


@pytest.mark.parametrize("came_in", [None, "", "UNKNOWN", "1 2 3", "a 1 b ssh", "1 2 3 4 5"])
@pytest.mark.parametrize(
    ("full_name", "name"),
    [("login.hpc.edu", "login.hpc.edu"), ("localhost", "vm"), ("localhost.localdomain", "vm")],
)
def test_otherwise_the_login_node_has_its_host_name(
    monkeypatch: pytest.MonkeyPatch, came_in: str | None, full_name: str, name: str
) -> None:
    """Without a usable SSH_CONNECTION this host's full name is used, but never `localhost`."""
    monkeypatch.setattr(socket, "getfqdn", lambda: full_name)
    monkeypatch.setattr(socket, "gethostname", lambda: "vm")
    environ = {} if came_in is None else {"SSH_CONNECTION": came_in}

    found = find_login(environ)

    assert (found, found.is_guess) == (Login(name), True)


@pytest.mark.parametrize("is_guess", [True, False])
def test_a_session_remembers_whether_its_login_node_is_a_guess(
    store: Store,
    is_guess: bool,  # noqa: FBT001  a column
) -> None:
    """A later command says so too."""
    store.save(Session(job=Job("7", "hpc"), login_host="login:2222", login_is_guess=is_guess))

    login = saved_login(store.load("7"))

    assert login == Login("login", 2222)
    assert login
    assert login.is_guess == is_guess


def test_environment_variables_do_not_name_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    """The account is the one that runs the process."""
    for name in ("USER", "LOGNAME", "USERNAME"):
        monkeypatch.setenv(name, "mallory")

    assert user_name() == pwd.getpwuid(os.geteuid()).pw_name


@pytest.mark.parametrize(
    ("resolved", "host"),
    [({"c1", "n01"}, "c1"), ({"n01"}, "n01"), ({"10.1.0.1"}, "10.1.0.1"), (set(), "c1")],
)
def test_the_printed_node_is_one_that_the_login_node_can_resolve(
    store: Store,
    program: AddProgram,
    monkeypatch: pytest.MonkeyPatch,
    resolved: set[str],
    host: str,
) -> None:
    """Slurm's node name may not be a host name; NodeHostName and NodeAddr are tried too."""

    def getaddrinfo(name: str, _port: int) -> list[str]:
        if name not in resolved:
            raise socket.gaierror
        return [name]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    program("scontrol", "echo NodeName=c1 NodeAddr=10.1.0.1 NodeHostName=n01")
    session = saved(store, Session(job=Job("7", "hpc")))

    command = tunnel_of(session, READY, store, Login("login")).command

    assert command.endswith(f"@{host}")


def test_the_local_port_stays_if_a_record_of_the_session_is_lost(store: Store) -> None:
    """The submission is in session.json and in a file of the job; either is enough."""
    session = saved(store, Session(job=Job("7", "hpc"), submission=NONCE), nonce="ff" * 16)
    folder = store.session_folder("hpc", "7")
    (folder / "submission").write_text(NONCE)

    ports = [
        tunnel_of(each, READY, store, Login("login")).local_port
        for each in (session, Session(job=Job("7", "hpc")))
    ]
    (folder / "nonce").unlink()
    ports.append(tunnel_of(session, READY, store, Login("login")).local_port)

    assert len(set(ports)) == 1
