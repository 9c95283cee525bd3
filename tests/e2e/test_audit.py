"""`slurm-nb audit` on real sessions: private ones pass, each spoiled one fails the right line."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.cluster import Cluster
from tests.cluster.users import ALICE
from tests.e2e.scientist import STATE, Scientist

# A kernel starts it, so it is a process of the job; it prints once it is ready.
CELL = """
import subprocess, sys
program = {code!r} + "\\nimport time; print('up', flush=True); time.sleep(600)"
child = subprocess.Popen([sys.executable, "-c", program, *{words!r}], stdout=subprocess.PIPE)
child.stdout.readline()
print(child.pid)
"""
EVERYWHERE = "import socket; s = socket.create_server(('', 0))"
ON_LOOPBACK = "import socket; s = socket.create_server(('127.0.0.1', 0))"
ABSTRACT = "import socket; s = socket.socket(socket.AF_UNIX); s.bind('\\0spoiled'); s.listen()"
ON_UDP = "import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(('', 0))"
DATAGRAMS = (
    "import socket; s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); s.bind('\\0spoiled')"
)
IN_TMP = "import socket; s = socket.socket(socket.AF_UNIX); s.bind('/tmp/spoiled'); s.listen()"


@pytest.fixture(scope="module")
def alice(cluster: Cluster) -> Iterator[Scientist]:
    """Yield the owner, whose jobs live as long as this module's tests."""
    scientist = Scientist(cluster)
    yield scientist
    scientist.clean_up()


# A user's extension that does in the server what a test says, and has a route for everybody.
EXTENSION = """
from jupyter_server.serverapp import ServerApp
before = ServerApp.init_webapp
def init_webapp(app):
    before(app)
    from tornado import web
    class Do(web.RequestHandler):
        def check_xsrf_cookie(self):
            pass
        def post(self):
            exec(self.request.body, {"app": app})
    class Leaky(web.RequestHandler):
        def get(self):
            self.write("leak")
    app.web_app.add_handlers(".*$", [("/do", Do), ("/leaky", Leaky)])
ServerApp.init_webapp = init_webapp
"""


@pytest.fixture(scope="module")
def spoilt(alice: Scientist) -> dict[str, Any]:
    """Start one session that tests spoil and repair."""
    path = alice.home / ".jupyter/jupyter_server_config.py"
    path.parent.mkdir(exist_ok=True)
    path.write_text(EXTENSION)
    os.chown(path, ALICE.uid, ALICE.uid)
    record = alice.submit()
    path.unlink()
    run(alice, record, "print(1)")
    return record


def in_server(alice: Scientist, record: dict[str, Any], code: str) -> None:
    """Run Python in the session's server, where `app` is the ServerApp."""
    header = f"Authorization: token {alice.token(record['job_id'])}"
    url = f"http://127.0.0.1:{record['port']}/do"
    alice.cluster.hosts[record["node"]].run(
        ["curl", "-sf", "-H", header, "--data-binary", code, url], user="alice"
    )


def run(alice: Scientist, record: dict[str, Any], code: str) -> str:
    """Return the output of a cell in a new kernel, which stays."""
    with alice.tunnel(record["tunnel_command"]):
        return str(alice.run_cell(record["url"], code)["output"])


def failures(alice: Scientist, job_id: str) -> dict[str, str]:
    """Return failed checks with their evidence; the exit code must be right."""
    said = alice.slurm_nb("audit", "--json", job_id)
    assert said.exit_code in {0, 1}, said
    told = json.loads(said.stdout)
    failed = {check["name"]: check["evidence"] for check in told["checks"] if not check["passed"]}
    assert told["passed"] == (said.exit_code == 0) == (not failed)
    assert alice.token(job_id) not in said.stdout + said.stderr
    return failed


def server(alice: Scientist, record: dict[str, Any]) -> tuple[str, Path]:
    """Return the pid of the session's Jupyter, and its node-local directory on this machine."""
    node = alice.cluster.hosts[record["node"]]
    marked = f"grep -lzxF SLURM_NB_SESSION=testbed/{record['job_id']} /proc/[0-9]*/environ"
    found = node.run(["bash", "-c", f"{marked} | sort -V | head -1 | tee /dev/stderr | xargs cat"])
    (runtime,) = [
        word for word in found.stdout.split("\0") if word.startswith("JUPYTER_RUNTIME_DIR=")
    ]
    pid = found.stderr.split("/")[2]
    return pid, node.root / Path(runtime.partition("=/")[2]).parent


@contextmanager
def child(alice: Scientist, record: dict[str, Any], code: str, *words: str) -> Iterator[str]:
    """Start a process from a kernel, while the block lasts; yield its pid."""
    pid = run(alice, record, CELL.format(code=code, words=words)).strip()
    try:
        yield pid
    finally:
        alice.cluster.hosts[record["node"]].run(["kill", "-KILL", pid])


@contextmanager
def mode(path: Path, bits: int) -> Iterator[None]:
    """Set another mode while the block lasts."""
    before = path.stat().st_mode & 0o7777
    path.chmod(bits)
    try:
        yield
    finally:
        path.chmod(before)


