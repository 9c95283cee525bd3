"""The ssh command and the URL are exact, safe to paste, and the same each time."""

from __future__ import annotations

import shlex
from collections.abc import Callable

import pytest

from slurm_nb.connection.login import Login
from slurm_nb.connection.tunnel import (
    BROWSER_REFUSED_PORTS,
    Tunnel,
    check_local_port,
    default_local_port,
    make_tunnel,
)
from slurm_nb.errors import UserError
from slurm_nb.job.routes import RouteName
from slurm_nb.joblog.events import Ready

READY = Ready("c1", 40123, "/tree")
TOKEN = "0123456789abcdef" * 4
# "Bad port" list of the WHATWG Fetch standard, above 1023.
FETCH_BAD_PORTS = [
    1719, 1720, 1723, 2049, 3659, 4045, 4190, 5060, 5061, 6000, 6566, 6665, 6666, 6667, 6668,
    6669, 6679, 6697, 10080,
]  # fmt: skip


def through_jump(login: str, *, user: str = "alice", ready: Ready = READY) -> Tunnel:
    return make_tunnel(ready, user=user, login=Login.parse(login), local_port=12345, token=TOKEN)


def through_one_hop(login: str, *, user: str = "alice", ready: Ready = READY) -> Tunnel:
    return make_tunnel(
        ready, user=user, login=Login.parse(login), local_port=12345, token=TOKEN, route="direct"
    )


@pytest.mark.parametrize(
    ("login", "hop"),
    [
        ("login.hpc.edu", "alice@login.hpc.edu"),
        ("login.hpc.edu:22", "alice@login.hpc.edu"),
        ("login.hpc.edu:2222", "alice@login.hpc.edu:2222"),
        ("10.98.0.1", "alice@10.98.0.1"),
        ("10.98.0.1:2222", "alice@10.98.0.1:2222"),
        ("fd00::1", "'alice@[fd00::1]'"),
        ("[fd00::1]", "'alice@[fd00::1]'"),
        ("[fd00::1]:2222", "'alice@[fd00::1]:2222'"),
    ],
)
def test_the_command_jumps_through_the_login_node(login: str, hop: str) -> None:
    """One ssh reaches the node through the login node and forwards to the node's loopback."""
    assert through_jump(login).command == (
        "ssh -N -o ExitOnForwardFailure=yes -o ControlPath=none -o ServerAliveInterval=30"
        f" -L 127.0.0.1:12345:127.0.0.1:40123 -J {hop} alice@c1"
    )


@pytest.mark.parametrize(
    ("login", "end"),
    [
        ("login.hpc.edu", "-L 127.0.0.1:12345:127.0.0.1:40123 alice@login.hpc.edu"),
        ("login.hpc.edu:2222", "-p 2222 -L 127.0.0.1:12345:127.0.0.1:40123 alice@login.hpc.edu"),
        ("fd00::1", "-L 127.0.0.1:12345:127.0.0.1:40123 alice@fd00::1"),
        ("[fd00::1]:2222", "-p 2222 -L 127.0.0.1:12345:127.0.0.1:40123 alice@fd00::1"),
    ],
)
def test_the_command_for_this_machine_has_one_hop(login: str, end: str) -> None:
    """A session on the machine that runs slurm-nb needs no jump."""
    assert through_one_hop(login).command == (
        f"ssh -N -o ExitOnForwardFailure=yes -o ControlPath=none -o ServerAliveInterval=30 {end}"
    )


def test_the_url_has_the_laptops_loopback_and_the_token() -> None:
    """The browser goes where ssh listens; Jupyter answers with the token."""
    way = through_jump("login.hpc.edu", ready=Ready("c1", 40123, "/user/alice/lab"))

    assert way.url == f"http://127.0.0.1:12345/user/alice/?token={TOKEN}"
    assert way.local_port == 12345
    assert TOKEN not in way.command


