"""The kit configures the user's Jupyter on the compute node and creates its token."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import resource
import socket
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn

import jinja2
import pytest
from jupyter_core.paths import jupyter_path
from jupyter_server.auth.authorizer import AllowAllAuthorizer
from traitlets.config import Config
from traitlets.utils.importstring import import_item

from slurm_nb.joblog.events import Progress, Ready, read_progress
from slurm_nb.kit import overrides, self_check
from slurm_nb.kit import server as kit_server
from slurm_nb.kit.monitor import monitor
from slurm_nb.kit.security import guard, report
from slurm_nb.kit.security.login import SlurmNbIdentityProvider
from tests.conftest import NONCE
from tests.kit.bash import bash

KIT = Path(kit_server.__file__).parent
WHO = {"cluster": "hpc", "job_id": "7", "nonce": NONCE}
TOKEN = "ab" * 32
# The answer to "correct horse", as jupyter_server hashes it (passwd(..., algorithm="argon2")).
ARGON2 = "argon2:$argon2id$v=19$m=10240,t=10,p=8$EXAMPLEEXAMPLEEXAMPLE"


def hand_over(environ: pytest.MonkeyPatch, folder: Path, **changes: str) -> None:
    """Set the variables for the kit as the job script does."""
    handed_over = {
        "UI": "lab",
        "NOTEBOOK_DIR": "/home/alice",
        "RUN_DIR": str(folder / "run"),
        "LISTEN": "port",
        "ROUTE": "jump",
        "PEERS": "user",
        "AUTH": "token",
        "DEBUGGER": "no",
        "TERMINALS": "yes",
        "NONCE": NONCE,
        "IDLE_TIMEOUT_S": "3600",
        "TOKEN_FILE": str(folder / "session" / "token"),
        "PASSWORD_FILE": str(folder / "password"),
    }
    for name, value in {**handed_over, **changes}.items():
        environ.setenv(f"SLURM_NB_{name}", value)
    environ.setenv("SLURM_NB_SESSION", "hpc/7")


@pytest.fixture
def token_file(tmp_path: Path, clean_environ: pytest.MonkeyPatch) -> Iterator[Path]:
    """Prepare the environment as the job script leaves it; return the path of the future token."""
    path = tmp_path / "session" / "token"
    path.parent.mkdir()
    (tmp_path / "run").mkdir(mode=0o700)
    hand_over(clean_environ, tmp_path)
    clean_environ.setattr(kit_server, "_JOB", {})
    clean_environ.setattr(kit_server, "_PAGES", [])
    clean_environ.setattr(kit_server, "_LOCK", [])
    clean_environ.setattr(kit_server, "_RULES", [])
    for name in ("prove", "wrap", "announced"):
        clean_environ.setattr(guard.State, name, getattr(guard.State, name))
    clean_environ.setattr(logging, "_logRecordFactory", logging.getLogRecordFactory())
    old_umask = os.umask(0)
    old_limit = resource.getrlimit(resource.RLIMIT_CORE)
    clean_environ.chdir(tmp_path)  # the kit leaves it
    yield path
    os.umask(old_umask)
    resource.setrlimit(resource.RLIMIT_CORE, old_limit)


def configured(config: Config | None = None) -> Config:
    c = Config() if config is None else config
    kit_server.configure(c)
    return c


@pytest.mark.usefixtures("token_file")
def test_jupyter_listens_on_the_loopback_at_a_port_that_the_kernel_chooses() -> None:
    """The network cannot reach the server, and no other process can take the port first."""
    server = configured().ServerApp

    assert (server.ip, server.port, server.port_retries) == ("127.0.0.1", 0, 0)
    assert (server.sock, server.certfile, server.keyfile) == ("", "", "")
    assert server.open_browser is False
    assert server.root_dir == "/home/alice"


@pytest.mark.usefixtures("token_file")
def test_the_users_own_settings_stay_unless_slurm_nb_must_set_them() -> None:
    """Only settings that would open the server or make it unreachable are overridden."""
    own = Config()
    own.ServerApp.ip = "0.0.0.0"  # noqa: S104  the user's mistake, to be undone
    own.ServerApp.port = 8888
    own.ServerApp.base_url = "/mine/"
    own.ServerApp.jpserver_extensions = {"their_extension": True}
    own.IdentityProvider.token = ""
    own.ContentsManager.allow_hidden = True

    c = configured(own)

    assert (c.ServerApp.ip, c.ServerApp.port) == ("127.0.0.1", 0)
    assert re.fullmatch("[0-9a-f]{64}", c.IdentityProvider.token)
    assert c.ServerApp.base_url == "/mine/"
    assert c.ContentsManager.allow_hidden is True
    assert c.ServerApp.jpserver_extensions["their_extension"] is True
    assert c.ServerApp.jpserver_extensions[kit_server.__name__] is True


@pytest.mark.parametrize("provider", ["PasswordIdentityProvider", "LegacyIdentityProvider"])
def test_no_other_token_setting_overrides_ours(token_file: Path, provider: str) -> None:
    """A token set for jupyter_server's actual class does not open the server."""
    from jupyter_server.auth import PasswordIdentityProvider  # noqa: PLC0415  slow to import

    own = Config()
    own.ServerApp.identity_provider_class = f"jupyter_server.auth.identity.{provider}"
    own[provider].token = ""

    c = configured(own)

    chosen = c.ServerApp.get("identity_provider_class", PasswordIdentityProvider)
    in_force = import_item(chosen) if isinstance(chosen, str) else chosen
    assert in_force(config=c).token == token_file.read_text(encoding="ascii")


