"""A user's own settings and packages that open Jupyter: they open plain Jupyter, not a session.

The sessions serve any user of the node (`--peers any`), so that the attacks meet the lock itself.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.attacks.conftest import plain_session, slurm_nb_session
from tests.attacks.score_table import Trial
from tests.attacks.target import PYTHON, Stranger, Target
from tests.attacks.test_peers import LOG_BYTES, flood
from tests.attacks.test_web import JSON
from tests.cluster.users import ALICE
from tests.e2e.scientist import Scientist

PRIVATE = "/home/alice/private-folder"
SECRET = "PRIVATE-THESIS-DATA"  # noqa: S105  must stay private
# A route as some packages open one; private files as static files; both need no token.
OPENINGS = f"""
c.ServerApp.extra_static_paths = ['{PRIVATE}', '/home/alice']
c.LabApp.extra_labextensions_path = ['{PRIVATE}']
c.LabServerApp.extra_labextensions_path = ['{PRIVATE}']
c.JupyterNotebookApp.extra_labextensions_path = ['{PRIVATE}']
from jupyter_server.serverapp import ServerApp
if not hasattr(ServerApp, 'mine'):
    ServerApp.mine = ServerApp.init_webapp
    def init_webapp(app):
        app.mine()
        from tornado import web, websocket
        class Leak(web.RequestHandler):
            def get(self, *path):
                self.write(open('{PRIVATE}/thesis.txt').read())
        class Socket(websocket.WebSocketHandler):
            def open(self):
                self.write_message('{SECRET}')
        rules = [('/voila/files/(.*)', web.StaticFileHandler, {{'path': '{PRIVATE}'}}),
                 ('/static/leak/(.*)', Leak), ('/leak', Leak), ('/api/leak', Leak),
                 ('/socket', Socket)]
        app.web_app.add_handlers('.*$', rules)
    ServerApp.init_webapp = init_webapp
"""
LOGIN = """
from jupyter_server.auth.login import LegacyLoginHandler
class Everybody(LegacyLoginHandler):
    @classmethod
    def get_user(cls, handler):
        return 'everybody'
c.ServerApp.login_handler_class = Everybody
"""
HIJACK = """
c.ServerApp.ip = '0.0.0.0'
c.ServerApp.port = 8894
c.ServerApp.allow_remote_access = True
c.IdentityProvider.token = ''
c.PasswordIdentityProvider.token = ''
"""
DEBUGGER = """
from jupyter_server.services.kernels.kernelmanager import AsyncMappingKernelManager
class Mine(AsyncMappingKernelManager):
    pass
c.ServerApp.kernel_manager_class = Mine
c.Mine.allowed_message_types = []
"""


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    for each in (path.parent, path):
        os.chown(each, ALICE.uid, ALICE.uid)


@contextmanager
def configured(alice: Scientist, **files: str) -> Iterator[None]:
    """Write configuration files in ~/.jupyter, by their names without suffix."""
    for name, text in files.items():
        _write(alice.home / ".jupyter" / f"{name}.py", text)
    try:
        yield
    finally:
        subprocess.run(["rm", "-rf", str(alice.home / ".jupyter")], check=True, timeout=20)


@contextmanager
def started(kind: str, alice: Scientist) -> Iterator[Target]:
    if kind == "plain":
        with plain_session(alice, "c2", 8890) as target:
            yield target
    else:
        with slurm_nb_session(alice, "-w", "c1", "--peers", "any") as target:
            yield target


@pytest.fixture(scope="module", params=["plain", "slurm-nb"])
def opened(request: pytest.FixtureRequest, alice: Scientist) -> Iterator[Target]:
    """Start a session of each kind with the routes and static files of `OPENINGS`."""
    _write(alice.home / "private-folder/thesis.txt", SECRET)
    (alice.home / "private-folder").chmod(0o700)
    with configured(alice, jupyter_server_config=OPENINGS), started(request.param, alice) as target:
        yield target


@pytest.fixture
def target(opened: Target) -> Target:
    """Return these in place of the sessions of the other attacks."""
    return opened


@pytest.mark.parametrize(
    "path",
    ["/voila/files/thesis.txt", "/leak", "/api/leak", "/static/leak/x", "/leak?token=", "//leak"],
)
def test_route_of_a_package(trial: Trial, path: str) -> None:
    """Request a route of a package that requires no token: the server requires it first."""
    (answer,) = trial.target.as_mallory({"path": path})

    trial.verdict(SECRET in answer["body"], answer, on_plain=path != "//leak")


def test_websocket_of_a_package(trial: Trial) -> None:
    """Open a package's websocket that requires no token: the server requires it first."""
    upgrade = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
               "Sec-WebSocket-Key": "c2l4dGVlbiBieXRlcy4uLg=="}  # fmt: skip
    (answer,) = trial.target.as_mallory({"path": "/socket", "headers": upgrade})

    trial.verdict(answer["status"] == 101, answer)


