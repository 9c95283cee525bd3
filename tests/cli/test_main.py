"""The program as a whole: help, exit codes, one line for each error, and no traceback."""

from __future__ import annotations

import os
import re
import stat
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path

import click
import pytest

from slurm_nb import __version__, errors
from slurm_nb.__main__ import main
from slurm_nb.cli.main import GROUPS, cli
from slurm_nb.errors import EXIT_BUG, EXIT_CODES, EXIT_INTERRUPTED, SlurmNbError
from slurm_nb.session.store import Store
from tests.conftest import ROOT, AddProgram
from tests.fakes import Result, Run, calls


def test_help_lists_commands_and_exit_codes(run: Run) -> None:
    """--help shows everything that slurm-nb does and what the exit codes mean."""
    result = run("--help")

    assert result.code == 0
    for name in ("submit", "tunnel-cmd", "cancel", "password"):
        assert f"\n  {name} " in result.out
    for code, meaning in EXIT_CODES.items():
        lines = [line.split() for line in result.out.splitlines()]
        assert [str(code), *meaning.split()] in lines


def test_slurm_nb_without_a_command_shows_the_two_to_start_with(run: Run) -> None:
    """A newcomer sees how to begin, on stdout and without an error."""
    result = run()

    assert (result.code, result.err) == (0, "")
    for line in ("slurm-nb submit", "slurm-nb list", "slurm-nb --help"):
        assert line in result.out


def test_the_commands_are_grouped_with_whole_summaries(run: Run) -> None:
    """Each command is in the group for its purpose, on one line of 80 columns."""
    out = run("--help").out
    groups = re.findall(r"^(\w[\w ]*):\n((?:  \S.*\n)+)", out, re.MULTILINE)
    names = {group: [line.split()[0] for line in lines.splitlines()] for group, lines in groups}

    assert names == {"Options": ["--version", "-h,"]} | {
        key: [*each] for key, each in GROUPS.items()
    }
    assert all(len(line) <= 80 and not line.endswith("...") for line in out.splitlines()[1:])


@pytest.mark.parametrize("name", [name for names in GROUPS.values() for name in names])
def test_the_help_of_a_command_fits_80_columns(run: Run, name: str) -> None:
    """No line is longer, none breaks the name slurm-nb, and none shows a control sequence."""
    out = run(name, "--help").out

    assert [line for line in out.splitlines() if len(line) > 80] == []
    assert [line for line in out.splitlines() if line.endswith("slurm-")] == []
    assert "\\b" not in out


def test_every_error_has_a_documented_exit_code() -> None:
    """Each kind of error ends with a code from the table, and the table has no others."""
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    codes = {kind.exit_code for kind in kinds if issubclass(kind, SlurmNbError)}

    assert codes == {1, 2, 3, 4, 5}
    assert set(EXIT_CODES) == {0, *codes, EXIT_BUG, 129, EXIT_INTERRUPTED, 143}


@pytest.mark.parametrize("name", ["submit", "tunnel-cmd", "cancel", "password"])
@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_every_command_has_help(run: Run, name: str, flag: str) -> None:
    """Each command explains itself."""
    result = run(name, flag)

    assert result.code == 0
    assert result.out.startswith(f"Usage: slurm-nb {name}")
    assert result.err == ""


def test_version_prints_name_and_version(run: Run) -> None:
    """The output of --version is one line."""
    assert run("--version") == Result(0, f"slurm-nb, version {__version__}\n", "")


def test_the_program_is_installed_as_slurm_nb() -> None:
    """The installed command is this one."""
    (script,) = entry_points(group="console_scripts", name="slurm-nb")

    assert script.load() is main


@pytest.mark.parametrize(
    "arguments",
    [
        ["submit", "--ui", "classic"],
        ["submit", "-c", "two"],
        ["submit", "--wait-timeout", "-1"],
        ["submit", "--cluster", "other"],
        ["tunnel-cmd", "7", "8"],
        ["cancel"],
        ["cancel", "--all", "7"],
    ],
)
def test_a_usage_error_is_reported_by_click(run: Run, arguments: list[str]) -> None:
    """The exit code is 2, and the usage is on stderr."""
    result = run(*arguments)

    assert result.code == 2
    assert result.out == ""
    assert "Error: " in result.err
    assert "Traceback" not in result.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["submit", "-t", "2h"], "--time '2h'"),
        (["submit", "--mem", "lots"], "--mem 'lots'"),
        (["submit", "-J", ""], "--job-name ''"),
        (["submit", "--notebook-dir", "/no/such/dir"], "--notebook-dir '/no/such/dir'"),
        (["submit", "--local-port", "6000"], "--local-port 6000"),
        (["submit", "--login-host", "-oProxyCommand=id"], "--login-host '-oProxyCommand=id'"),
        (["submit", "--", "-o", "x"], "'-o'"),
        (["tunnel-cmd", "../x"], "'../x' is not the job id or name of a session"),
        (["tunnel-cmd", "8"], "job 8 was not started by slurm-nb"),
        (["cancel", "7;rm"], "'7;rm' is not the job id or name of a session"),
    ],
)
def test_a_wrong_value_gives_one_line_and_a_hint(
    run: Run, slurm: AddProgram, arguments: list[str], words: str
) -> None:
    """The message names option and value, the code is 1, and nothing was submitted."""
    result = run(*arguments)

    lines = result.err.splitlines()
    assert result.code == 1
    assert result.out == ""
    assert lines[0].startswith("slurm-nb: ")
    assert words in lines[0]
    assert all(line.startswith("  ") for line in lines[1:])
    assert len(lines) <= 2
    assert calls(slurm, "sbatch") == []


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Callable[[BaseException], None]:
    """Return a function that makes the command `cancel` fail."""

    def fail(error: BaseException) -> None:
        @click.command("cancel")
        def command() -> None:
            raise error

        monkeypatch.setattr("slurm_nb.cli.commands.cancel.command", command)

    return fail


