"""The rules of docs/design.md, checked by walking the imports."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import slurm_nb
from slurm_nb.session import Session, Store

PACKAGE = Path(slurm_nb.__file__).parent
MODULES = {
    str(path.relative_to(PACKAGE)): ast.parse(path.read_text(encoding="utf-8"))
    for path in sorted(PACKAGE.rglob("*.py"))
}
COMMANDS = [
    name
    for name in MODULES
    if name.startswith("commands/")
    and Path(name).stem
    not in {
        "__init__",
        "configured",
        "earlier",
        "entries",
        "options",
        "screen",
        "waiting",
        "way_in",
    }
]

STARTERS = {
    "subprocess", "pty", "multiprocessing", "concurrent", "popen2", "sh", "plumbum",
}  # fmt: skip
STARTING_CALLS = {
    "system", "popen", "fork", "forkpty", "posix_spawn", "posix_spawnp", "startfile",
    "create_subprocess_exec", "create_subprocess_shell", "subprocess_exec", "subprocess_shell",
    *(f"{kind}{ending}" for kind in ("exec", "spawn") for ending in
      ("l", "le", "lp", "lpe", "v", "ve", "vp", "vpe")),
}  # fmt: skip
# What the pure modules may import. None of these does I/O, but for pathlib's methods.
PURE_IMPORTS = {
    "__future__", "collections.abc", "dataclasses", "difflib", "ipaddress", "json", "math",
    "pathlib", "posixpath", "re", "shlex", "textwrap", "tomllib", "typing", "zlib",
    "slurm_nb.causes", "slurm_nb.config_file", "slurm_nb.errors", "slurm_nb.limits",
    "slurm_nb.ready", "slurm_nb.scheduler", "slurm_nb.spec",
}  # fmt: skip
IO_NAMES = {
    "open", "print", "input", "exec", "eval", "__import__", "read_text", "read_bytes", "write_text",
    "write_bytes", "exists", "is_file", "is_dir", "stat", "lstat", "resolve", "absolute", "cwd",
    "home", "expanduser", "mkdir", "unlink", "rename", "iterdir", "glob", "rglob", "touch",
    "samefile", "chmod", "owner", "readlink",
}  # fmt: skip


def imports(name: str) -> set[str]:
    """Every module that a module names in an import, wherever in it; `a.b` of `from a import b`."""
    found = set()
    for node in ast.walk(MODULES[name]):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            if node.level:
                assert name.startswith("kit/"), f"{name} imports relatively"
                module = ".".join(["slurm_nb", *Path(name).parts[: -node.level], module])
                module = module.rstrip(".")
            found.add(module)
            found |= {f"{module}.{alias.name}" for alias in node.names}
    return found


def users_of(package: str) -> set[str]:
    """The modules of slurm_nb that import a package, or something in it."""
    return {
        name
        for name in MODULES
        if any(module == package or module.startswith(f"{package}.") for module in imports(name))
    }


def calls(name: str) -> set[str]:
    """The last part of the name of everything that a module calls."""
    called = [node.func for node in ast.walk(MODULES[name]) if isinstance(node, ast.Call)]
    return {
        func.attr if isinstance(func, ast.Attribute) else func.id
        for func in called
        if isinstance(func, ast.Attribute | ast.Name)
    }


def test_there_is_something_to_check() -> None:
    """The walk sees the package, so that the rules below are not kept by an empty list."""
    assert {"spec.py", "scheduler/command.py", "kit/server.py"} <= set(MODULES)
    assert len(COMMANDS) >= 3


def test_programs_are_started_in_the_scheduler_only() -> None:
    """One package knows how a program is run, given up and kept from Ctrl-C."""
    starting = {name for name in MODULES if STARTING_CALLS & calls(name)}
    for package in STARTERS:
        starting |= users_of(package)

    assert starting
    assert all(name.startswith("scheduler/") for name in starting)


def test_only_the_kit_waits_for_several_things_at_once() -> None:
    """The server's own event loop is the one loop; slurm-nb itself does one thing at a time."""
    assert users_of("asyncio")
    assert all(name.startswith("kit/") for name in users_of("asyncio"))


def test_no_shell_is_asked() -> None:
    """Programs get lists of words: nothing that a user typed is read by a shell here."""
    keywords = {
        (name, keyword.arg)
        for name, tree in MODULES.items()
        for keyword in ast.walk(tree)
        if isinstance(keyword, ast.keyword)
    }

    assert ("scheduler/command.py", "timeout") in keywords
    assert not [name for name, argument in keywords if argument == "shell"]


@pytest.mark.parametrize(
    ("package", "users"),
    [("submitit", {"scheduler/sbatch.py"}), ("jinja2", {"template.py"})],
)
def test_a_library_has_one_user(package: str, users: set[str]) -> None:
    """What is slow to import, or leant on with care, stands in one file."""
    assert users_of(package) == users