@pytest.mark.parametrize(
    "path", ["/static/thesis.txt", "/static/.bash_history", "/lab/extensions/thesis.txt"]
)
def test_static_folder(trial: Trial, path: str) -> None:
    """Fetch a private file from a folder that Alice made static: dropped, or needs a token."""
    (alice_home,) = [trial.target.cluster.login.root / "home/alice"]
    _write(alice_home / ".bash_history", SECRET)
    (answer,) = trial.target.as_mallory({"path": path})

    hidden = "history" in path or "extensions" in path
    trial.verdict(SECRET in answer["body"], answer, on_plain=SECRET in answer["body"] or not hidden)


def test_static_folder_with_the_token(trial: Trial) -> None:
    """Fetch it with Alice's stolen token: such a folder is not served at all."""
    header = {"Authorization": f"token {trial.target.token}"}
    (answer,) = trial.target.as_mallory({"path": "/static/thesis.txt", "headers": header})

    trial.verdict(SECRET in answer["body"], answer)


def test_public_routes(trial: Trial) -> None:
    """Learn something from pages without a token: only Jupyter's version, login page and looks."""
    paths = ["/api", "/login", "/favicon.ico", "/static/style/style.min.css"]
    answers = trial.target.as_mallory(*({"path": path} for path in paths))

    told = "".join(answer["body"] for answer in answers)
    assert answers[0]["status"] == 200, answers[0]
    trial.verdict(SECRET in told or trial.target.token in told, told[:500], on_plain=False)


@pytest.mark.parametrize("path", ["/tree", "/lab", "/metrics", "/nbconvert/html/x", "/a/b/c/"])
def test_page_without_token(trial: Trial, path: str) -> None:
    """Open any page without a token, as a browser would: the login page, with nothing else."""
    (answer,) = trial.target.as_mallory({"path": path, "headers": {"Accept": "text/html"}})

    trial.verdict(0 < answer["status"] < 300, answer, on_plain=False)


def test_flood_where_anyone_may_connect(trial: Trial) -> None:
    """Flood a session that serves any user: connections and log lines are bounded."""
    written, _ = flood(trial.target)

    trial.verdict(written > LOG_BYTES, written)


def test_long_lines(trial: Trial) -> None:
    """Fill the home by long paths and headers that Jupyter logs: each message is cut."""
    target = trial.target
    log = target.cluster.login.root / str(target.log)[1:]
    before = log.stat().st_size
    url = f"http://127.0.0.1:{target.port}/static"
    target.on_node.bash(
        "long=$(printf 'x%.0s' {1..60000}); for _ in {1..5}; do"
        f' curl -s {url}/$long; curl -s -H "Referer: http://localhost/$long" {url}/none; done'
    )

    trial.verdict(log.stat().st_size - before > LOG_BYTES, log.stat().st_size - before)


@pytest.mark.parametrize("path", ["/login", "/logout", "/static/favicon.ico"])
def test_long_bodies(trial: Trial, path: str) -> None:
    """Fill the server's memory without the token, by long bodies: the connection is closed."""
    target = trial.target
    told = target.on_node.run("body", PORT=str(target.port), PATH_=path)

    trial.verdict(int(told) > 1 << 20, told)