Failing = Callable[[BaseException], None]


@pytest.mark.parametrize(
    "kind", [errors.UserError, errors.SchedulerError, errors.JobEnded, errors.NotReady]
)
def test_an_expected_error_shows_its_message_and_returns_its_code(
    run: Run, failing: Failing, kind: type[SlurmNbError]
) -> None:
    """The message is on stderr, followed by the hint, without a traceback."""
    failing(kind("what failed", hint="what to do"))

    result = run("cancel")

    assert result == Result(kind.exit_code, "", "slurm-nb: what failed\n  what to do\n")


def test_control_characters_of_an_error_are_escaped(run: Run, failing: Failing) -> None:
    """Text from Slurm or a job cannot control the terminal."""
    failing(errors.SchedulerError("a\x1b[2Jb\rc\x07\x9b", hint="\x1b]0;title\x07"))

    err = run("cancel").err

    assert err == "slurm-nb: a\\x1b[2Jb\\rc\\x07\\x9b\n  \\x1b]0;title\\x07\n"


def test_an_internal_error_gives_one_line_and_a_private_file(
    run: Run, failing: Failing, store: Store
) -> None:
    """There is no traceback on the screen: the line names a file that only the user can read."""
    failing(ZeroDivisionError("the cause"))

    result = run("cancel")

    (named,) = [word for word in result.err.split() if word.startswith(str(store.folder))]
    path = Path(named)
    assert result.code == 70
    assert result.out == ""
    assert "Traceback" not in result.err
    assert "ZeroDivisionError: the cause" in path.read_text(encoding="utf-8")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_an_internal_error_needs_no_place_for_its_file(
    run: Run, failing: Failing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the state directory cannot be used either, the error is still one line."""
    failing(ZeroDivisionError("the cause"))
    monkeypatch.setenv("SLURM_NB_HOME", "/dev/null/state")

    result = run("cancel")

    assert result.code == 70
    assert "internal error" in result.err
    assert "Traceback" not in result.err


def test_an_interrupt_ends_with_130(run: Run, failing: Failing) -> None:
    """Ctrl-C is not an internal error and shows no traceback."""
    failing(KeyboardInterrupt())

    result = run("cancel")

    assert result.code == 130
    assert "Traceback" not in result.err


def program_call(tmp_path: Path, *words: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run the program in its own process."""
    return subprocess.run(
        [sys.executable, "-m", "slurm_nb", *words],
        env={**os.environ, "SLURM_NB_HOME": str(tmp_path / "state"), **environ},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_module_that_shadows_one_of_pythons_gives_no_traceback(tmp_path: Path) -> None:
    """If a token.py on PYTHONPATH breaks the program, the message says where to look."""
    (tmp_path / "token.py").write_text("raise RuntimeError('mine')\n", encoding="utf-8")

    done = program_call(tmp_path, "--version", PYTHONPATH=f"{tmp_path}:{ROOT}")

    assert done.returncode == 70
    assert "RuntimeError: mine" in done.stderr
    assert "PYTHONPATH" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_full_disk_behind_stdout_gives_no_traceback(tmp_path: Path) -> None:
    """There is one line, and the exit code is 1."""
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "slurm_nb", "submit", "--dry-run"],
            env={**os.environ, "SLURM_NB_HOME": str(tmp_path / "state")},
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            check=False,
        )

    assert done.returncode == 1
    assert done.stderr.startswith("slurm-nb: No space left on device")
    assert "Traceback" not in done.stderr


def test_a_closed_stdout_is_an_error_before_anything_starts(tmp_path: Path) -> None:
    """slurm-nb submits no job if it cannot print how to connect."""
    done = subprocess.run(
        ["bash", "-c", 'exec "$0" -m slurm_nb submit >&-', sys.executable],
        env={**os.environ, "SLURM_NB_HOME": str(tmp_path / "state")},
        stderr=subprocess.PIPE,
        text=True,
        timeout=60,
        check=False,
    )

    assert (done.returncode, "stdout is closed" in done.stderr) == (1, True)
    assert not (tmp_path / "state").exists()


def test_the_entry_point_runs_as_a_program(store: Store) -> None:
    """The installed program responds in its own process, with its exit code."""
    program = Path(sys.executable).with_name("slurm-nb")

    done = subprocess.run(
        [program, "tunnel-cmd", "1"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "SLURM_NB_HOME": str(store.folder)},
    )

    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("slurm-nb: job 1 was not started by slurm-nb")


def test_the_group_knows_its_commands() -> None:
    """Every listed command can be loaded under its own name."""
    context = click.Context(cli)

    names = cli.list_commands(context)
    commands = [cli.get_command(context, name) for name in names]

    assert [command and command.name for command in commands] == names


@pytest.mark.parametrize("words", [("--version",), ("status", "9999")])
def test_pythoninspect_gives_no_traceback(tmp_path: Path, words: tuple[str, ...]) -> None:
    """With it, Python shows each exit as an error and then a prompt."""
    plain = program_call(tmp_path, *words)

    done = program_call(tmp_path, *words, PYTHONINSPECT="1")

    assert (done.returncode, done.stdout, done.stderr) == (
        plain.returncode, plain.stdout, plain.stderr
    )  # fmt: skip


def test_config_init_needs_a_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Run
) -> None:
    """It creates no directory named `~` in the current directory."""
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.setattr("os.path.expanduser", lambda path: path)
    monkeypatch.chdir(tmp_path)

    done = run("config", "init")

    assert done.code == 1
    assert "HOME is not set" in done.err
    assert not (tmp_path / "~").exists()
