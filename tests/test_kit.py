"""What the kit sets in the user's Jupyter on the compute node, and the token that it makes."""

from __future__ import annotations

import os
import re
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from traitlets.config import Config
from traitlets.utils.importstring import import_item

from slurm_nb.jobside import slurm_nb_kit
from slurm_nb.ready import Ready, read_progress

HANDED_OVER = ("SLURM_NB_UI", "SLURM_NB_NOTEBOOK_DIR", "SLURM_NB_TOKEN_FILE")
CONFIG_FILE = Path(slurm_nb_kit.__file__).with_name("jupyter_server_config.py")


@pytest.fixture
def token_file(tmp_path: Path, clean_environ: pytest.MonkeyPatch) -> Iterator[Path]:
    """The environment as the job script leaves it; the token is not made yet."""
    path = tmp_path / "session" / "token"
    path.parent.mkdir()
    clean_environ.setenv("SLURM_NB_SESSION", "hpc/7")
    clean_environ.setenv("SLURM_NB_UI", "lab")
    clean_environ.setenv("SLURM_NB_NOTEBOOK_DIR", "/home/alice")
    clean_environ.setenv("SLURM_NB_TOKEN_FILE", str(path))
    old_umask = os.umask(0)
    clean_environ.chdir(tmp_path)  # the kit leaves it
    yield path
    os.umask(old_umask)


def configured(config: Config | None = None) -> Config:
    c = Config() if config is None else config
    slurm_nb_kit.configure(c)
    return c


@pytest.mark.usefixtures("token_file")
def test_jupyter_listens_on_the_loopback_at_a_port_that_the_kernel_chooses() -> None:
    """Nobody on the network reaches the server, and no port is raced for."""
    server = configured().ServerApp

    assert (server.ip, server.port, server.port_retries) == ("127.0.0.1", 0, 0)
    assert (server.sock, server.certfile, server.keyfile) == ("", "", "")
    assert server.open_browser is False
    assert server.root_dir == "/home/alice"


@pytest.mark.usefixtures("token_file")
def test_the_users_own_settings_stay_but_for_what_slurm_nb_stands_on() -> None:
    """What the user configured before is in force, unless it would open the server or lose it."""
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
    assert c.ServerApp.jpserver_extensions[slurm_nb_kit.__name__] is True


@pytest.mark.parametrize("provider", ["PasswordIdentityProvider", "LegacyIdentityProvider"])
def test_no_other_way_of_saying_token_beats_ours(token_file: Path, provider: str) -> None:
    """A token set for the class that jupyter_server really uses does not open the server."""
    from jupyter_server.auth import PasswordIdentityProvider  # noqa: PLC0415  slow to import

    own = Config()
    own.ServerApp.identity_provider_class = f"jupyter_server.auth.identity.{provider}"
    own[provider].token = ""

    c = configured(own)

    chosen = c.ServerApp.get("identity_provider_class", PasswordIdentityProvider)
    in_force = import_item(chosen) if isinstance(chosen, str) else chosen
    assert in_force(config=c).token == token_file.read_text(encoding="ascii")


def test_the_token_is_256_random_bits_in_a_private_file(token_file: Path) -> None:
    """The token is made once, whatever the umask, and only its owner can read it."""
    token = configured().IdentityProvider.token

    assert re.fullmatch("[0-9a-f]{64}", token)
    assert token_file.read_text(encoding="ascii") == token
    assert stat.S_IMODE(token_file.stat().st_mode) == 0o600
    assert [path.name for path in token_file.parent.iterdir()] == ["token"]