def test_login_handler(alice: Scientist, our_trial: Trial) -> None:
    """Log in by Alice's own login handler that accepts everybody: it does not replace the lock."""
    with (
        configured(alice, jupyter_server_config=LOGIN),
        slurm_nb_session(alice, "-w", "c1", "--peers", "any") as target,
    ):
        (answer,) = target.as_mallory(
            {"path": "/api/terminals", "method": "POST", "body": "{}", "headers": JSON}
        )

    our_trial.verdict(answer["status"] == 200, answer)


def test_config_file_elsewhere(alice: Scientist, our_trial: Trial) -> None:
    """Run code where Alice's config names another file, with every lock off: it is not read."""
    _write(alice.home / "x/x.py", HIJACK)
    hijack = "c.ServerApp.config_file = '/home/alice/x/x.py'\n"
    with (
        configured(alice, jupyter_config=hijack),
        slurm_nb_session(alice, "-w", "c1", "--peers", "any") as target,
    ):
        answers = [
            target.as_mallory({"path": "/api/contents"})[0],
            target.web([{"path": "/api/contents"}], host="login", user="mallory", address="c1")[0],
        ]
        elsewhere = [port for _, port, uid in target.listening() if uid == ALICE.uid]

    got_in = any(answer["status"] == 200 for answer in answers) or 8894 in elsewhere
    our_trial.verdict(got_in, (answers, elsewhere))


def test_subclassed_kernel_manager(alice: Scientist, our_trial: Trial) -> None:
    """Talk to a debugger that Alice's own kernel manager starts: the request is still dropped."""
    with (
        configured(alice, jupyter_server_config=DEBUGGER),
        slurm_nb_session(alice, "-w", "c1") as target,
        target.owner.other_kernel() as owner,
    ):
        before = {port for _, port, uid in target.listening() if uid == ALICE.uid}
        words: dict[str, Any] = {"clientID": "lab", "adapterID": "", "pathFormat": "path"}
        with contextlib.suppress(AssertionError):  # nothing answers a request that is dropped
            owner.debug("initialize", **words)
        after = {port for _, port, uid in target.listening() if uid == ALICE.uid}

    our_trial.verdict(after != before, (before, after))


def test_password_guesses(alice: Scientist, our_trial: Trial) -> None:
    """Guess a password as fast as the server answers: after three wrong ones it waits."""
    make = "from jupyter_server.auth import passwd; print(passwd('correct horse', 'argon2'))"
    state = "/home/alice/.local/state/slurm-nb"
    words = ["bash", "-c", f'umask 077; {PYTHON} -c "{make}" >{state}/password']
    alice.cluster.login.run(words, user="alice")
    guess = {"path": "/login", "method": "POST", "body": "password=x&_xsrf=1",
             "headers": {"Cookie": "_xsrf=1"}}  # fmt: skip
    with slurm_nb_session(alice, "-w", "c1", "--peers", "any", "--auth", "password") as target:
        began = time.monotonic()
        answers = target.as_mallory(*[guess] * 40)
        took = time.monotonic() - began
    (alice.state / "password").unlink()

    looked_at = [answer["status"] for answer in answers].count(401)
    our_trial.verdict(looked_at > 4 + took, (looked_at, took, answers[0], answers[-1]))


def test_certificate_for_other_names(alice: Scientist, our_trial: Trial) -> None:
    """Use a session's certificate to impersonate other sites: it is for localhost, and not a CA."""
    record = alice.submit("-w", "c1", "--route", "direct", "--tls")
    show = f"openssl s_client -connect c1:{record['port']} </dev/null | openssl x509 -noout -text"
    told = Stranger(alice.cluster.login).bash(show)
    alice.slurm_nb("cancel", record["job_id"])

    assert "IP Address:127.0.0.1" in told, told
    our_trial.verdict("CA:FALSE" not in told or "Certificate Sign" in told, told)