@pytest.mark.parametrize(
    "user", ["alice", "HPC\\alice", "alice smith", "a'b", "$(id)", "a;id", "é"]
)
def test_a_shell_reads_the_same_words(user: str) -> None:
    """A POSIX shell reads any account name as exactly one word."""
    command = through_jump("login.hpc.edu:2222", user=user).command

    assert shlex.split(command) == [
        "ssh", "-N", "-o", "ExitOnForwardFailure=yes", "-o", "ControlPath=none",
        "-o", "ServerAliveInterval=30",
        "-L", "127.0.0.1:12345:127.0.0.1:40123", "-J", f"{user}@login.hpc.edu:2222", f"{user}@c1",
    ]  # fmt: skip
    assert shlex.split(through_one_hop("l", user=user).command)[-1] == f"{user}@l"


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("login.hpc.edu", "login.hpc.edu", 22),
        ("LOGIN-1", "LOGIN-1", 22),
        ("login:2222", "login", 2222),
        ("login:65535", "login", 65535),
        ("10.1.2.3", "10.1.2.3", 22),
        ("fd00::1", "fd00::1", 22),
        ("::1", "::1", 22),
        ("[fd00::1]:22", "fd00::1", 22),
        ("[fd00::1]:2222", "fd00::1", 2222),
        ("fe80::1%eth0", "fe80::1%eth0", 22),
    ],
)
def test_a_login_host_can_be_read(text: str, host: str, port: int) -> None:
    """A login node is a name or an address, with or without a port."""
    assert Login.parse(text) == Login(host, port)


@pytest.mark.parametrize(
    "login", [Login("l"), Login("l", 2222), Login("fd00::1"), Login("fd00::1", 2222)]
)
def test_a_login_host_is_written_as_it_is_read(login: Login) -> None:
    """A session file stores the login node as text; reading it gives the same one."""
    assert Login.parse(str(login)) == login


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "-oProxyCommand=id",
        "-login",
        "login;id",
        "login id",
        "$(id)",
        "`id`",
        "a|b",
        "a&b",
        "a>b",
        "login\n",
        "login\x1b[2J",
        "user@login",
        "ssh://login",
        "login/x",
        "login:",
        "login:0",
        "login:65536",
        "login:-22",
        "login:ssh",
        "login:22:22",
        "login:\uff12\uff12",
        ":22",
        "[]",
        "[fd00::1",
        "fd00::1]",
        "[fd00::1]x",
        "[fd00::1]:",
        "[fd00::g]",
        "[-oProxyCommand=id]",
        "a" * 300,
    ],
)
def test_other_login_hosts_are_rejected(text: str) -> None:
    """ssh could read them as an option, a command or another user."""
    with pytest.raises(UserError, match="--login-host") as caught:
        Login.parse(text)

    assert repr(text) in str(caught.value)


@pytest.mark.parametrize(
    "text", ["fe80::1%$(id)", "fe80::1%;id", "fe80::1%a b", "[fe80::1%`id`]:22", "fe80::1%'"]
)
def test_the_zone_of_an_address_contains_no_special_characters(text: str) -> None:
    """Older ssh passes the jump host to a shell, so an IPv6 zone must be as harmless as a name."""
    with pytest.raises(UserError):
        Login.parse(text)


@pytest.mark.parametrize(
    ("path", "page"),
    [
        ("/tree", "/tree/my%20data.ipynb"),
        ("/lab", "/lab/tree/my%20data.ipynb"),
        ("/user/alice/tree", "/user/alice/tree/my%20data.ipynb"),
    ],
)
def test_a_notebook_has_a_url_of_its_own(path: str, page: str) -> None:
    """The browser opens the notebook; VS Code needs the root of the server."""
    way = make_tunnel(
        Ready("c1", 40123, path),
        user="alice",
        login=Login("login"),
        local_port=12345,
        token=TOKEN,
        notebook="my data.ipynb",
    )

    assert way.url == f"http://127.0.0.1:12345{page}?token={TOKEN}"
    assert way.server_url == f"http://127.0.0.1:12345{path.rpartition('/')[0]}/?token={TOKEN}"


def test_without_a_notebook_the_browser_and_vs_code_have_one_url() -> None:
    """Jupyter redirects the browser from its root to its page."""
    way = through_jump("login.hpc.edu")

    assert way.url == way.server_url == f"http://127.0.0.1:12345/?token={TOKEN}"


def test_every_local_port_can_be_opened() -> None:
    """No nonce leads to a port that browsers or laptops refuse."""
    numbers = [*range(45_000), 2**31, 2**64 - 1, 2**128 - 1]
    ports = {default_local_port(f"{number:032x}") for number in numbers}

    assert min(ports) > 1023
    assert max(ports) < 32768  # where Linux begins to hand out ports itself (ip_local_port_range)
    assert ports.isdisjoint(FETCH_BAD_PORTS)


def test_the_list_of_blocked_ports_is_that_of_the_standard() -> None:
    """It has every port above 1023 that browsers block."""
    assert sorted(BROWSER_REFUSED_PORTS) == FETCH_BAD_PORTS


