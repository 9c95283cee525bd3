"""The shape of the package, as far as the import contracts in pyproject.toml cannot express it."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import slurm_nb
from slurm_nb.scheduler.job import Job
from slurm_nb.session.session import Session
from slurm_nb.session.store import Store

PACKAGE = Path(slurm_nb.__file__).parent
MODULES = {
    str(path.relative_to(PACKAGE)): ast.parse(path.read_text(encoding="utf-8"))
    for path in sorted(PACKAGE.rglob("*.py"))
}
COMMANDS = [
    Path(name).stem
    for name in MODULES
    if name.startswith("cli/commands/") and not name.endswith("__init__.py")
]

STARTING_CALLS = {
    "system", "popen", "fork", "forkpty", "posix_spawn", "posix_spawnp", "startfile",
    "create_subprocess_exec", "create_subprocess_shell", "subprocess_exec", "subprocess_shell",
    *(f"{kind}{ending}" for kind in ("exec", "spawn") for ending in
      ("l", "le", "lp", "lpe", "v", "ve", "vp", "vpe")),
}  # fmt: skip
IO_NAMES = {
    "open", "print", "input", "exec", "eval", "__import__", "read_text", "read_bytes", "write_text",
    "write_bytes", "exists", "is_file", "is_dir", "stat", "lstat", "resolve", "absolute", "cwd",
    "home", "expanduser", "mkdir", "unlink", "rename", "iterdir", "glob", "rglob", "touch",
    "samefile", "chmod", "owner", "readlink",
}  # fmt: skip
IO_MODULES = {"os", "io", "time", "shutil", "socket", "subprocess", "tempfile", "pwd", "grp"}
PURE = [
    "times.py", "job/spec.py", "job/auth.py", "job/text.py", "job/routes.py", "job/quoting.py",
    "job/saved_options.py", "joblog/events.py", "joblog/nodes.py",
    "connection/tunnel.py", "connection/connection.py", "config/settings.py",
    "config/toml_file.py", "config/amounts.py", "config/site_rules.py", "config/sample.py",
    "diagnosis/reasons.py", "diagnosis/causes.py", "diagnosis/explain.py",
    "diagnosis/describe.py", "diagnosis/outcome.py", "scheduler/environment.py",
    "scheduler/parse.py",
]  # fmt: skip


def imports(name: str) -> set[str]:
    """Return the top package of everything that a module imports."""
    found = set()
    for node in ast.walk(MODULES[name]):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found.add((node.module or "").partition(".")[0])
    return found


def calls(name: str) -> set[str]:
    """Return the last part of the name of everything that a module calls."""
    called = [node.func for node in ast.walk(MODULES[name]) if isinstance(node, ast.Call)]
    return {
        func.attr if isinstance(func, ast.Attribute) else func.id
        for func in called
        if isinstance(func, ast.Attribute | ast.Name)
    }


def test_the_rules_below_see_the_package() -> None:
    """The walk finds modules, so that no rule passes on an empty list."""
    assert {"job/spec.py", "scheduler/run.py", "cli/commands/submit.py"} <= set(MODULES)
    assert len(COMMANDS) >= 3


def test_the_package_root_holds_only_packages_and_six_modules() -> None:
    """A reader finds every other module in the package named for its subject."""
    assert {path.name for path in PACKAGE.glob("*.py")} == {
        "__init__.py", "__main__.py", "errors.py", "files.py", "paths.py", "times.py",
    }  # fmt: skip


@pytest.mark.parametrize(
    "folder",
    sorted({path.parent for path in PACKAGE.rglob("*.py")} - {PACKAGE / "cli/commands"}),
    ids=lambda path: path.name,
)
def test_a_folder_holds_at_most_14_modules(folder: Path) -> None:
    """Nobody reads a longer list; it needs another package. cli/commands has one per command."""
    modules = [path for path in folder.glob("*.py") if path.name != "__init__.py"]

    assert len(modules) <= 14


def test_only_the_scheduler_forks_and_executes() -> None:
    """One package knows how to run a program, give it up and keep it from Ctrl-C.

    The preflight check starts nothing: it becomes another interpreter.
    """
    starting = {name for name in MODULES if STARTING_CALLS & calls(name)}
    starting.remove("kit/preflight.py")

    assert all(name.startswith("scheduler/") for name in starting)


def test_no_program_is_run_by_a_shell() -> None:
    """Programs get lists of words: no shell reads what a user typed."""
    keywords = {
        (name, keyword.arg)
        for name, tree in MODULES.items()
        for keyword in ast.walk(tree)
        if isinstance(keyword, ast.keyword)
    }

    assert ("scheduler/run.py", "timeout") in keywords
    assert not [name for name, argument in keywords if argument == "shell"]


@pytest.mark.parametrize("name", PURE)
def test_a_pure_module_does_no_input_or_output(name: str) -> None:
    """Its functions depend only on their arguments: no file, no clock, no process."""
    assert not imports(name) & IO_MODULES
    assert not calls(name) & IO_NAMES


def test_the_kit_needs_only_what_a_compute_node_has() -> None:
    """The standard library, jupyter_server with what it requires, and in a kernel's environment
    ipykernel.
    """
    files = [name for name in MODULES if name.startswith("kit/")]
    required = {"jupyter_core", "jupyter_server", "tornado", "traitlets"}
    allowed = {*sys.stdlib_module_names, *required, "slurm_nb_kit"}
    of_kernels = {"kit/kernel_launcher.py": {"zmq", "ipykernel", "IPython"}}

    assert len(files) >= 2
    for name in files:
        assert imports(name) <= allowed | of_kernels.get(name, set())


@pytest.mark.parametrize("name", MODULES)
def test_a_module_says_what_it_is(name: str) -> None:
    """Every module begins with its purpose; a file that Jupyter loads says it in a comment."""
    first_line = (PACKAGE / name).read_text(encoding="utf-8").partition("\n")[0]

    assert ast.get_docstring(MODULES[name]) or first_line.startswith("# ")


def loaded_by(code: str, tmp_path: Path) -> set[str]:
    """Return the modules that a fresh interpreter has loaded after `code`."""
    report = "import sys; print(); print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\n{report}"],
        capture_output=True,
        text=True,
        check=True,
        env={"PATH": str(tmp_path), "SLURM_NB_HOME": str(tmp_path / "state")},
    )
    return set(done.stdout.splitlines()[-1].split())


def command_line(*arguments: str) -> str:
    return (
        f"import sys; sys.argv = ['slurm-nb', *{arguments!r}]\n"
        "from slurm_nb.__main__ import main\n"
        "try: main()\n"
        "except SystemExit: pass"
    )


@pytest.mark.parametrize("name", COMMANDS)
def test_no_command_loads_jupyter(name: str, tmp_path: Path) -> None:
    """Jupyter takes a second to import, and only the job needs it."""
    help_page = command_line(name.strip("_").replace("_", "-"), "--help")

    loaded = loaded_by(f"import slurm_nb.cli.commands.{name}\n{help_page}", tmp_path)

    assert "slurm_nb" in loaded
    assert not loaded & {"jupyter_server", "notebook", "jupyterlab", "jupyter_core", "traitlets"}


@pytest.mark.parametrize(
    "arguments",
    [["--version"], ["--help"], ["tunnel-cmd", "--help"], ["list"], ["status", "7"]],
)
def test_a_quick_command_loads_neither_jinja2_nor_submitit(
    arguments: list[str], tmp_path: Path
) -> None:
    """Only a submission needs the template engine and submitit."""
    Store.of_user({"SLURM_NB_HOME": str(tmp_path / "state")}).save(Session(job=Job("7", "hpc")))

    loaded = loaded_by(command_line(*arguments), tmp_path)

    assert "click" in loaded
    assert not loaded & {"jinja2", "submitit", "asyncio", "jupyter_server"}


@pytest.mark.parametrize("arguments", [["--version"], ["tunnel-cmd", "--help"], ["list"]])
def test_a_command_without_config_loads_no_toml(arguments: list[str], tmp_path: Path) -> None:
    """Only submit, config and sessions that submit has not saved read config files."""
    assert "tomllib" not in loaded_by(command_line(*arguments), tmp_path)


def test_a_dry_run_loads_only_what_renders(tmp_path: Path) -> None:
    """Rendering a script submits nothing, queries nothing and reads no session."""
    loaded = loaded_by(command_line("submit", "--dry-run"), tmp_path)

    assert {"jinja2", "slurm_nb.operations.render"} <= loaded
    assert not loaded & {
        "submitit", "subprocess", "tomllib", "importlib.resources", "click.shell_completion",
        "slurm_nb.scheduler", "slurm_nb.diagnosis", "slurm_nb.joblog.events",
        "slurm_nb.session.session", "slurm_nb.cli.console", "slurm_nb.cli.sessions",
    }  # fmt: skip


def test_the_version_loads_no_command(tmp_path: Path) -> None:
    """Each command has a module, and the group imports the one that is called."""
    loaded = loaded_by(command_line("--version"), tmp_path)

    assert {name for name in loaded if name.startswith("slurm_nb")} == {
        "slurm_nb", "slurm_nb.__main__", "slurm_nb.cli", "slurm_nb.cli.main", "slurm_nb.errors",
    }  # fmt: skip


def test_a_list_loads_only_what_its_sessions_need(tmp_path: Path) -> None:
    """Without a session nothing that queries Slurm; without an ending nothing that explains."""
    empty = loaded_by(command_line("list"), tmp_path)
    Store.of_user({"SLURM_NB_HOME": str(tmp_path / "state")}).save(Session(job=Job("7", "hpc")))
    asked = loaded_by(command_line("list"), tmp_path)

    assert "slurm_nb.operations.listing" in empty
    assert not empty & {"subprocess", "slurm_nb.scheduler.slurm"}
    assert "slurm_nb.scheduler.slurm" in asked
    assert not asked & {
        "traceback", "tempfile", "click.shell_completion", "slurm_nb.job.spec",
        "slurm_nb.job.routes", "slurm_nb.diagnosis.explain", "slurm_nb.connection.tunnel",
    }  # fmt: skip
