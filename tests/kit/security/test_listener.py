"""The listening socket serves only allowed users, and no more connections than it can handle."""

from __future__ import annotations

import os
import resource
import socket

import pytest

from slurm_nb.kit.security import listener as module
from slurm_nb.kit.security import peers
from slurm_nb.kit.security.listener import Listener, Rules
from tests.kit.security.test_peers import OTHER_UID, as_root, connected


@pytest.fixture
def log() -> list[str]:
    return []


def listening(rules: Rules) -> Listener:
    return Listener(socket.create_server(("127.0.0.1", 0), backlog=100), rules)


@pytest.fixture
def rules(log: list[str]) -> Rules:
    return Rules({os.geteuid(), 0}, lambda: 0, log.append, log.append)


def test_the_sessions_user_is_served(rules: Rules, log: list[str]) -> None:
    with listening(rules) as listener, socket.create_connection(listener.getsockname()):
        accepted, _ = listener.accept()
        accepted.close()

    assert log == []


@as_root
def test_another_user_is_refused_and_named(log: list[str]) -> None:
    """The log says what to set if the site's sshd runs as that user. The session's user sees the
    first
    such line, until a tunnel has connected.
    """
    notices: list[str] = []
    rules = Rules({os.geteuid(), 0}, lambda: 0, log.append, notices.append)
    rules.begin()
    with socket.create_server(("127.0.0.1", 0)) as plain, connected(plain, uid=OTHER_UID) as link:
        assert not rules.admit(link)

    (text,) = log
    assert text == (
        f"slurm-nb refused a connection from uid {OTHER_UID}: ignore this if the page opens in your"
        " browser; otherwise ask your site if its ssh forwards as that user (--peers any)"
    )
    assert notices == log


@as_root
def test_after_the_first_tunnel_other_users_are_only_logged(log: list[str]) -> None:
    """They are strangers, so the user gets no advice on how to admit them."""
    notices: list[str] = []
    rules = Rules({os.geteuid(), 0}, lambda: 0, log.append, notices.append)
    rules.begin()
    with socket.create_server(("127.0.0.1", 0)) as plain:
        with connected(plain) as link:
            assert rules.admit(link)
        with connected(plain, uid=OTHER_UID) as link:
            assert not rules.admit(link)

    assert (len(log), notices) == (1, [])


def test_without_a_rule_everybody_is_served(log: list[str]) -> None:
    """On the direct route the other end is on another machine."""
    rules = Rules(None, lambda: 0, log.append, log.append)
    with listening(rules) as listener, socket.create_connection(listener.getsockname()):
        listener.accept()[0].close()


def test_a_connection_from_an_unknown_user_is_refused(
    rules: Rules, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither sock_diag nor /proc names the user."""

    def unknown(_link: socket.socket) -> int:
        raise peers.Unknown

    monkeypatch.setattr(peers, "uid_of", unknown)
    with (
        listening(rules) as listener,
        socket.create_connection(listener.getsockname()) as client,
    ):
        with pytest.raises(BlockingIOError):
            listener.accept()
        assert client.recv(1) == b""


def test_connections_beyond_the_bound_are_refused(log: list[str]) -> None:
    """There is no traceback and no delay."""
    rules = Rules(None, lambda: 10**6, log.append, log.append)
    with listening(rules) as listener:
        clients = [socket.create_connection(listener.getsockname()) for _ in range(50)]
        with pytest.raises(BlockingIOError):
            listener.accept()
        for client in clients:
            client.settimeout(5)
            assert client.recv(1) == b""
            client.close()

    assert set(log) == {f"{rules.most} connections are open, which is the maximum"}


def test_without_a_free_file_descriptor_connections_are_closed(log: list[str]) -> None:
    """Otherwise each would wake the server again at once, with a traceback."""
    rules = Rules(None, lambda: 0, log.append, log.append)
    with listening(rules) as listener:
        clients = [socket.create_connection(listener.getsockname()) for _ in range(3)]
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        lowest = os.dup(0)
        os.close(lowest)
        resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, hard))
        try:
            with pytest.raises(BlockingIOError):
                listener.accept()
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for client in clients:
            client.settimeout(5)
            assert client.recv(1) == b""
            client.close()

    assert len(log) == 3
    assert "open files" in log[0]


@pytest.mark.parametrize(
    ("files", "most"), [(1024, 128), (4096, 512), (100, 16), (resource.RLIM_INFINITY, 512)]
)
def test_the_bound_follows_the_limit_on_open_files(
    files: int, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kernels, terminals and files need most of it."""
    monkeypatch.setattr(resource, "getrlimit", lambda _kind: (files, files))

    assert module._bound() == most  # noqa: SLF001