@pytest.mark.parametrize("port", [1024, 8888, 65535])
def test_the_user_can_choose_a_local_port(port: int) -> None:
    """Any port that a browser opens is valid."""
    assert check_local_port(port) == port


@pytest.mark.parametrize("port", [-1, 0, 80, 1023, 65536, 10**9])
def test_a_local_port_out_of_range_is_rejected(port: int) -> None:
    """It needs root or does not exist."""
    with pytest.raises(UserError, match=f"--local-port {port}:"):
        check_local_port(port)


@pytest.mark.parametrize("port", FETCH_BAD_PORTS)
def test_a_local_port_that_browsers_block_is_rejected(port: int) -> None:
    """The user learns this before the browser shows ERR_UNSAFE_PORT."""
    with pytest.raises(UserError, match=f"--local-port {port}: browsers block this port"):
        check_local_port(port)


# --- the other routes ---

SSH = "ssh -N -o ExitOnForwardFailure=yes -o ControlPath=none -o ServerAliveInterval=30"
SOCKET = "/tmp/slurm-nb.AbCd1234/jupyter.sock"
PRIVATE = Ready("c1", None, "/lab", socket=SOCKET)
DIRECT = Ready("c1", 40123, "/lab", address="10.1.2.3")
SECURED = Ready("c1", 40123, "/lab", address="10.1.2.3", fingerprint=":".join(["AB"] * 32))


@pytest.mark.parametrize(
    ("login", "hop"), [("login", "alice@login"), ("login:2222", "alice@login:2222")]
)
def test_a_socket_is_reached_by_a_jump(login: str, hop: str) -> None:
    """In private mode the laptop's port leads to the socket on the node."""
    way = through_jump(login, ready=PRIVATE)

    assert way.command == f"{SSH} -L 127.0.0.1:12345:{SOCKET} -J {hop} alice@c1"
    assert way.url == f"http://127.0.0.1:12345/?token={TOKEN}"


def test_a_socket_on_this_machine_is_one_hop_away() -> None:
    """The session runs without Slurm."""
    assert through_one_hop("login", ready=PRIVATE).command == (
        f"{SSH} -L 127.0.0.1:12345:{SOCKET} alice@login"
    )


@pytest.mark.parametrize(
    ("login", "end"),
    [
        ("login", "-L 127.0.0.1:12345:10.1.2.3:40123 alice@login"),
        ("login:2222", "-p 2222 -L 127.0.0.1:12345:10.1.2.3:40123 alice@login"),
        ("[fd00::1]:2222", "-p 2222 -L 127.0.0.1:12345:10.1.2.3:40123 alice@fd00::1"),
    ],
)
@pytest.mark.parametrize("through", [through_jump, through_one_hop])
def test_the_direct_route_has_one_hop_to_the_address(
    through: Callable[..., Tunnel], login: str, end: str
) -> None:
    """The login node connects to the one address that the server listens on, not to a name."""
    way = through(login, ready=DIRECT)

    assert way.command == f"{SSH} {end}"
    assert way.url == f"http://127.0.0.1:12345/?token={TOKEN}"


def test_a_certificate_makes_the_url_https() -> None:
    """The ssh command stays the same."""
    way = through_jump("login", ready=SECURED)

    assert way.command == through_jump("login", ready=DIRECT).command
    assert way.url == f"https://127.0.0.1:12345/?token={TOKEN}"


@pytest.mark.parametrize(
    ("ready", "url"),
    [
        (READY, "http://127.0.0.1:12345/"),
        (PRIVATE, "http://127.0.0.1:12345/"),
        (SECURED, "https://127.0.0.1:12345/"),
    ],
)
def test_with_a_password_the_url_contains_no_secret(ready: Ready, url: str) -> None:
    """Jupyter asks for the password, and you can bookmark the URL."""
    way = make_tunnel(ready, user="alice", login=Login("login"), local_port=12345, token=None)

    assert way.url == url


@pytest.mark.parametrize("ready", [PRIVATE, DIRECT, SECURED])
@pytest.mark.parametrize("route", [None, "direct"])
def test_nothing_listens_except_on_the_laptops_loopback(
    ready: Ready, route: RouteName | None
) -> None:
    """No route opens a port for others, either on the laptop or on the login node."""
    way = make_tunnel(
        ready, user="alice", login=Login("login"), local_port=12345, token=TOKEN, route=route
    )

    words = shlex.split(way.command)
    assert words.count("-L") == 1
    assert not {"-g", "-R", "-D", "-A"} & set(words)
    assert words[words.index("-L") + 1].startswith("127.0.0.1:12345:")
    assert TOKEN not in way.command