def test_the_token_is_256_random_bits_in_a_private_file(token_file: Path) -> None:
    """It is created once, and only its owner can read it, with any umask."""
    token = configured().IdentityProvider.token

    assert re.fullmatch("[0-9a-f]{64}", token)
    assert token_file.read_text(encoding="ascii") == token
    assert stat.S_IMODE(token_file.stat().st_mode) == 0o600
    assert [path.name for path in token_file.parent.iterdir()] == ["token"]


def test_two_jobs_have_two_tokens(token_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A token opens only one session."""
    first = configured().IdentityProvider.token
    hand_over(monkeypatch, token_file.parents[1], TOKEN_FILE=f"{token_file}-2")

    assert configured().IdentityProvider.token != first


def test_a_requeued_run_has_its_own_token(token_file: Path) -> None:
    """An open page may have sent the first run's token to the port's next owner."""
    token_file.write_text("ab" * 32, encoding="ascii")

    token = configured().IdentityProvider.token

    assert token != "ab" * 32
    assert token_file.read_text(encoding="ascii") == token


@pytest.mark.parametrize("left_over", ["", "abc", "ab" * 32 + "\n", "x" * 64])
def test_a_broken_token_never_becomes_the_servers_token(token_file: Path, left_over: str) -> None:
    """A crash may leave the file empty or truncated; the server must not be open to everybody."""
    token_file.write_text(left_over, encoding="ascii")
    try:
        token = configured().IdentityProvider.token
    except (OSError, ValueError):
        return  # not starting is safe as well

    assert re.fullmatch("[0-9a-f]{64}", token)
    assert token_file.read_text(encoding="ascii") == token


@pytest.mark.parametrize("kind", ["file", "link"])
def test_an_unfinished_token_file_from_a_crash_is_ignored(token_file: Path, kind: str) -> None:
    """A new token always goes to a new file, never to an existing one."""
    half_made = token_file.with_name("token.new")
    elsewhere = token_file.with_name("elsewhere")
    elsewhere.write_text("untouched", encoding="ascii")
    if kind == "link":
        half_made.symlink_to(elsewhere)
    else:
        half_made.write_text("half", encoding="ascii")

    token = configured().IdentityProvider.token

    assert token_file.read_text(encoding="ascii") == token
    assert not token_file.is_symlink()
    assert elsewhere.read_text(encoding="ascii") == "untouched"


def test_kernels_do_not_see_the_kits_variables(token_file: Path) -> None:
    """They are gone before a kernel starts; the session's mark stays."""
    configured()

    assert [name for name in os.environ if name.startswith("SLURM_NB_")] == ["SLURM_NB_SESSION"]
    assert os.environ["SLURM_NB_SESSION"] == "hpc/7"
    assert not any(str(token_file) in value for value in os.environ.values())


@pytest.mark.usefixtures("token_file")
def test_jupyter_finds_the_extension() -> None:
    """The kit names itself as a server extension, as jupyter_server requires."""
    assert kit_server._jupyter_server_extension_points() == [  # noqa: SLF001  jupyter_server's name
        {"module": kit_server.__name__}
    ]


class FakeServer:
    """The parts of a ServerApp that the kit uses; it listens at the third look."""

    base_url = "/"
    ip = "127.0.0.1"
    sock = ""
    runtime_dir = "/"
    log = logging.getLogger("ServerApp")

    def __init__(self, listener: socket.socket, root_dir: str = "/") -> None:
        self.listener = listener
        self.root_dir = root_dir
        self.io_loop = self
        self.http_server = self
        self.kernel_manager = SimpleNamespace(
            start_kernel=None, allowed_message_types=["x"], config={}
        )
        self.config: dict[str, object] = {}
        self.cookie_secret = b"secret"
        self.authorizer = None
        self.kernel_spec_manager = SimpleNamespace(get_kernel_spec=None, get_all_specs=None)
        self.identity_provider = SimpleNamespace(token=TOKEN, hashed_password="")
        self.web_app = SimpleNamespace(settings={})
        self.config_file_paths: list[str] = []
        self._sockets: dict[int, socket.socket] = {}
        self.calls = 0

    def call_later(self, delay: float, call: object, *args: object) -> None:
        assert callable(call)
        self.calls += 1
        if self.calls == 3:
            self._sockets[5] = self.listener
        call(*args)

    def add_callback(self, call: Callable[..., Any], *args: object) -> None:
        asyncio.run(call(*args))


class Exited(BaseException):
    """The end of the process."""


class Door:
    """The checks, which have their own tests; they pass, except for `problem`."""

    def __init__(self) -> None:
        self.problem: Exception | None = None
        self.checked: list[str] = []
        self.umask = -1

    def check(self, name: str) -> Callable[..., None]:
        return lambda *_: self.checked.append(name)

    async def check_door(self, _listener: object, *arguments: object) -> None:
        self.checked.append("check_door")
        self.arguments = arguments
        self.umask = os.umask(0o077)
        os.umask(self.umask)
        if self.problem:
            raise self.problem


@pytest.fixture
def door(monkeypatch: pytest.MonkeyPatch) -> Door:
    door = Door()

    def exit_with(code: int) -> NoReturn:
        raise Exited(code)

    for name in ("check_one", "check_own", "check_alone"):
        monkeypatch.setattr(self_check, name, door.check(name))
    monkeypatch.setattr(self_check, "check_door", door.check_door)
    monkeypatch.setattr(os, "_exit", exit_with)
    fake_the_proof(monkeypatch)
    return door


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


class Pages:
    """The monitor, which has its own tests, and its pages."""

    def __init__(self) -> None:
        self.shown: list[tuple[str, str]] = []
        self.jobs: list[Any] = []

    def start(self, _app: object, job: object, _tell: object) -> Pages:
        self.jobs.append(job)
        return self

    def add(self, kind: str, text: str) -> None:
        self.shown.append((kind, text))


@pytest.fixture
def pages(monkeypatch: pytest.MonkeyPatch) -> Pages:
    pages = Pages()
    monkeypatch.setattr(monitor, "start", pages.start)
    return pages


def fake_the_proof(monkeypatch: pytest.MonkeyPatch) -> None:
    """Skip the proof; tests/kit/security tests it with a real server."""
    monkeypatch.setattr(kit_server, "_prove", lambda _app: None)
    monkeypatch.setattr(report, "serve", lambda *_: None)


Announce = Callable[..., Progress]


@pytest.fixture
def announce(
    listener: socket.socket,
    capsys: pytest.CaptureFixture[str],
    pages: Pages,
    monkeypatch: pytest.MonkeyPatch,
) -> Announce:
    """Return a function that announces a server and reads what the kit has printed."""
    assert not pages.jobs
    fake_the_proof(monkeypatch)

    def call(server: FakeServer | None = None) -> Progress:
        app: Any = server or FakeServer(listener)
        kit_server._load_jupyter_server_extension(app)  # noqa: SLF001  jupyter_server's name
        out = capsys.readouterr().out
        assert out.startswith("\n")  # ends an unfinished line of Jupyter's
        return read_progress(out.splitlines(), who=WHO)

    return call


@pytest.mark.usefixtures("token_file")
def test_slurm_nb_can_read_the_ready_line(
    monkeypatch: pytest.MonkeyPatch, door: Door, listener: socket.socket, announce: Announce
) -> None:
    """It appears only once the socket listens and the checks have passed."""
    monkeypatch.setenv("SLURMD_NODENAME", "c1")
    configured()
    server = FakeServer(listener)

    progress = announce(server)

    assert progress.ready == Ready("c1", listener.getsockname()[1], "/lab")
    assert door.checked == ["check_one", "check_own", "check_alone", "check_door"]
    assert server.calls == 3


@pytest.mark.usefixtures("door")
def test_kernels_and_terminals_start_in_the_users_directory(
    token_file: Path, listener: socket.socket, announce: Announce
) -> None:
    """Only the server itself starts among the kit's files."""
    configured()

    progress = announce(FakeServer(listener, str(token_file.parent)))

    assert Path.cwd() == token_file.parent
    assert progress.ready


@pytest.mark.parametrize("original", ["", "/home/alice/config"])
@pytest.mark.usefixtures("token_file", "door")
def test_a_jupyter_started_inside_the_session_is_not_the_session(
    original: str, monkeypatch: pytest.MonkeyPatch, announce: Announce
) -> None:
    """Once ready, the user's own directories are restored, even for jobs from a notebook."""
    monkeypatch.setenv("SLURM_NB_JUPYTER_CONFIG_PATH", original)
    monkeypatch.setenv("JUPYTER_CONFIG_PATH", "/tmp/slurm-nb.x/kit:" + original)
    monkeypatch.setenv("SLURM_NB_JUPYTER_RUNTIME_DIR", original)
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", "/tmp/slurm-nb.x/runtime")
    configured()

    progress = announce()

    assert os.environ.get("JUPYTER_CONFIG_PATH", "") == original
    assert os.environ.get("JUPYTER_RUNTIME_DIR", "") == original
    assert "SLURM_NB_JUPYTER_CONFIG_PATH" not in os.environ
    assert progress.ready


@pytest.mark.parametrize("users", [0o022, 0o002, 0o077, 0o000])
@pytest.mark.usefixtures("token_file")
def test_the_users_umask_is_restored(users: int, door: Door, announce: Announce) -> None:
    """The server's own files are private; files of kernels and terminals are as usual."""
    os.umask(users)
    configured()

    announce()

    assert door.umask == 0o077
    assert os.umask(0) == users


@pytest.mark.usefixtures("token_file")
def test_no_core_is_dumped() -> None:
    """A crash leaves no file with the token; the user can raise the limit again."""
    hard = resource.getrlimit(resource.RLIMIT_CORE)[1]

    configured()

    assert resource.getrlimit(resource.RLIMIT_CORE) == (0, hard)


@pytest.mark.parametrize(
    "problem",
    [
        self_check.Refused("without the token the server answers 200, not 403"),
        ConnectionRefusedError("connection refused"),
        ValueError("invalid literal"),
        TimeoutError("no answer"),
        IndexError("list index out of range"),
        RuntimeError("anything else"),
    ],
    ids=lambda problem: type(problem).__name__,
)
@pytest.mark.usefixtures("token_file")
def test_an_unsafe_server_is_stopped(
    problem: Exception, door: Door, listener: socket.socket, capsys: pytest.CaptureFixture[str]
) -> None:
    """If a check fails, the job says so and ends without a ready line."""
    configured()
    door.problem = problem

    with pytest.raises(Exited, match="1"):
        kit_server._load_jupyter_server_extension(FakeServer(listener))  # type: ignore[arg-type]  # noqa: SLF001

    out = capsys.readouterr().out
    assert out == f"slurm-nb: Jupyter was stopped because a security check failed: {problem}\n"
    assert read_progress(out.splitlines(), who=WHO) == Progress()


@pytest.mark.usefixtures("token_file", "door")
def test_overridden_settings_are_reported_before_the_server_is_ready(
    monkeypatch: pytest.MonkeyPatch, announce: Announce
) -> None:
    """A reader that has seen the ready line has seen every notice."""
    configured()
    monkeypatch.setattr(overrides, "describe", lambda _app: ["it's “open”\nand\x1b[2J", "more"])

    progress = announce()

    assert progress.notices == ("it's “open”\nand\x1b[2J", "more")
    assert progress.ready


@pytest.mark.usefixtures("door")
def test_an_announced_server_is_monitored(
    token_file: Path,
    tmp_path: Path,
    announce: Announce,
    pages: Pages,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """From then on, new warnings also appear on its pages."""
    monkeypatch.setenv("SLURMD_NODENAME", "c1")
    configured()
    assert announce().ready

    kit_server.notice("this kernel can't be used here")

    (job,) = pages.jobs
    assert os.path.realpath(job.run_dir) == f"{tmp_path}/run"
    assert {**job._asdict(), "run_dir": ""} == {
        "cluster": "hpc", "job_id": "7", "node": "c1", "run_dir": "",
        "session_dir": str(token_file.parent), "idle_timeout_s": 3600,
    }  # fmt: skip
    assert pages.shown == [("notice", "this kernel can't be used here")]


@pytest.mark.usefixtures("token_file", "door")
def test_without_an_idle_timeout_the_session_never_stops_for_idleness(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, announce: Announce, pages: Pages
) -> None:
    """The script passes a zero."""
    hand_over(monkeypatch, tmp_path, IDLE_TIMEOUT_S="0")
    configured()
    announce()

    assert pages.jobs[0].idle_timeout_s is None


@pytest.mark.usefixtures("token_file", "door")
def test_a_failing_monitor_does_not_stop_the_session(
    monkeypatch: pytest.MonkeyPatch, announce: Announce, caplog: pytest.LogCaptureFixture
) -> None:
    """A later Jupyter may not support what it uses; the session still becomes ready."""

    def fail(*_: object) -> NoReturn:
        raise AttributeError("no such thing")

    monkeypatch.setattr(monitor, "start", fail)
    configured()

    assert announce().ready
    assert caplog.messages == ["slurm-nb: cannot monitor this session: no such thing"]


# --- the page ---


def test_the_pages_load_the_kits_extension_with_the_users_own(
    token_file: Path, tmp_path: Path
) -> None:
    """Notebook and Lab find it when Jupyter merges the user's configuration with the kit's."""
    from jupyterlab_server.config import get_federated_extensions  # noqa: PLC0415  slow to import

    own = Config()
    own.LabApp.extra_labextensions_path = ["/home/alice/extensions"]
    own.merge(configured())

    folder = str(tmp_path / "run/page")
    (extension,) = get_federated_extensions([folder]).values()
    script = Path(extension["ext_path"], extension["jupyterlab"]["_build"]["load"])

    assert token_file.exists()
    assert own.LabApp.extra_labextensions_path == ["/home/alice/extensions", folder]
    for page, expected in (
        ("jupyterlab.labapp.LabApp", ["/home/alice/extensions", folder]),
        ("notebook.app.JupyterNotebookApp", [folder]),
    ):
        assert import_item(page)(config=own).extra_labextensions_path == expected
    assert script.read_text(encoding="utf-8") == (KIT / "monitor/labextension.js").read_text(
        "utf-8"
    )


@pytest.mark.usefixtures("token_file")
def test_the_session_starts_without_the_extension(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A full disk costs the warnings on the page, not the session."""
    (tmp_path / "run/page").touch()

    assert configured().ServerApp.port == 0
    assert "slurm-nb: cannot extend Jupyter's pages: " in capsys.readouterr().out


def schema_of_news(folder: Path) -> dict[str, Any]:
    """Return the setting as Lab gets it."""
    from jupyterlab_server.settings_utils import get_settings  # noqa: PLC0415  slow to import

    (schemas,) = (path for path in jupyter_path("lab", "schemas") if Path(path).exists())
    user_settings = folder / "user-settings"
    name = "@jupyterlab/apputils-extension:notification"
    found, _ = get_settings(
        str(folder),
        schemas,
        str(user_settings),
        name,
        labextensions_path=[str(folder / "run/page")],
    )
    return dict(found)


@pytest.mark.usefixtures("token_file")
def test_lab_does_not_ask_about_news(tmp_path: Path) -> None:
    """Its other notification settings do not change."""
    before = schema_of_news(tmp_path)["schema"]
    configured()
    after = schema_of_news(tmp_path)["schema"]

    assert before["properties"]["fetchNews"].pop("default") == "none"
    assert after["properties"]["fetchNews"].pop("default") == "false"
    assert before == after


@pytest.mark.usefixtures("token_file")
def test_a_user_can_turn_the_news_on(tmp_path: Path) -> None:
    """The user's setting takes precedence over the default."""
    own = tmp_path / "user-settings/@jupyterlab/apputils-extension/notification.jupyterlab-settings"
    own.parent.mkdir(parents=True)
    own.write_text('{"fetchNews": "true"}')
    configured()

    assert schema_of_news(tmp_path)["settings"] == {"fetchNews": "true"}


def login_page(c: Config, **values: object) -> str:
    """Return the page as Jupyter renders it."""
    (folder,) = c.ServerApp.extra_template_paths
    loader = jinja2.FileSystemLoader(folder)
    template = jinja2.Environment(loader=loader, autoescape=True).get_template("login.html")
    form = "<input type=hidden name=_xsrf value=x>"
    return template.render(
        base_url="/mine/", next="%2Fmine%2Ftree", xsrf_form_html=lambda: form, **values
    )


def test_the_login_page_says_which_password(
    token_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It sends the fields of Jupyter's own form to the same URL."""
    (token_file.parents[1] / "password").write_text(ARGON2)
    monkeypatch.setenv("SLURM_NB_AUTH", "password")

    page = login_page(configured())

    assert '<form action="/mine/login?next=%2Fmine%2Ftree" method="post">' in page
    assert "<input type=hidden name=_xsrf value=x>" in page
    assert '<input type="password" name="password"' in page
    assert "that you set with <code>slurm-nb password</code>" in page
    assert "oken" not in page
    assert "@" not in page


@pytest.mark.usefixtures("token_file")
def test_without_a_password_the_login_page_names_the_command_for_the_url() -> None:
    """A visitor without the token has opened only a part of the URL."""
    page = login_page(configured(), message={"error": "Invalid credentials"})

    assert "<code>slurm-nb url 7</code>" in page
    assert "Wrong token." in page
    assert "assword" not in page.replace('type="password"', "").replace('"password', "").replace(
        "password_input", ""
    ).replace("current-password", "")


# --- the routes ---


def make_certificate(folder: Path) -> Path:
    """Create a certificate as the job script does."""
    bash("slurm_nb_make_certificate", slurm_nb_run_dir=str(folder))
    return folder / "certificate.pem"


@pytest.mark.usefixtures("token_file")
def test_private_mode_listens_only_on_a_socket(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The socket is in the job's own directory, and only the user can open it."""
    hand_over(monkeypatch, tmp_path, LISTEN="socket")

    server = configured().ServerApp

    assert server.sock == f"{tmp_path}/run/jupyter.sock"
    assert server.sock_mode == "0600"
    assert (server.ip, server.certfile, server.keyfile) == ("127.0.0.1", "", "")


@pytest.mark.usefixtures("token_file")
def test_jupyter_accepts_the_settings_of_private_mode(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Jupyter rejects a socket together with a port that was set; it accepts ours."""
    from jupyter_server.serverapp import ServerApp  # noqa: PLC0415  slow to import

    hand_over(monkeypatch, tmp_path, LISTEN="socket", NOTEBOOK_DIR=str(tmp_path))

    app = ServerApp(config=configured())

    assert app.sock.endswith("/run/jupyter.sock")
    assert app.port == app.port_default_value


@pytest.mark.usefixtures("token_file", "door")
def test_a_socket_is_announced_by_its_path(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, announce: Announce
) -> None:
    """The ready line of private mode has a path and no port."""
    hand_over(monkeypatch, tmp_path, LISTEN="socket", UI="notebook")
    monkeypatch.setenv("SLURMD_NODENAME", "c1")
    configured()
    monkeypatch.chdir(tmp_path / "run")
    path = f"{tmp_path}/run/jupyter.sock"
    with socket.socket(socket.AF_UNIX) as unix:
        unix.bind(path)

        ready = announce(FakeServer(unix)).ready

    assert ready == Ready("c1", None, "/tree", socket=path)


@pytest.mark.parametrize(
    ("login", "address"), [("localhost", "127.0.0.1"), ("", "127.0.0.1"), ("127.0.0.7", None)]
)
@pytest.mark.usefixtures("token_file", "door")
def test_the_direct_route_binds_one_address(
    login: str,
    address: str | None,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    announce: Announce,
) -> None:
    """It is the one that faces the login node, and the ready line has it."""
    hand_over(monkeypatch, tmp_path, ROUTE="direct")
    monkeypatch.setenv("SLURM_SUBMIT_HOST", login)
    own = Config()
    own.ServerApp.ip = "0.0.0.0"  # noqa: S104  the user's mistake, to be undone

    server = configured(own).ServerApp
    ready = announce().ready

    assert server.ip not in {"", "*", "::", "0.0.0.0"}  # noqa: S104  must not be bound
    assert server.ip.startswith("127.")
    assert server.ip == (address or server.ip)
    assert server.certfile == ""
    assert ready
    assert (ready.address, ready.fingerprint) == (server.ip, None)


@pytest.mark.parametrize(
    ("routes", "address"),
    [
        ({"10.1.0.1": "10.1.0.9", "203.0.113.5": "192.168.0.9"}, "10.1.0.9"),
        ({"203.0.113.5": "192.168.0.9"}, "192.168.0.9"),
    ],
)
@pytest.mark.usefixtures("token_file")
def test_a_login_node_without_a_name_is_found_by_its_addresses(
    routes: dict[str, str], address: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The node may not resolve SLURM_SUBMIT_HOST; a specific route beats the default one."""
    hand_over(monkeypatch, tmp_path, ROUTE="direct", LOGIN_ADDRESSES=" ".join(routes))
    monkeypatch.setenv("SLURM_SUBMIT_HOST", "no-such-host.invalid")
    known = {**routes, "198.51.100.1": "192.168.0.9"}
    monkeypatch.setattr(kit_server, "_address_towards", lambda host: known.get(host, ""))

    assert configured().ServerApp.ip == address
    assert "SLURM_NB_LOGIN_ADDRESSES" not in os.environ


@pytest.mark.usefixtures("token_file")
def test_overriding_the_users_root_overrides_the_settings_that_depend_on_it(tmp_path: Path) -> None:
    """Jupyter would stop at a preferred_dir outside its root directory."""
    own = Config()
    own.ServerApp.preferred_dir = own.FileContentsManager.preferred_dir = "/usr"
    own.ServerApp.file_to_run = "/usr/x.ipynb"
    own.AsyncLargeFileManager.root_dir = "/usr"

    c = configured(own)

    manager = import_item("jupyter_server.services.contents.largefilemanager.AsyncLargeFileManager")
    assert c.ServerApp.preferred_dir == c.ServerApp.root_dir == "/home/alice"
    assert c.ServerApp.file_to_run == ""
    c.AsyncLargeFileManager.root_dir = str(tmp_path)
    assert manager(config=c).preferred_dir == ""


@pytest.mark.usefixtures("token_file")
def test_an_unknown_login_node_ends_the_job(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kit_dir: Path
) -> None:
    """Without an address to bind, Jupyter does not start on all of them instead."""
    hand_over(monkeypatch, tmp_path, ROUTE="direct")
    monkeypatch.setenv("SLURM_SUBMIT_HOST", "no-such-host.invalid")

    done = load_config_file(kit_dir)

    assert done.returncode == 1
    assert done.stderr.startswith("slurm-nb: Jupyter cannot start: ")


@pytest.mark.usefixtures("token_file")
def test_the_jobs_certificate_is_used_and_its_fingerprint_announced(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, door: Door, announce: Announce
) -> None:
    """openssl and browsers show the same fingerprint, and the checks use TLS."""
    certificate = make_certificate(tmp_path / "run")
    hand_over(monkeypatch, tmp_path, ROUTE="direct")
    shown = subprocess.run(
        ["openssl", "x509", "-noout", "-fingerprint", "-sha256", "-in", str(certificate)],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()

    server = configured().ServerApp
    ready = announce().ready

    assert (server.certfile, server.keyfile) == (
        str(certificate), str(certificate.with_name("key.pem"))
    )  # fmt: skip
    assert ready
    assert shown.endswith(f"={ready.fingerprint}")
    assert door.arguments[-1] == str(certificate)


@pytest.mark.parametrize("changes", [{}, {"LISTEN": "socket"}])
@pytest.mark.usefixtures("token_file")
def test_only_the_direct_route_has_a_certificate(
    changes: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """If ssh reaches the node, the user's own certificate would only cause a browser warning."""
    make_certificate(tmp_path / "run")
    hand_over(monkeypatch, tmp_path, **changes)
    own = Config()
    own.ServerApp.certfile, own.ServerApp.client_ca = "/home/alice/cert.pem", "/home/alice/ca.pem"

    server = configured(own).ServerApp

    assert (server.certfile, server.keyfile, server.client_ca) == ("", "", "")


# --- access to the server ---


@pytest.mark.usefixtures("token_file")
def test_a_cookie_signed_with_the_users_own_secret_opens_nothing() -> None:
    """Every run has its own cookie secret, and no setting can replace it."""
    own = Config()
    own.ServerApp.cookie_secret = b"0123456789012345"
    own.ServerApp.tornado_settings = {"cookie_secret": b"x", "allow_remote_access": True}

    server = configured(own).ServerApp

    assert server.cookie_secret != b"0123456789012345"
    assert len(server.cookie_secret) == 32
    assert server.tornado_settings == {}


@pytest.mark.usefixtures("token_file")
def test_the_secrets_never_reach_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """Jupyter logs its configuration if the user asks for level DEBUG."""
    token = configured().IdentityProvider.token

    logging.getLogger("ServerApp").warning("Config changed: %r and %s", {"token": token}, token)

    assert caplog.messages == ["Config changed: {'token': '[secret]'} and [secret]"]


@pytest.mark.usefixtures("token_file", "door")
def test_a_path_without_a_printable_url_stops_the_server(
    monkeypatch: pytest.MonkeyPatch, listener: socket.socket, announce: Announce
) -> None:
    """slurm-nb would ignore such a ready line and wait for ever."""
    monkeypatch.setattr(FakeServer, "base_url", "/a&b/")
    configured()

    with pytest.raises(Exited):
        announce(FakeServer(listener))


@pytest.mark.usefixtures("token_file")
def test_no_user_setting_opens_the_server() -> None:
    """slurm-nb's protection holds with any user configuration."""
    own = Config()
    own.ServerApp.update(
        allow_remote_access=True,
        local_hostnames=["localhost", "evil.example"],
        allow_origin="*",
        allow_origin_pat=".*",
        allow_credentials=True,
        disable_check_xsrf=True,
        trust_xheaders=True,
        authenticate_prometheus=False,
        identity_provider_class="jupyter_server.auth.identity.IdentityProvider",
        authorizer_class="their.Authorizer",
        allow_root=False,
    )

    server = configured(own).ServerApp

    guarded = {
        "allow_remote_access": False,
        "local_hostnames": ["localhost"],
        "allow_origin": "",
        "allow_origin_pat": "",
        "allow_credentials": False,
        "disable_check_xsrf": False,
        "trust_xheaders": False,
        "authenticate_prometheus": True,
        "identity_provider_class": SlurmNbIdentityProvider,
        "authorizer_class": AllowAllAuthorizer,
    }
    assert {name: server[name] for name in guarded} == guarded


@pytest.mark.usefixtures("token_file")
def test_jupyter_knows_every_setting_that_protects_the_server() -> None:
    """A name that a Jupyter release has dropped would protect nothing."""
    from jupyter_server.auth.identity import PasswordIdentityProvider  # noqa: PLC0415  slow
    from jupyter_server.serverapp import ServerApp  # noqa: PLC0415  slow to import

    c = configured()

    assert set(c.ServerApp) <= set(ServerApp.class_trait_names(config=True))
    assert set(c.PasswordIdentityProvider) <= set(
        PasswordIdentityProvider.class_trait_names(config=True)
    )


def provider(c: Config) -> Any:
    """Return jupyter_server's identity provider with these settings."""
    return c.ServerApp.identity_provider_class(config=c)


def test_a_password_opens_the_server_and_the_token_still_does(
    token_file: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """With --auth password, Jupyter compares with the stored hash."""
    from jupyter_server.auth.security import passwd  # noqa: PLC0415  slow to import

    (tmp_path / "password").write_text(
        passwd("correct horse", algorithm="argon2"),  # type: ignore[no-untyped-call]
        encoding="ascii",
    )
    hand_over(monkeypatch, tmp_path, AUTH="password")

    in_force = provider(configured())

    assert in_force.passwd_check("correct horse")
    assert not in_force.passwd_check("wrong horse")
    assert in_force.password_required
    assert not in_force.allow_password_change
    assert in_force.token == token_file.read_text(encoding="ascii")


@pytest.mark.parametrize("hashed", [ARGON2, "sha1:x:y", ""])
@pytest.mark.usefixtures("token_file")
def test_with_a_token_no_password_opens_the_server(hashed: str, tmp_path: Path) -> None:
    """The stored password and the password of the user's own Jupyter are both ignored."""
    (tmp_path / "password").write_text(ARGON2, encoding="ascii")
    own = Config()
    own.PasswordIdentityProvider.hashed_password = hashed
    own.IdentityProvider.hashed_password = hashed

    in_force = provider(configured(own))

    assert in_force.hashed_password == ""
    assert not in_force.password_required
    assert in_force.auth_enabled


@pytest.mark.parametrize(
    "text", [None, b"", b"\n", b"correct horse", b"sha1:x:y", b" ", b"\xff\xfe", b"argon2"]
)
@pytest.mark.usefixtures("token_file")
def test_without_a_valid_hash_jupyter_does_not_start(
    text: bytes | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kit_dir: Path
) -> None:
    """The program ends if the password file is missing, empty or not an argon2 hash."""
    if text is not None:
        (tmp_path / "password").write_bytes(text)
    hand_over(monkeypatch, tmp_path, AUTH="password")

    done = load_config_file(kit_dir)

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("slurm-nb: Jupyter cannot start: ")
    assert "correct horse" not in done.stderr


@pytest.mark.parametrize(("handed_over", "allowed"), [("yes", True), ("no", False), ("", False)])
@pytest.mark.usefixtures("token_file")
def test_only_one_word_allows_the_debugger(
    handed_over: str,
    allowed: bool,  # noqa: FBT001  a column of the table
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """Any value except `yes` disables it."""
    hand_over(monkeypatch, tmp_path, DEBUGGER=handed_over)

    c = configured()

    assert ("allowed_message_types" not in c.MappingKernelManager) is allowed
    assert c.KernelManager.transport == "ipc"


def load_config_file(kit_dir: Path) -> subprocess.CompletedProcess[str]:
    """Load the kit's configuration with traitlets in a process like the job's."""
    load = (
        "import sys; from traitlets.config import PyFileConfigLoader as Loader;"
        " c = Loader('jupyter_server_config.py', path=sys.argv[1]).load_config();"
        " print(c.ServerApp.ip, len(c.IdentityProvider.token), 'slurm_nb' in sys.modules)"
    )
    return subprocess.run(
        [sys.executable, "-c", load, str(kit_dir / "slurm_nb_kit")],
        capture_output=True,
        text=True,
        check=False,
        cwd=kit_dir,
    )


@pytest.mark.usefixtures("token_file")
def test_the_config_file_finds_the_kit(kit_dir: Path) -> None:
    """The kit's directory is enough; slurm_nb need not be installed."""
    done = load_config_file(kit_dir)

    assert done.stdout == "127.0.0.1 64 False\n"


def test_without_a_token_jupyter_does_not_start(token_file: Path, kit_dir: Path) -> None:
    """Jupyter would continue after a configuration error, so the kit ends the program."""
    token_file.parent.rmdir()

    done = load_config_file(kit_dir)

    assert done.returncode == 1
    assert done.stderr.startswith("slurm-nb: Jupyter cannot start: ")
    assert done.stdout == ""


def test_a_jupyter_that_would_print_its_own_token_does_not_start(
    token_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """jupyter_server 1 would ignore our token, so it is rejected before there is one."""
    monkeypatch.setattr("jupyter_server.__version__", "1.24.0")

    with pytest.raises(RuntimeError, match=r"1\.24\.0 is too old"):
        configured()

    assert not token_file.exists()
