"""From a session on disk to the command and URL for the laptop."""

from __future__ import annotations

import os
import pwd
import socket

import pytest

from slurm_nb.connection.connection import tunnel_of
from slurm_nb.connection.login import Login, find_login
from slurm_nb.connection.tunnel import default_local_port
from slurm_nb.errors import NotReady
from slurm_nb.files import user_name, write_private
from slurm_nb.joblog.events import Ready
from slurm_nb.scheduler.job import Job
from slurm_nb.session.session import Session
from slurm_nb.session.store import Store
from tests.conftest import AddProgram

TOKEN = "ab" * 32
READY = Ready("c1", 40123, "/lab")


def saved(store: Store, session: Session, token: str | None = TOKEN) -> Session:
    store.save(session)
    if token is not None:
        write_private(store.session_folder(session.cluster, session.job_id) / "token", token)
    return session


def test_a_slurm_session_is_reached_through_the_login_node(store: Store) -> None:
    """The command has a jump, the session's token and its own local port."""
    session = saved(store, Session(job=Job("7", "hpc")))

    connection = tunnel_of(session, READY, store, Login("login"))

    port = default_local_port("hpc", "7")
    user = pwd.getpwuid(os.geteuid()).pw_name
    assert connection.command.endswith(f" -J {user}@login {user}@c1")
    assert connection.url == f"http://127.0.0.1:{port}/lab?token={TOKEN}"


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


def test_without_a_token_a_session_is_not_ready(store: Store) -> None:
    """A missing token is worth another try, and never means access without one."""
    session = saved(store, Session(job=Job("7", "hpc")), token=None)

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
    """The laptop can reach the address that the user's own ssh reached."""
    assert find_login({"SSH_CONNECTION": came_in}) == login


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

    assert find_login(environ) == Login(name)


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