@pytest.mark.parametrize(
    "words",
    [
        ["--listen", "port"],
        ["--listen", "socket"],
        ["--route", "direct"],
        ["--route", "direct", "--tls"],
        ["--ui", "lab"],
    ],
    ids=" ".join,
)
def test_a_fresh_session_passes(alice: Scientist, words: list[str]) -> None:
    """A kernel runs in it: every line says pass, exit code 0."""
    record = alice.submit(*words)
    run(alice, record, "print(1)")

    said = alice.slurm_nb("audit", record["job_id"])

    alice.slurm_nb("cancel", record["job_id"])
    print(said.stdout)  # noqa: T201  pytest shows it where the test fails
    assert said.exit_code == 0, said
    assert {line[:6] for line in said.stdout.splitlines()} == {"pass  "}
    assert "ipykernel's inbound pipe" not in said.stdout  # it is a UNIX socket here


def test_a_local_session_passes(alice: Scientist) -> None:
    """Without Slurm the node's part runs as a process of this machine."""
    record = alice.submit("--local")

    said = alice.slurm_nb("audit", record["job_id"])

    alice.slurm_nb("cancel", record["job_id"])
    assert said.exit_code == 0, said
    assert "door: the token " in said.stdout


def test_a_readable_token_fails(alice: Scientist, spoilt: dict[str, Any]) -> None:
    """A session is untrusted if others can read its token, so the audit does not connect to it."""
    path = alice.state / "sessions/testbed" / spoilt["job_id"] / "token"
    with mode(path, 0o644):
        said = alice.slurm_nb("audit", spoilt["job_id"])

    assert (said.exit_code, said.stdout) == (1, "")
    assert "token is open to other users" in said.stderr
    assert failures(alice, spoilt["job_id"]) == {}


def test_a_readable_log_fails(alice: Scientist, spoilt: dict[str, Any]) -> None:
    """chmod 644 opens the job's output."""
    name = f"jobs/{spoilt['job_id']}_0_log.out"
    with mode(alice.state / name, 0o644):
        failed = failures(alice, spoilt["job_id"])

    assert failed == {"job's output and script": f"{name} 0644 alice: is not 0600"}


def test_a_second_name_of_the_token_fails(alice: Scientist, spoilt: dict[str, Any]) -> None:
    """A hard link keeps the token when the session removes it."""
    path = alice.state / "sessions/testbed" / spoilt["job_id"] / "token"
    copy = alice.home / "copy-of-token"
    os.link(path, copy)
    try:
        failed = failures(alice, spoilt["job_id"])
    finally:
        copy.unlink()

    assert failed == {"session's files": "token 0600 alice: has 2 names (hard links)"}


@pytest.mark.parametrize("kind", ["link", "foreign"])
def test_a_session_of_another_user_is_refused(
    alice: Scientist, spoilt: dict[str, Any], kind: str
) -> None:
    """slurm-nb trusts nothing in a link, or in another user's file, like tunnel-cmd."""
    path = alice.state / "sessions/testbed" / spoilt["job_id"] / "planted"
    if kind == "link":
        path.symlink_to("/etc/passwd")
    else:
        path.write_text("planted by root")
        path.chmod(0o600)
    try:
        said = alice.slurm_nb("audit", spoilt["job_id"])
    finally:
        path.unlink()

    assert (said.exit_code, said.stdout) == (1, "")
    assert "planted belongs to another user" in said.stderr


@pytest.mark.parametrize(
    ("code", "line", "words"),
    [
        (EVERYWHERE, "TCP listeners", "0.0.0.0:"),
        (ON_LOOPBACK, "TCP listeners", "127.0.0.1:"),
        (ABSTRACT, "UNIX sockets", "@spoiled"),
        (DATAGRAMS, "UNIX sockets", "@spoiled"),
        (ON_UDP, "UDP sockets", "0.0.0.0:"),
        (IN_TMP, "UNIX sockets", "/tmp/spoiled"),
    ],
)
def test_another_listener_of_the_job_fails(
    alice: Scientist, spoilt: dict[str, Any], code: str, line: str, words: str
) -> None:
    """The audit finds it by its inode, in whatever process of the job."""
    with child(alice, spoilt, code) as pid:
        failed = failures(alice, spoilt["job_id"])

    assert list(failed) == [line]
    assert words in failed[line]
    assert f"process {pid} (" in failed[line]


def test_the_token_in_an_argument_fails(alice: Scientist, spoilt: dict[str, Any]) -> None:
    """ps would show it to everybody on the node."""
    with child(alice, spoilt, "", alice.token(spoilt["job_id"])) as pid:
        failed = failures(alice, spoilt["job_id"])

    assert list(failed) == ["token in arguments"]
    assert failed["token in arguments"].startswith(f"process {pid} (")


