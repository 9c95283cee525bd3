"""The preflight checks find what Jupyter needs before it starts, and report it in one line."""

from __future__ import annotations

import ast
import json
import os
import pwd
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from slurm_nb.joblog.events import Failure, read_progress
from slurm_nb.kit import preflight
from slurm_nb.kit.environment import packages
from tests.conftest import NONCE

WHO = {"cluster": "hpc", "job_id": "7", "nonce": NONCE}


@pytest.fixture
def environ(tmp_path: Path, kit_dir: Path) -> dict[str, str]:
    """Return the job script's variables; `fakes` has a Jupyter that prints its input."""
    for name in ("run", "session", "notebooks", "home"):
        (tmp_path / name).mkdir()
    for name, version in (
        ("jupyter_server", "2.21.0"), ("notebook", "7.5.6"), ("tornado", "6.5.10")
    ):  # fmt: skip
        add_package(tmp_path, name, version)
    server = "class ServerApp:\n    def init_httpserver(self): ...\n    _bind_http_server = None\n"
    (tmp_path / "fakes/jupyter_server/serverapp.py").write_text(server)
    (tmp_path / "fakes/tornado/tcpserver.py").write_text(
        "class TCPServer:\n    add_sockets = None\n"
    )
    return {
        "PATH": os.environ["PATH"],
        "PWD": str(kit_dir),  # the tests start it there
        "HOME": str(tmp_path / "home"),
        "PYTHONPATH": str(tmp_path / "fakes"),
        "SLURM_NB_SESSION": "hpc/7",
        "SLURM_NB_NONCE": NONCE,
        "SLURM_NB_RUN_DIR": str(tmp_path / "run"),
        "SLURM_NB_NOTEBOOK_DIR": str(tmp_path / "notebooks"),
        "SLURM_NB_TOKEN_FILE": str(tmp_path / "session/token"),
        "SLURMD_NODENAME": "c1",
    }


def add_package(tmp_path: Path, name: str, version: str) -> Path:
    package = tmp_path / "fakes" / name
    package.mkdir(parents=True, exist_ok=True)
    (package / "__init__.py").touch()
    (package / "app.py").touch()
    (package / "__main__.py").write_text(
        "import sys; print('started', sys.argv[1:], __name__); exit(3)"
    )
    info = tmp_path / f"fakes/{name}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    return package


def start(environ: dict[str, str], module: str = "notebook") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-S", "-m", "slurm_nb_kit.preflight", module, "--no-browser"],
        env=environ,
        cwd=environ["PWD"],
        capture_output=True,
        text=True,
        check=False,
    )


def failure(environ: dict[str, str], module: str = "notebook") -> Failure:
    """Return the failure that the login node reads."""
    done = start(environ, module)
    assert (done.returncode, "started" in done.stdout) == (1, False), done
    told = read_progress(done.stdout.splitlines(), who=WHO).failure
    assert told, done
    return told


def test_jupyter_starts_with_the_arguments_of_the_script(
    environ: dict[str, str], tmp_path: Path
) -> None:
    """If everything is present, the process becomes `python -m notebook --no-browser`."""
    done = start(environ)

    assert done.stdout == "started ['--no-browser'] __main__\n", done
    assert (tmp_path / "run/python-started").exists()
    assert list((tmp_path / "session").iterdir()) == list((tmp_path / "home").iterdir()) == []


def test_a_missing_package_is_reported_with_the_line_that_installs_it(
    environ: dict[str, str],
) -> None:
    """The line names the interpreter, because there may be several."""
    told = failure(environ, "jupyterlab")

    assert told.text == (
        f"{sys.executable} on c1 cannot run Jupyter Lab: it does not have jupyterlab 3.6 or later"
    )
    assert "use an environment that you can install into: --env DIR" in told.cure  # -S hides pip
    assert "use --ui notebook (it has notebook 7.5.6)" in told.cure


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("import nosuch", "ModuleNotFoundError: No module named 'nosuch'"),
        ("raise ImportError('libssl.so.3: no\\nsuch')", "ImportError: libssl.so.3: no"),
        ("def", "SyntaxError: invalid syntax (app.py, line 1)"),
        ("raise ImportError", "ImportError"),
    ],
)
def test_a_package_that_cannot_be_imported_is_reported(
    environ: dict[str, str], tmp_path: Path, text: str, said: str
) -> None:
    """One of its dependencies is missing or does not fit the node."""
    (tmp_path / "fakes/notebook/app.py").write_text(text)

    told = failure(environ)

    assert told.text == f"cannot import notebook of {sys.executable} on c1: {said}"
    assert "--python PATH or --env DIR" in told.cure