def test_two_jobs_have_two_tokens(token_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A token opens one session only."""
    first = configured().IdentityProvider.token
    monkeypatch.setenv("SLURM_NB_UI", "lab")
    monkeypatch.setenv("SLURM_NB_NOTEBOOK_DIR", "/home/alice")
    monkeypatch.setenv("SLURM_NB_TOKEN_FILE", f"{token_file}-2")

    assert configured().IdentityProvider.token != first


def test_a_requeued_run_keeps_the_token(token_file: Path) -> None:
    """The URL that the user has stays right when the job starts over."""
    token_file.write_text("ab" * 32, encoding="ascii")

    assert configured().IdentityProvider.token == "ab" * 32


@pytest.mark.parametrize("left_over", ["", "abc", "ab" * 32 + "\n", "x" * 64])
def test_a_broken_token_never_becomes_the_servers(token_file: Path, left_over: str) -> None:
    """A token file that a crash left empty or cut off must not open the server to everybody."""
    token_file.write_text(left_over, encoding="ascii")
    try:
        token = configured().IdentityProvider.token
    except (OSError, ValueError):
        return  # not starting is safe as well

    assert re.fullmatch("[0-9a-f]{64}", token)
    assert token_file.read_text(encoding="ascii") == token


@pytest.mark.parametrize("kind", ["file", "link"])
def test_what_a_crashed_run_left_half_made_is_not_used(token_file: Path, kind: str) -> None:
    """A new token is written to a file of its own, never into one that was there before."""
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


def test_kernels_do_not_see_what_the_script_handed_over(token_file: Path) -> None:
    """The variables for the kit are gone before a kernel starts; the session's mark stays."""
    configured()

    assert not set(HANDED_OVER) & set(os.environ)
    assert os.environ["SLURM_NB_SESSION"] == "hpc/7"
    assert not any(str(token_file) in value for value in os.environ.values())


@pytest.mark.usefixtures("token_file")
def test_jupyter_finds_the_extension() -> None:
    """The kit names itself as a server extension, the way jupyter_server asks."""
    assert slurm_nb_kit._jupyter_server_extension_points() == [  # noqa: SLF001  jupyter_server's name
        {"module": slurm_nb_kit.__name__}
    ]


class FakeSocket:
    def getsockname(self) -> tuple[str, int]:
        return ("127.0.0.1", 40123)


class FakeServer:
    """As much of a ServerApp as the kit looks at; it listens at the second look."""

    base_url = "/"

    def __init__(self, root_dir: str = "/") -> None:
        self.root_dir = root_dir
        self.io_loop = self
        self.http_server = self
        self._sockets: dict[int, FakeSocket] = {}
        self.calls = 0

    def call_later(self, delay: float, call: object, *args: object) -> None:
        assert callable(call)
        self.calls += 1
        if self.calls == 3:
            self._sockets[5] = FakeSocket()
        call(*args)


@pytest.mark.usefixtures("token_file")
def test_the_ready_line_is_one_that_slurm_nb_reads(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """When the socket listens, and not before, the job's output says where."""
    monkeypatch.setenv("SLURMD_NODENAME", "c1")
    configured()
    server = FakeServer()

    slurm_nb_kit._load_jupyter_server_extension(server)  # type: ignore[arg-type]  # noqa: SLF001

    out = capsys.readouterr().out
    progress = read_progress(out.splitlines(), cluster="hpc", job_id="7")
    assert progress.ready == Ready("c1", 40123, "/lab")
    assert out.startswith("\n")  # whatever half line Jupyter had written ends here
    assert server.calls == 3


def test_what_jupyter_starts_begins_in_the_users_directory(
    token_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The server starts among the kit's files, but a kernel or a terminal does not."""
    configured()

    slurm_nb_kit._load_jupyter_server_extension(FakeServer(str(token_file.parent)))  # type: ignore[arg-type]  # noqa: SLF001

    assert Path.cwd() == token_file.parent
    assert "slurm-nb ready" in capsys.readouterr().out


@pytest.mark.parametrize("original", ["", "/home/alice/config"])
@pytest.mark.usefixtures("token_file")
def test_a_jupyter_that_the_user_starts_inside_is_not_this_session(
    original: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Once ready, the user's own JUPYTER_CONFIG_PATH is back."""
    monkeypatch.setenv("SLURM_NB_JUPYTER_CONFIG_PATH", original)
    monkeypatch.setenv("JUPYTER_CONFIG_PATH", "/tmp/slurm-nb.x/kit:" + original)
    configured()

    slurm_nb_kit._load_jupyter_server_extension(FakeServer())  # type: ignore[arg-type]  # noqa: SLF001

    assert os.environ.get("JUPYTER_CONFIG_PATH", "") == original
    assert "SLURM_NB_JUPYTER_CONFIG_PATH" not in os.environ
    assert "slurm-nb ready" in capsys.readouterr().out


def load_config_file(folder: Path) -> subprocess.CompletedProcess[str]:
    """Have traitlets load the kit from a directory that holds nothing else."""
    folder.mkdir()
    for path in (CONFIG_FILE, Path(slurm_nb_kit.__file__)):
        (folder / path.name).write_bytes(path.read_bytes())
    load = (
        "import sys; from traitlets.config import PyFileConfigLoader as Loader;"
        " c = Loader('jupyter_server_config.py', path=sys.argv[1]).load_config();"
        " print(c.ServerApp.ip, len(c.IdentityProvider.token), 'slurm_nb' in sys.modules)"
    )
    return subprocess.run(
        [sys.executable, "-c", load, str(folder)],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder.parent,
    )


@pytest.mark.usefixtures("token_file")
def test_the_config_file_finds_the_kit_beside_itself(tmp_path: Path) -> None:
    """Alone in a directory, without slurm_nb, the two files are enough."""
    done = load_config_file(tmp_path / "kit")

    assert done.stdout == "127.0.0.1 64 False\n"


def test_without_a_token_jupyter_does_not_start(token_file: Path, tmp_path: Path) -> None:
    """Jupyter would go on without a configuration that fails, so the kit ends the program."""
    token_file.parent.rmdir()

    done = load_config_file(tmp_path / "kit")

    assert done.returncode == 1
    assert done.stderr.startswith("slurm-nb: Jupyter is not started: ")
    assert done.stdout == ""


def test_a_jupyter_that_would_print_a_token_of_its_own_does_not_start(
    token_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """jupyter_server 1 knows nothing of our token; it is refused before one is made."""
    monkeypatch.setattr("jupyter_server.__version__", "1.24.0")

    with pytest.raises(RuntimeError, match=r"1\.24\.0 is too old"):
        configured()

    assert not token_file.exists()