def test_the_token_in_an_environment_fails(alice: Scientist, spoilt: dict[str, Any]) -> None:
    """Recipes that export JUPYTER_TOKEN put it there."""
    path = f"/home/alice/.local/state/slurm-nb/sessions/testbed/{spoilt['job_id']}/token"
    code = f"""
import os, subprocess, sys
sleep = "import time; print(1, flush=True); time.sleep(600)"
env = {{**os.environ, "JUPYTER_TOKEN": open({path!r}).read()}}
inner = subprocess.Popen([sys.executable, "-c", sleep], env=env, stdout=subprocess.PIPE)
inner.stdout.readline()
print(inner.pid)
"""
    pid = run(alice, spoilt, code).strip()
    failed = failures(alice, spoilt["job_id"])
    alice.cluster.hosts[spoilt["node"]].run(["kill", "-KILL", pid])

    assert list(failed) == ["token in environments"]
    assert failed["token in environments"].startswith(f"process {pid} (")


def test_an_open_directory_on_the_node_fails(alice: Scientist, spoilt: dict[str, Any]) -> None:
    """chmod 755 opens the node-local directory, where kernels' sockets are."""
    _, folder = server(alice, spoilt)
    with mode(folder, 0o755):
        failed = failures(alice, spoilt["job_id"])

    assert "node-local directories" in failed
    assert f"{folder.name} 0755" in failed["node-local directories"]


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ("app.identity_provider.token = ''", "authentication"),
        ("app.web_app.settings['allow_origin'] = '*'", "guards against other sites"),
        ("app.web_app.settings['disable_check_xsrf'] = True", "guards against other sites"),
        ("app.kernel_manager.allowed_message_types = []", "debugger"),
        ("app.sock = '/tmp/other'", "server's own address"),
    ],
)
def test_a_setting_that_was_changed_later_fails(
    alice: Scientist, spoilt: dict[str, Any], change: str, line: str
) -> None:
    """The audit queries the server now: an extension may have changed it after the start."""
    mend = (
        "app.identity_provider.token = app.http_server.request_callback._token.decode();"
        " app.web_app.settings.update(allow_origin='', disable_check_xsrf=False); app.sock = '';"
        " app.kernel_manager.allowed_message_types = app.messages"
    )
    in_server(alice, spoilt, "app.messages = list(app.kernel_manager.allowed_message_types)")
    in_server(alice, spoilt, change)
    try:
        failed = failures(alice, spoilt["job_id"])
    finally:
        in_server(alice, spoilt, mend)

    assert sorted(failed) == sorted([line, "settings in effect"])
    assert failures(alice, spoilt["job_id"]) == {}


def test_a_route_without_a_login_fails(alice: Scientist, spoilt: dict[str, Any]) -> None:
    """The audit tries every route of the server, in case something took the door away."""
    in_server(
        alice,
        spoilt,
        "app.door, app.http_server.request_callback = app.http_server.request_callback,"
        " app.web_app",
    )
    try:
        failed = failures(alice, spoilt["job_id"])
    finally:
        in_server(alice, spoilt, "app.http_server.request_callback = app.door")

    assert sorted(failed) == ["routes without a token", "settings in effect"]
    assert "/leaky -> 200" in failed["routes without a token"]


def test_a_process_that_hides_fails(alice: Scientist, spoilt: dict[str, Any]) -> None:
    """It hides its open files from others; the kernel's tables show its owner."""
    hide = "import ctypes; ctypes.CDLL(None).prctl(4, 0, 0, 0, 0); "  # PR_SET_DUMPABLE
    with child(alice, spoilt, hide + EVERYWHERE) as pid:
        failed = failures(alice, spoilt["job_id"])

    assert sorted(failed) == ["TCP listeners", "processes that hide"]
    assert "0.0.0.0:" in failed["TCP listeners"]
    assert f"process {pid} (" in failed["processes that hide"]


def test_a_session_with_a_password_passes(alice: Scientist) -> None:
    """The server says that a password is set; the audit checks the file of its hash too."""
    make = "from jupyter_server.auth import passwd; print(passwd('correct horse', 'argon2'))"
    words = ["bash", "-c", f'umask 077; /srv/venv/bin/python -c "{make}" >{STATE}/password']
    alice.cluster.login.run(words, user="alice")
    record = alice.submit("--auth", "password")

    said = alice.slurm_nb("audit", record["job_id"])
    alice.slurm_nb("cancel", record["job_id"])
    (alice.state / "password").unlink()

    assert said.exit_code == 0, said
    assert "password true" in said.stdout
    assert "password 0600 alice" in said.stdout


def test_a_debugger_that_was_allowed_is_reported(alice: Scientist) -> None:
    """--allow-debugger is the user's choice, and the audit shows its effect."""
    record = alice.submit("--allow-debugger")

    failed = failures(alice, record["job_id"])

    alice.slurm_nb("cancel", record["job_id"])
    assert failed == {"debugger": "debugger_allowed true"}


def test_an_ended_session_is_exit_code_4(alice: Scientist) -> None:
    """tunnel-cmd ends in the same way."""
    record = alice.submit()
    alice.slurm_nb("cancel", record["job_id"])

    assert alice.slurm_nb("audit", record["job_id"]).exit_code == 4
    assert alice.slurm_nb("audit", "999").exit_code == 1