@pytest.mark.parametrize(
    ("name", "version", "needed"),
    [("notebook", "6.5.7", "7.0"), ("jupyter_server", "1.24.0", "2.0")],
)
def test_a_version_that_cannot_be_protected_is_rejected(
    environ: dict[str, str], tmp_path: Path, name: str, version: str, needed: str
) -> None:
    """Notebook 6 would not even read slurm-nb's configuration."""
    (old,) = (tmp_path / "fakes").glob(f"{name}-*.dist-info")
    (old / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")

    assert f"is {version}, and {needed} or later is needed" in failure(environ).text


def test_a_notebook_directory_missing_on_the_node_is_reported(environ: dict[str, str]) -> None:
    """Only the login node may have its file system."""
    environ["SLURM_NB_NOTEBOOK_DIR"] = "/no/such"

    told = failure(environ)

    assert told.text == "the notebook directory /no/such does not exist on c1"
    assert "--notebook-dir" in told.cure


@pytest.mark.parametrize("place", ["session", "home"])
def test_a_directory_that_accepts_no_data_is_reported(
    environ: dict[str, str], tmp_path: Path, place: str
) -> None:
    """A full quota shows only on writing; in this test the directory is missing."""
    (tmp_path / place).rmdir()

    told = failure(environ)

    assert f"{tmp_path / place}, on c1: No such file or directory" in told.text
    assert told.cure


@pytest.mark.parametrize("module", [preflight, packages])
def test_an_old_interpreter_is_reported(module: ModuleType) -> None:
    """Python 3.5 can read these files, and they check the version before anything else."""
    source = Path(str(module.__file__)).read_text(encoding="utf-8")
    tree = ast.parse(source, feature_version=(3, 5))

    assert tree.body
    assert "annotations" not in source
    found = {"python": "/usr/bin/python3", "version": [3, 6]}
    lacks = packages.lacking(found, "notebook")
    assert lacks == ["it is Python 3.6, and 3.8 or later is needed"]


def test_special_characters_survive(environ: dict[str, str]) -> None:
    """With quotes, backslashes or other alphabets in a path, the line is still one line of JSON."""
    environ["SLURM_NB_NOTEBOOK_DIR"] = '/no/"é\\名\n'

    assert '/no/"é\\名' in failure(environ).text


def test_the_kernel_ends_jupyter_if_its_job_script_is_killed(
    environ: dict[str, str], tmp_path: Path
) -> None:
    """After SIGKILL the script has no time to stop Jupyter."""
    waits = "import time; print('started', flush=True); time.sleep(10); print('too late')"
    (tmp_path / "fakes/notebook/__main__.py").write_text(waits)
    script = ["bash", "-c", '"$0" -m slurm_nb_kit.preflight notebook & wait', sys.executable]

    with subprocess.Popen(
        script, env=environ, cwd=environ["PWD"], stdout=subprocess.PIPE, text=True
    ) as job:
        assert job.stdout is not None
        assert job.stdout.readline() == "started\n"
        job.kill()
        assert job.stdout.read() == ""  # returns when every process has closed it


def test_a_partial_write_means_a_full_disk(environ: dict[str, str], tmp_path: Path) -> None:
    """write(2) succeeds with fewer bytes than it got, and fails only at the next call."""
    code = "import resource as r; r.setrlimit(r.RLIMIT_FSIZE, (32768, 32768))"
    call = f"_check_writable('your home', {str(tmp_path)!r})"
    check = f"from slurm_nb_kit.preflight import _check_writable; {call}"

    done = subprocess.run(
        [sys.executable, "-c", f"{code}; {check}"],
        env=environ,
        cwd=environ["PWD"],
        capture_output=True,
        text=True,
        check=False,
    )

    assert f"cannot write to your home, {tmp_path}, on c1: File too large" in done.stderr
    assert list(tmp_path.glob(".slurm-nb-probe-*")) == []


# --- an environment without a usable Jupyter ---


def fall_back(environ: dict[str, str], tmp_path: Path, brought_by: str) -> str:
    """Let slurm-nb's own Python print its arguments; return its path."""
    own = tmp_path / "own/bin/python"
    own.parent.mkdir(parents=True)
    own.write_text('#!/bin/sh\necho "started by own: $*"; env | grep ^SLURM_NB_OWN\n')
    own.chmod(0o755)
    environ.update(SLURM_NB_OWN_PYTHON=str(own), SLURM_NB_BROUGHT_BY=brought_by)
    for path in (tmp_path / "fakes").glob("notebook*"):
        shutil.rmtree(path)
    return str(own)


def test_an_environment_without_jupyter_becomes_a_kernel(
    environ: dict[str, str], tmp_path: Path
) -> None:
    """slurm-nb's own Jupyter starts with the same arguments, and notices say so, with the cures."""
    own = fall_back(environ, tmp_path, "the environment /e")
    add_package(tmp_path, "ipykernel", "7.3.0")

    done = start(environ)

    assert "started by own: -m slurm_nb_kit.preflight notebook --no-browser\n" in done.stdout
    assert "SLURM_NB_OWN" not in done.stdout
    first, second = read_progress(done.stdout.splitlines(), who=WHO).notices
    assert "it does not have notebook 7.0 or later; so slurm-nb starts its own Jupyter" in first
    assert f"({own}), which runs {sys.executable} as a kernel" in first
    assert second.startswith("to use the Python of the environment /e: ")
    kernel = json.loads((tmp_path / "run/kernels/python3/kernel.json").read_text())
    assert kernel["argv"][:3] == [sys.executable, "-m", "ipykernel_launcher"]
    assert kernel["display_name"].startswith(f"Python 3.{sys.version_info[1]} (")


def test_an_environment_without_a_kernel_is_an_error(
    environ: dict[str, str], tmp_path: Path
) -> None:
    """The error says how to add one."""
    fall_back(environ, tmp_path, "the environment /e")

    told = failure(environ)

    assert "it does not have notebook 7.0 or later" in told.text


def test_a_module_without_jupyter_does_not_stop_slurm_nbs_own(
    environ: dict[str, str], tmp_path: Path
) -> None:
    """slurm-nb's Jupyter runs without the module's Python as a kernel."""
    fall_back(environ, tmp_path, "the module python/3.12")

    done = start(environ)

    assert "started by own" in done.stdout
    first = read_progress(done.stdout.splitlines(), who=WHO).notices[0]
    assert f"without {sys.executable} as a kernel, because it does not have ipykernel" in first
    assert not (tmp_path / "run/kernels").exists()


def test_an_interpreter_from_the_command_line_is_never_replaced(
    environ: dict[str, str], tmp_path: Path
) -> None:
    """--python decides whose Jupyter runs."""
    fall_back(environ, tmp_path, "")

    assert "cannot run Jupyter Notebook" in failure(environ).text


# --- what saving needs, and other causes ---


def test_a_broken_link_in_place_of_jupyters_data_directory_is_reported(
    environ: dict[str, str], tmp_path: Path
) -> None:
    """Otherwise Jupyter would start and could not save any notebook."""
    share = tmp_path / "home/.local/share"
    share.mkdir(parents=True)
    (share / "jupyter").symlink_to("/no/such")

    told = failure(environ)

    assert told.text == (
        f"cannot write to Jupyter's data directory, {share}/jupyter, on c1: {share}/jupyter is a"
        " link to /no/such, which does not exist"
    )
    assert "JUPYTER_DATA_DIR" in told.cure


def test_two_problems_are_reported_at_once(environ: dict[str, str], tmp_path: Path) -> None:
    """Nobody should wait in a queue twice to hear about both."""
    environ["SLURM_NB_NOTEBOOK_DIR"] = "/no/such"
    (tmp_path / "fakes/notebook/app.py").write_text("import nosuch")

    told = failure(environ)

    assert "the notebook directory /no/such does not exist" in told.text
    assert "cannot import notebook of " in told.text
    assert "--notebook-dir DIR" in told.cure


def test_a_wrong_home_is_named_as_the_cause(environ: dict[str, str]) -> None:
    """A quota would be the wrong cause."""
    environ["HOME"] = "/no/such"

    home = Path(pwd.getpwuid(os.geteuid()).pw_dir)
    assert f"HOME is /no/such, but your home directory is {home}" in failure(environ).cure


def test_a_read_only_directory_is_a_notice(
    environ: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Course material is often read-only."""
    for name in ("SLURM_NB_SESSION", "SLURM_NB_NONCE"):
        monkeypatch.setenv(name, environ[name])
    monkeypatch.setattr(os, "access", lambda _path, mode: not mode & os.W_OK)

    preflight.check_notebook_dir(str(tmp_path))

    notices = read_progress(capsys.readouterr().out.splitlines(), who=WHO).notices
    assert notices == (f"you cannot write to {tmp_path}, so save notebooks elsewhere",)


@pytest.mark.parametrize(
    "line",
    [
        "raise MemoryError",
        "try: raise MemoryError\nexcept MemoryError: raise ValueError('literal')",
    ],
)
def test_an_import_that_runs_out_of_memory_is_not_a_missing_package(
    environ: dict[str, str], tmp_path: Path, line: str
) -> None:
    """Slurm passes the login shell's limits to jobs; a package may wrap the error."""
    (tmp_path / "fakes/notebook/app.py").write_text(line)

    told = failure(environ)

    assert f"{sys.executable} cannot allocate memory for notebook on c1" in told.text
    assert "ulimit -v unlimited" in told.cure


def test_a_class_from_another_environment_is_named(
    environ: dict[str, str], tmp_path: Path, kit_dir: Path
) -> None:
    """The message has setting, file, package and Python; a real Jupyter would refuse to start."""
    config = tmp_path / "home/.jupyter/jupyter_server_config.py"
    config.parent.mkdir()
    config.write_text('c.ServerApp.contents_manager_class = "no_such_package.Manager"\n')
    (tmp_path / "run/runtime").mkdir(mode=0o700)
    values = {
        **dict.fromkeys(("UI", "LISTEN", "ROUTE", "AUTH", "DEBUGGER", "TERMINALS"), "x"),
        "IDLE_TIMEOUT_S": "0",
        "PASSWORD_FILE": "/none",
    }
    environ.update({f"SLURM_NB_{name}": value for name, value in values.items()})
    del environ["PYTHONPATH"]

    done = subprocess.run(
        [sys.executable, "-m", "slurm_nb_kit.preflight", "notebook", "--no-browser"],
        env={
            **environ,
            "JUPYTER_CONFIG_PATH": str(kit_dir / "slurm_nb_kit"),
            "JUPYTER_RUNTIME_DIR": str(tmp_path / "run/runtime"),
        },
        cwd=environ["PWD"],
        capture_output=True,
        text=True,
        check=False,
    )

    told = read_progress(done.stdout.splitlines(), who=WHO).failure
    assert told, done
    assert told.text == (
        f"your Jupyter configuration ({config}) sets ServerApp.contents_manager_class ="
        f" 'no_such_package.Manager', and {sys.executable} does not have no_such_package"
    )
    assert "use the environment that has it: --env DIR" in told.cure


def test_old_packages_in_the_home_that_break_an_import_are_named(
    environ: dict[str, str], tmp_path: Path
) -> None:
    """`pip install --user` left them years ago; this Python is not a virtual environment."""
    user = tmp_path / f"user/lib/python3.{sys.version_info[1]}/site-packages"
    user.mkdir(parents=True)
    (user / "oldlib.py").write_text("")
    (tmp_path / "fakes/notebook/app.py").write_text("from oldlib import new_name")
    environ["PYTHONUSERBASE"] = str(tmp_path / "user")
    python = Path(sys.base_prefix, f"bin/python3.{sys.version_info[1]}")

    done = subprocess.run(
        [python, "-m", "slurm_nb_kit.preflight", "notebook"],
        env=environ,
        cwd=environ["PWD"],
        capture_output=True,
        text=True,
        check=False,
    )

    told = read_progress(done.stdout.splitlines(), who=WHO).failure
    assert told, done
    assert f"{user} has oldlib, which Python prefers" in told.text
    assert told.cure.startswith("ignore ~/.local: --setup 'export PYTHONNOUSERSITE=1'; or ")


def test_in_a_container_the_cure_installs_nothing(environ: dict[str, str], tmp_path: Path) -> None:
    """Nobody can write to an image, and slurm-nb's own Python is outside it."""
    fall_back(environ, tmp_path, "")
    environ["SLURM_NB_INSIDE"] = "yes"

    told = failure(environ)

    assert told.cure == "use an image with Jupyter, or name its Python: --python PATH"


def test_a_module_that_brings_jupyter_is_named(environ: dict[str, str]) -> None:
    """A notice says which Python runs Jupyter, and why."""
    environ.update(SLURM_NB_OWN_PYTHON="/none", SLURM_NB_BROUGHT_BY="the module jupyter/1.0")

    notices = read_progress(start(environ).stdout.splitlines(), who=WHO).notices

    assert notices == (f"Jupyter runs in {sys.executable} from the module jupyter/1.0",)