def test_click_is_the_commands_own() -> None:
    """What does the work knows nothing of the command line."""
    assert users_of("click")
    assert all(name.startswith("commands/") for name in users_of("click"))


def test_commands_do_not_import_each_other() -> None:
    """What two commands share stands in options or screen, or below the commands."""
    for name in COMMANDS:
        others = {f"slurm_nb.commands.{Path(other).stem}" for other in COMMANDS if other != name}
        assert not others & imports(name)


def test_nothing_below_imports_the_commands() -> None:
    """The way of the data goes down only."""
    users = set(users_of("slurm_nb.commands")) - {"__main__.py"}

    assert all(name.startswith("commands/") for name in users)


PURE = [
    "spec.py", "quoting.py", "ready.py", "tunnel.py", "config_file.py", "limits.py",
    "site_rules.py", "starter.py", "reasons.py", "causes.py", "endings.py", "scheduler/crossing.py",
    "again.py",
]  # fmt: skip


@pytest.mark.parametrize("name", PURE)
def test_a_pure_module_does_no_input_or_output(name: str) -> None:
    """They are functions of their arguments: no file, no clock, no process."""
    modules = {
        module
        for module in imports(name)
        if module.rpartition(".")[0] not in PURE_IMPORTS  # a name out of an allowed module
    }

    assert modules <= PURE_IMPORTS
    assert not calls(name) & IO_NAMES


def test_the_kit_imports_nothing_of_slurm_nb() -> None:
    """Compute nodes have no slurm_nb; jupyter_server, with its tornado, and the standard library
    are all there is, and pyzmq and ipykernel in the kernel's own environment.
    """
    files = [name for name in MODULES if name.startswith("kit/")]
    allowed = {*sys.stdlib_module_names, "jupyter_server", "tornado", "traitlets", "slurm_nb_kit"}
    kernel_s = {"kit/kernel_launcher.py": {"zmq", "ipykernel", "IPython"}}

    assert len(files) >= 2
    for name in files:
        found = {module for module in imports(name) if not f"{module}.".startswith("slurm_nb.kit.")}
        modules = {module.partition(".")[0] for module in found}
        assert modules <= allowed | kernel_s.get(name, set())


@pytest.mark.parametrize("name", MODULES)
def test_a_module_can_be_read_in_one_sitting(name: str) -> None:
    """No module has 300 lines."""
    assert len((PACKAGE / name).read_text(encoding="utf-8").splitlines()) < 300


@pytest.mark.parametrize("name", MODULES)
def test_a_module_says_what_it_is(name: str) -> None:
    """Every module begins with what it is for; the file that Jupyter loads does so in a comment."""
    first_line = (PACKAGE / name).read_text(encoding="utf-8").partition("\n")[0]

    assert ast.get_docstring(MODULES[name]) or first_line.startswith("# ")


def loaded_by(code: str, tmp_path: Path) -> set[str]:
    """The top packages that a fresh interpreter has loaded after `code`."""
    report = "import sys; print(*sorted({name.partition('.')[0] for name in sys.modules}))"
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


@pytest.mark.parametrize("name", [Path(command).stem for command in COMMANDS])
def test_no_command_loads_jupyter(name: str, tmp_path: Path) -> None:
    """Jupyter takes a second to import, and only the job needs it."""
    asked = command_line(name.strip("_").replace("_", "-"), "--help")

    loaded = loaded_by(f"import slurm_nb.commands.{name}\n{asked}", tmp_path)

    assert "slurm_nb" in loaded
    assert not loaded & {"jupyter_server", "notebook", "jupyterlab", "jupyter_core", "traitlets"}


@pytest.mark.parametrize(
    "arguments",
    [["--version"], ["--help"], ["tunnel-cmd", "--help"], ["list"], ["status", "7"]],
)
def test_what_answers_at_once_loads_little(arguments: list[str], tmp_path: Path) -> None:
    """Neither the template engine nor submitit is loaded where it is not used."""
    Store.of_user({"SLURM_NB_HOME": str(tmp_path / "state")}).save(
        Session(job_id="7", cluster="hpc")
    )

    loaded = loaded_by(command_line(*arguments), tmp_path)

    assert "click" in loaded
    assert not loaded & {"jinja2", "submitit", "asyncio", "jupyter_server"}


@pytest.mark.parametrize("arguments", [["--version"], ["tunnel-cmd", "--help"], ["list"]])
def test_what_needs_no_config_loads_no_toml(arguments: list[str], tmp_path: Path) -> None:
    """Config files are for submit, config, and sessions that submit has not saved."""
    assert "tomllib" not in loaded_by(command_line(*arguments), tmp_path)


def test_a_dry_run_loads_no_submitit(tmp_path: Path) -> None:
    """Rendering a script submits nothing, and so needs nothing that submits."""
    loaded = loaded_by(command_line("submit", "--dry-run"), tmp_path)

    assert "jinja2" in loaded
    assert "submitit" not in loaded
