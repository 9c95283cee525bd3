"""The command line: answers on stdout, talk on stderr, one line and an exit code for each error."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.metadata import entry_points
from pathlib import Path

import click
import pytest

from slurm_nb import __version__, errors
from slurm_nb.__main__ import main
from slurm_nb.cli.console import visible
from slurm_nb.cli.main import cli
from slurm_nb.cli.progress import WaitingLine
from slurm_nb.errors import EXIT_BUG, EXIT_CODES, EXIT_INTERRUPTED, SlurmNbError
from slurm_nb.files import user_name, write_private
from slurm_nb.job.kit import digest, is_sound
from slurm_nb.joblog.events import Ready
from slurm_nb.scheduler.job import JobState, Phase
from slurm_nb.session.session import Session
from slurm_nb.session.store import Store
from tests.conftest import NONCE, AddProgram

ROOT = Path(__file__).resolve().parents[2]
TOKEN = "ab" * 32
SEVEN = Session(job_id="7", cluster="hpc", login_host="login")
WHO = {"cluster": "hpc", "job_id": "7", "nonce": NONCE}


def told(what: str, **record: object) -> str:
    """A line of the job's own in its output."""
    return f"\nslurm-nb {what}: {json.dumps({**WHO, **record})}\n"


READY = told("ready", node="c1", port=40123, path="/tree")


@dataclass(frozen=True)
class Result:
    code: int
    out: str
    err: str


Run = Callable[..., Result]


@pytest.fixture
def run(store: Store, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run the program with arguments, as the entry point does."""
    monkeypatch.setenv("SLURM_NB_HOME", str(store.folder))

    def call(*arguments: str) -> Result:
        monkeypatch.setattr(sys, "argv", ["slurm-nb", *arguments])
        with pytest.raises(SystemExit) as caught:
            main()
        out, err = capfd.readouterr()
        code = caught.value.code
        return Result(code if isinstance(code, int) else 0, out, err)

    return call


def shown(word: str, end: str = "N/A", reason: str = "None", **of: str) -> str:
    """A line of squeue, in the columns that slurm-nb asks for."""
    script = '$(cat "${0%/*}/sbatch.script" 2>/dev/null)'
    job_id, user = of.get("job_id", "7"), of.get("user", user_name())
    node = of.get("node", "n/a" if word == "PENDING" else "c1")
    start = of.get("start", "N/A")
    return f'echo "{job_id}|{user}|{word}|{end}|{start}|{node}|{reason}|{script}"'


GONE = 'grep -qs 7 "${0%/*}/scancel.calls" && w=CANCELLED || w=RUNNING; '
GONE_WHEN_CANCELLED = GONE + shown("$w")


@pytest.fixture
def slurm(program: AddProgram, monkeypatch: pytest.MonkeyPatch) -> AddProgram:
    """A Slurm of shell scripts that runs job 7, and is not to be given any other."""
    program("scontrol", "printf 'ClusterName             = hpc\\n'")
    # As Slurm does, it says which script a job runs.
    program("sbatch", 'echo called >>"$0.calls"; echo "${@: -1}" >"$0.script"; echo 7')
    program("squeue", shown("RUNNING", "2026-11-23T14:00:00"))
    program("sacct", "exit 1")
    program("scancel", 'echo "$@" >>"$0.calls"')
    monkeypatch.setattr("time.sleep", lambda _seconds: None)
    return program


def calls(program: AddProgram, name: str) -> list[str]:
    """What a program of the fake Slurm was called with."""
    path = program("unused", "").with_name(f"{name}.calls")
    return path.read_text(encoding="utf-8").splitlines() if path.exists() else []


def running(store: Store, session: Session = SEVEN, output: str = READY) -> Session:
    """A session whose Jupyter is ready."""
    store.save(session)
    folder = store.session_folder(session.cluster, session.job_id)
    write_private(folder / "token", TOKEN)
    write_private(folder / "nonce", NONCE)
    store.log_path(session.job_id).write_text(output, encoding="utf-8")
    return session


def has_token(store: Store) -> bool:
    return (store.session_folder("hpc", "7") / "token").exists()


# --- the group ---


def test_help_lists_commands_and_exit_codes(run: Run) -> None:
    """--help is enough to know what can be done and what the exit codes mean."""
    result = run("--help")

    assert result.code == 0
    for name in ("submit", "tunnel-cmd", "cancel", "password"):
        assert f"\n  {name} " in result.out
    for code, meaning in EXIT_CODES.items():
        lines = [line.split() for line in result.out.splitlines()]
        assert [str(code), *meaning.split()] in lines


def test_every_error_has_a_documented_exit_code() -> None:
    """Each kind of error ends with a code of the table, and the table has no others."""
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    codes = {kind.exit_code for kind in kinds if issubclass(kind, SlurmNbError)}

    assert codes == {1, 3, 4, 5}
    assert set(EXIT_CODES) == {0, 2, *codes, EXIT_BUG, 129, EXIT_INTERRUPTED, 143}


@pytest.mark.parametrize("name", ["submit", "tunnel-cmd", "cancel", "password"])
@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_every_command_has_help(run: Run, name: str, flag: str) -> None:
    """Each command explains itself."""
    result = run(name, flag)

    assert result.code == 0
    assert result.out.startswith(f"Usage: slurm-nb {name}")
    assert result.err == ""


def test_version(run: Run) -> None:
    """--version says name and version."""
    assert run("--version") == Result(0, f"slurm-nb, version {__version__}\n", "")


def test_the_program_is_installed_as_slurm_nb() -> None:
    """The installed command is this one."""
    (script,) = entry_points(group="console_scripts", name="slurm-nb")

    assert script.load() is main


@pytest.mark.parametrize(
    "arguments",
    [
        ["--no-such-option"],
        ["submit", "--no-such-option"],
        ["submit", "--ui", "classic"],
        ["submit", "-c", "two"],
        ["submit", "--wait-timeout", "-1"],
        ["submit", "--cluster", "other"],
        ["tunnel-cmd"],
        ["tunnel-cmd", "7", "8"],
        ["no-such-command"],
        ["cancel"],
        ["cancel", "--all", "7"],
    ],
)
def test_a_usage_error_is_click_s_own(run: Run, arguments: list[str]) -> None:
    """What can't be understood ends with 2, after the usage on stderr."""
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
        (["tunnel-cmd", "../x"], "'../x' is no job id and no session's name"),
        (["tunnel-cmd", "8"], "job 8 was not started by slurm-nb"),
        (["cancel", "7;rm"], "'7;rm' is no job id and no session's name"),
    ],
)
def test_a_wrong_value_is_one_line_and_a_hint(
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
    """Have the command `cancel` fail."""

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
def test_an_expected_error_is_its_words_and_its_code(
    run: Run, failing: Failing, kind: type[SlurmNbError]
) -> None:
    """Message, then hint, on stderr; no traceback."""
    failing(kind("what failed", hint="what to do"))

    result = run("cancel")

    assert result == Result(kind.exit_code, "", "slurm-nb: what failed\n  what to do\n")


def test_control_characters_of_an_error_are_spelt_out(run: Run, failing: Failing) -> None:
    """What Slurm or a job wrote can't steer the terminal that it is shown on."""
    failing(errors.SchedulerError("a\x1b[2Jb\rc\x07\x9b", hint="\x1b]0;title\x07"))

    err = run("cancel").err

    assert err == "slurm-nb: a\\x1b[2Jb\\rc\\x07\\x9b\n  \\x1b]0;title\\x07\n"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain é 名 ~", "plain é 名 ~"),
        ("two\nlines", "two\nlines"),
        ("\x00\x1b\x7f\x85", "\\x00\\x1b\\x7f\\x85"),
        ("\\x1b", "\\x1b"),
    ],
)
def test_text_is_made_visible(text: str, shown: str) -> None:
    """Only what is invisible is changed."""
    assert visible(text) == shown


def test_a_fault_of_ones_own_is_one_line_and_a_private_file(
    run: Run, failing: Failing, store: Store
) -> None:
    """No traceback on the screen: the line names a file that only the user can read."""
    failing(ZeroDivisionError("the cause"))

    result = run("cancel")

    (named,) = [word for word in result.err.split() if word.startswith(str(store.folder))]
    path = Path(named)
    assert result.code == 70
    assert result.out == ""
    assert "Traceback" not in result.err
    assert "ZeroDivisionError: the cause" in path.read_text(encoding="utf-8")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_fault_without_a_place_to_note_it_is_still_no_traceback(
    run: Run, failing: Failing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the state directory can't be used either, the fault is told all the same."""
    failing(ZeroDivisionError("the cause"))
    monkeypatch.setenv("SLURM_NB_HOME", "/dev/null/state")

    result = run("cancel")

    assert result.code == 70
    assert "fault of slurm-nb" in result.err
    assert "Traceback" not in result.err


def test_an_interrupt_ends_with_130(run: Run, failing: Failing) -> None:
    """Ctrl-C is no fault and shows no traceback."""
    failing(KeyboardInterrupt())

    result = run("cancel")

    assert result.code == 130
    assert "Traceback" not in result.err


# --- submit ---


def test_a_dry_run_prints_the_script_and_touches_nothing(
    run: Run, slurm: AddProgram, store: Store, tmp_path: Path
) -> None:
    """--dry-run is exactly the script: no session, no sbatch, no talk."""
    slurm("sbatch", 'echo called >>"$0.calls"; exit 1')

    result = run(
        "submit", "--dry-run", "-A", "project", "-t", "2:00:00", "-c", "4", "--mem", "8G",
        "-p", "main", "-q", "high", "-G", "1", "--gres", "tmp:1", "-C", "ib", "-w", "c1",
        "-x", "c2", "--reservation", "r", "-J", "name", "--notebook-dir", str(tmp_path),
        "--python", "/opt/python", "--ui", "lab", "--", "--exclusive", "--comment=a b",
    )  # fmt: skip

    lines = result.out.splitlines()
    assert (result.code, result.err) == (0, "")
    assert lines[0] == "#!/bin/bash"
    for option in (
        "--account=project", "--time=2:00:00", "--cpus-per-task=4", "--mem=8G",
        "--partition=main", "--qos=high", "--gpus=1", "--gres=tmp:1", "--constraint=ib",
        "--nodelist=c1", "--exclude=c2", "--reservation=r", "--job-name=name",
        "--exclusive --comment='a b'",
    ):  # fmt: skip
        assert f"#SBATCH {option}" in lines
    assert "python=/opt/python" in lines
    assert "export SLURM_NB_UI=lab SLURM_NB_IDLE_TIMEOUT_S=3600" in lines
    assert f"slurm_nb_notebook_dir={tmp_path}" in lines
    assert f"slurm_nb_state_dir={store.folder}" in lines
    assert is_sound(store.kits / digest())  # so that it can be sbatched
    assert calls(slurm, "sbatch") == []
    assert store.all() == ([], [])


@pytest.mark.usefixtures("slurm")
def test_what_is_submitted_is_what_a_dry_run_prints(run: Run, store: Store) -> None:
    """The script that sbatch gets is the one that was shown."""
    shown = run("submit", "--dry-run", "--no-wait", "-t", "90").out

    run("submit", "-t", "90", "--no-wait")

    assert store.script_path("7").read_text(encoding="utf-8") == shown


@pytest.mark.usefixtures("slurm")
def test_no_wait_returns_with_the_session_saved(run: Run, store: Store) -> None:
    """The user is told the job's id and how to come back; stdout is left to answers."""
    result = run("submit", "--no-wait", "--login-host", "login:2222", "--local-port", "9999")

    assert (result.code, result.out) == (0, "")
    assert "slurm-nb tunnel-cmd 7" in result.err
    assert "slurm-nb cancel 7" in result.err
    session = store.load("7")
    assert str(session.script).startswith(f"{store.folder}/jobs/")
    assert abs(time.time() - (session.submitted_at or 0)) < 60
    assert replace(session, script=None, submitted_at=None, options=()) == Session(
        job_id="7",
        cluster="hpc",
        login_host="login:2222",
        local_port=9999,
        python=sys.executable,
        job_name="slurm-nb",
    )


@pytest.mark.usefixtures("slurm")
def test_no_wait_as_json(run: Run) -> None:
    """One object on stdout, with null for what is not known yet."""
    record = json.loads(run("submit", "--no-wait", "--json", "--login-host", "login").out)

    assert record == {
        "job_id": "7",
        "cluster": "hpc",
        "state": None,
        "reason": None,
        "node": None,
        "port": None,
        "socket": None,
        "fingerprint": None,
        "local_port": None,
        "login_host": "login",
        "tunnel_command": None,
        "url": None,
    }


@pytest.mark.usefixtures("slurm")
def test_submit_prints_the_way_in(run: Run, store: Store) -> None:
    """When Jupyter is ready, stdout holds the ssh line and the URL, each on a line of its own."""
    running(store)

    result = run("submit", "--login-host", "login", "--local-port", "9999")

    lines = result.out.splitlines()
    assert result.code == 0
    assert any(
        line.startswith("ssh -N ") and " -L 127.0.0.1:9999:127.0.0.1:40123 " in line
        for line in lines
    )
    assert f"http://127.0.0.1:9999/tree?token={TOKEN}" in lines
    assert "2026-11-23 14:00:00" in result.out
    assert "slurm-nb tunnel-cmd 7" in result.out
    assert "slurm-nb cancel 7" in result.out
    assert TOKEN not in result.err


def test_a_wait_that_times_out_says_how_to_come_back(
    run: Run, slurm: AddProgram, store: Store
) -> None:
    """After --wait-timeout the job goes on, the code is 5, and the way back is named."""
    result = run("submit", "--wait-timeout", "0")

    assert (result.code, result.out) == (5, "")
    assert "slurm-nb tunnel-cmd 7" in result.err
    assert "slurm-nb cancel 7" in result.err
    assert calls(slurm, "scancel") == []
    assert store.load("7").job_id == "7"


def test_a_refused_job_is_told_and_not_saved(run: Run, slurm: AddProgram, store: Store) -> None:
    """Slurm's words, once, and the exit code 3."""
    slurm("sbatch", "echo 'sbatch: error: Batch job submission failed: no' >&2; exit 1")

    result = run("submit")

    assert (result.code, result.out) == (3, "")
    assert result.err.count("Batch job submission failed: no") == 1
    assert store.all() == ([], [])


def test_what_a_filter_says_is_noted_once_the_job_is_saved(run: Run, slurm: AddProgram) -> None:
    """First that there is a job, then what sbatch had to say of it, unable to steer a terminal."""
    slurm("sbatch", r"printf 'sbatch: 5 h left\n\033[2Jx\n' >&2; echo 7")

    result = run("submit", "--no-wait")

    lines = result.err.splitlines()
    assert lines[0].startswith("Submitted job 7.")
    assert lines[1:3] == ["Note: sbatch: 5 h left", "Note: \\x1b[2Jx"]


@pytest.mark.parametrize(
    ("answer", "cancel"),
    [("7", "scancel 7"), ("7;hpc", "scancel 7"), ("7;big", "scancel -M big 7")],
)
def test_a_job_that_could_not_be_saved_can_be_cancelled(
    run: Run, slurm: AddProgram, answer: str, cancel: str
) -> None:
    """The line that is told ends this job, not one of the same id on another cluster."""
    slurm("sbatch", f'rm -r "$SLURM_NB_HOME/sessions"; touch "$_"; echo "{answer}"')

    result = run("submit", "--no-wait")

    assert result.code == 1
    assert result.err.endswith(f"cancel it with: {cancel}\n")


# --- tunnel-cmd ---


@pytest.mark.usefixtures("slurm")
def test_tunnel_cmd_prints_one_line(run: Run, store: Store) -> None:
    """stdout is the ssh command and nothing else; the URL is talk."""
    running(store)

    result = run("tunnel-cmd", "7", "--local-port", "9999")

    assert result.code == 0
    assert result.out.count("\n") == 1
    assert result.out.startswith("ssh -N ")
    assert TOKEN not in result.out
    assert f"http://127.0.0.1:9999/tree?token={TOKEN}" in result.err


@pytest.mark.usefixtures("slurm")
def test_tunnel_cmd_as_json(run: Run, store: Store) -> None:
    """The object holds everything that a program needs."""
    running(store)

    record = json.loads(run("tunnel-cmd", "7", "--json", "--local-port", "9999").out)

    assert record.pop("tunnel_command").startswith("ssh -N ")
    assert record == {
        "job_id": "7",
        "cluster": "hpc",
        "state": "RUNNING",
        "reason": "",
        "node": "c1",
        "port": 40123,
        "socket": None,
        "fingerprint": None,
        "local_port": 9999,
        "login_host": "login",
        "url": f"http://127.0.0.1:9999/tree?token={TOKEN}",
    }


@pytest.mark.parametrize(
    ("squeue", "told"),
    [
        (shown("PENDING", reason="Priority"), (5, "PENDING (Priority)")),
        (
            shown("FAILED", "2026-11-23T14:00:00", "NonZeroExitCode"),
            (4, "FAILED (NonZeroExitCode)"),
        ),
        ("echo 'slurm_load_jobs error: Invalid job id specified' >&2; exit 1", (4, "ended")),
    ],
    ids=["pending", "failed", "gone"],
)
def test_tunnel_cmd_of_a_job_that_does_not_run(
    run: Run, slurm: AddProgram, store: Store, squeue: str, told: tuple[int, str]
) -> None:
    """Pending and ended have exit codes of their own and Slurm's words."""
    running(store)
    slurm("squeue", squeue)

    result = run("tunnel-cmd", "7")

    code, words = told
    assert (result.code, result.out) == (code, "")
    assert words in result.err
    assert has_token(store) is (code == 5)


@pytest.mark.usefixtures("slurm")
def test_tunnel_cmd_before_jupyter_is_ready(run: Run, store: Store) -> None:
    """A job that runs and has not said where is not ready."""
    running(store)
    store.log_path("7").write_text("starting\n", encoding="utf-8")

    result = run("tunnel-cmd", "7")

    assert (result.code, result.out) == (5, "")


def test_tunnel_cmd_when_slurm_does_not_answer(run: Run, slurm: AddProgram, store: Store) -> None:
    """What the output said is printed; that nobody knows whether it still holds is said."""
    running(store)
    slurm("squeue", "echo 'Unable to contact slurm controller' >&2; exit 1")

    result = run("tunnel-cmd", "7")

    assert result.code == 0
    assert result.out.startswith("ssh -N ")
    assert "Unable to contact slurm controller" in result.err


@pytest.mark.parametrize("arguments", [["tunnel-cmd", "7"], ["cancel", "7"], ["cancel", "--all"]])
def test_a_job_of_another_user_leaves_the_token(
    run: Run, slurm: AddProgram, store: Store, arguments: list[str]
) -> None:
    """That the id is another job's is no proof that this one is over: nothing is removed."""
    running(store)
    slurm("squeue", shown("RUNNING", user="mallory"))

    result = run(*arguments)

    assert (result.code, result.out) == (4 if arguments[0] == "tunnel-cmd" else 0, "")
    assert has_token(store)
    assert calls(slurm, "scancel") == []


@pytest.fixture
def no_new_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """An output that names another node is not waited on."""
    monkeypatch.setattr("slurm_nb.operations.connect._NEW_RUN_S", 0.0)


@pytest.mark.usefixtures("no_new_run")
@pytest.mark.parametrize("arguments", [["tunnel-cmd", "7"], ["submit", "--login-host", "login"]])
@pytest.mark.parametrize("as_json", [[], ["--json"]])
def test_a_node_that_slurm_does_not_name_is_no_way_in(
    run: Run,
    slurm: AddProgram,
    store: Store,
    arguments: list[str],
    as_json: list[str],
) -> None:
    """A ready line that leads away from the job's node is refused, and no token is printed."""
    running(store)
    slurm("squeue", shown("RUNNING", node="c2"))

    result = run(*arguments, *as_json)

    assert (result.code, result.out) == (1, "")
    assert "Jupyter is on c1, but Slurm has the job on c2" in result.err
    assert TOKEN not in result.err


def test_a_job_that_is_completing_is_not_ready(run: Run, slurm: AddProgram, store: Store) -> None:
    """Its Jupyter is gone; the job itself may come back, so the token stays."""
    running(store)
    slurm("squeue", shown("COMPLETING"))

    result = run("tunnel-cmd", "7")

    assert (result.code, result.out) == (5, "")
    assert has_token(store)


# --- before and beside the commands ---


def program_call(tmp_path: Path, *words: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """The program in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "slurm_nb", *words],
        env={**os.environ, "SLURM_NB_HOME": str(tmp_path / "state"), **environ},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_module_that_shadows_one_of_pythons_is_no_traceback(tmp_path: Path) -> None:
    """A token.py on PYTHONPATH keeps the program from loading; it says where to look."""
    (tmp_path / "token.py").write_text("raise RuntimeError('mine')\n", encoding="utf-8")

    done = program_call(tmp_path, "--version", PYTHONPATH=f"{tmp_path}:{ROOT}")

    assert done.returncode == 70
    assert "RuntimeError: mine" in done.stderr
    assert "PYTHONPATH" in done.stderr
    assert "Traceback" not in done.stderr


def test_output_that_cannot_be_written_is_no_traceback(tmp_path: Path) -> None:
    """A full disk behind stdout is one line and exit code 1."""
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


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (["--time", "9" * 5000], "not a time limit"),
        (["--login-host", "login:" + "9" * 5000], "not a host name"),
        (["--python", "~nosuchuser/bin/python"], "no such user"),
        (["--notebook-dir", "~nosuchuser"], "no such user"),
    ],
)
def test_an_absurd_value_is_an_error_like_any_other(run: Run, words: list[str], what: str) -> None:
    """One line that says what is wrong, with exit code 1."""
    result = run("submit", "--dry-run", *words)

    assert result.code == 1
    assert what in result.err


def test_a_closed_stdout_is_told_before_anything_is_started(tmp_path: Path) -> None:
    """With nowhere to print the way in, no job is submitted for it."""
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


@pytest.mark.usefixtures("slurm")
def test_a_slow_slurm_is_said_to_be_slow(
    run: Run, slurm: AddProgram, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who waits for an answer is told what for."""
    running(store)
    monkeypatch.setattr("slurm_nb.cli.console._SLOW_S", 0.01)
    slurm("squeue", "read -t 0.3 < <(:); exec 3<>/dev/ptmx; read -t 0.3 -u 3;"
          + shown("RUNNING"))  # fmt: skip

    result = run("tunnel-cmd", "7")

    assert "Slurm takes its time to answer" in result.err
    assert result.out.startswith("ssh ")


# --- cancel ---


@pytest.mark.usefixtures("store")
def test_cancel_of_a_foreign_job_names_the_scancel_line(run: Run, slurm: AddProgram) -> None:
    """A job that slurm-nb did not start is not touched."""
    result = run("cancel", "8")

    assert result.code == 1
    assert "scancel 8" in result.err
    assert calls(slurm, "scancel") == []


def test_cancel_ends_the_job_and_removes_its_token(
    run: Run, slurm: AddProgram, store: Store
) -> None:
    """scancel is called, and once the job is gone so is its token."""
    running(store)
    slurm("squeue", GONE_WHEN_CANCELLED)

    result = run("cancel", "7")

    assert result == Result(0, "", "cancelled job 7\n")
    assert calls(slurm, "scancel") == ["7"]
    assert not has_token(store)


def test_cancel_of_an_ended_job_is_no_error(run: Run, slurm: AddProgram, store: Store) -> None:
    """What is over is said, its token is removed, and scancel is not called."""
    running(store)
    slurm("squeue", shown("TIMEOUT"))

    result = run("cancel", "7", "7")

    assert (result.code, result.out) == (0, "")
    assert result.err.count("job 7 had ended already: TIMEOUT") == 1
    assert not has_token(store)
    assert calls(slurm, "scancel") == []


@pytest.mark.usefixtures("slurm")
def test_cancel_keeps_the_token_while_the_job_lives(run: Run, store: Store) -> None:
    """A job that takes its time to end still needs its token; the user is told to look again."""
    running(store)

    result = run("cancel", "7")

    assert result.code == 0
    assert "slurm-nb cancel 7" in result.err
    assert has_token(store)


def test_cancel_goes_on_after_one_that_failed(run: Run, slurm: AddProgram, store: Store) -> None:
    """One wrong id among several does not keep the others from being cancelled."""
    running(store)
    slurm("squeue", GONE_WHEN_CANCELLED)

    result = run("cancel", "8", "7")

    assert result.code == 1
    assert "job 8 was not started by slurm-nb" in result.err
    assert "cancelled job 7" in result.err


def test_cancel_all_cancels_what_still_runs(run: Run, slurm: AddProgram, store: Store) -> None:
    """--all takes every session that has not ended, and is silent about the others."""
    running(store)
    store.save(Session(job_id="6", cluster="hpc"))
    slurm("squeue", f"{GONE_WHEN_CANCELLED}; {shown('COMPLETED', job_id='6')}")

    result = run("cancel", "--all")

    assert result == Result(0, "", "cancelled job 7\n")
    assert calls(slurm, "scancel") == ["7"]


def test_cancel_all_goes_on_past_a_session_that_cannot_be_read(
    run: Run, slurm: AddProgram, store: Store
) -> None:
    """A broken session file is told of, and the other sessions are cancelled all the same."""
    running(store)
    broken = store.session_folder("hpc", "6")
    broken.mkdir()
    (broken / "session.json").write_text("{", encoding="utf-8")
    slurm("squeue", GONE_WHEN_CANCELLED)

    result = run("cancel", "--all")

    assert result.code == 1
    assert "cancelled job 7" in result.err
    assert "scancel 6" in result.err


def test_cancel_all_without_sessions(run: Run, slurm: AddProgram) -> None:
    """Nothing to cancel is no error, and Slurm is not asked for everybody's jobs."""
    slurm("squeue", 'echo called >>"$0.calls"')

    assert run("cancel", "--all").code == 0
    assert calls(slurm, "squeue") == []


def test_a_cancel_that_slurm_refuses_keeps_the_token(
    run: Run, slurm: AddProgram, store: Store
) -> None:
    """A job that goes on needs its token; Slurm's words and the code 3 tell of it."""
    running(store)
    slurm("scancel", "echo 'scancel: error: Access/permission denied' >&2; exit 210")

    result = run("cancel", "7")

    assert result.code == 3
    assert "Access/permission denied" in result.err
    assert has_token(store)


# --- the waiting line ---

PENDING = JobState(Phase.PENDING, "PENDING", "Priority")
RUNNING = JobState(Phase.RUNNING, "RUNNING")


def test_without_a_terminal_only_news_is_written(capsys: pytest.CaptureFixture[str]) -> None:
    """A log of the wait has a line for each change, and not one for each second."""
    line = WaitingLine("7")
    for second in range(30):
        line.show(None if second < 3 else PENDING, float(second))
    line.show(RUNNING, 30.0)
    line.show(RUNNING, 31.0)
    line.clear()

    out, err = capsys.readouterr()
    assert out == ""
    assert len(err.splitlines()) == 2
    assert "job 7: PENDING (Priority)" in err.splitlines()[0]
    assert "job 7: RUNNING" in err.splitlines()[1]
    assert "\r" not in err
    assert "\x1b" not in err


def test_without_a_terminal_a_long_wait_still_shows_life(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """In an hour of waiting a line comes now and then."""
    line = WaitingLine("7")
    for second in range(3600):
        line.show(PENDING, float(second))

    assert 10 <= len(capsys.readouterr().err.splitlines()) <= 120


class Terminal:
    """As much of a terminal as is written to."""

    def __init__(self) -> None:
        self.written = ""

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> int:
        self.written += text
        return len(text)

    def flush(self) -> None:
        pass


def test_on_a_terminal_the_line_is_live(monkeypatch: pytest.MonkeyPatch) -> None:
    """One line that counts the seconds, is overwritten, and leaves nothing behind."""
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    line = WaitingLine("7")
    for tenth in range(30):
        line.show(PENDING, tenth / 10)
    line.clear()

    assert "\n" not in terminal.written
    assert terminal.written.count("PENDING (Priority)") == 3
    assert terminal.written.endswith("\r\x1b[K")


def test_a_reason_cannot_steer_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """What an admin or a job wrote into a reason is shown, not obeyed."""
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)

    WaitingLine("7").show(JobState(Phase.PENDING, "PENDING", "a\x1b[2Jb\nc"), 1.0)

    assert "\x1b[2J" not in terminal.written
    assert "\\x1b[2J" in terminal.written


def test_the_entry_point_runs_as_a_program(store: Store) -> None:
    """The installed program answers, with its exit code, in a process of its own."""
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
    """A command that is listed can be loaded, under its own name."""
    context = click.Context(cli)

    names = cli.list_commands(context)
    commands = [cli.get_command(context, name) for name in names]

    assert [command and command.name for command in commands] == names


@pytest.mark.usefixtures("slurm")
def test_a_saved_ready_is_used_when_the_log_is_gone(run: Run, store: Store) -> None:
    """A user who removed the log can still connect to what was ready once."""
    running(store, Session(job_id="7", cluster="hpc", ready=Ready("c1", 40123, "/tree")))
    store.log_path("7").unlink()

    assert run("tunnel-cmd", "7").out.endswith("@c1\n")


# --- the ways in ---

ADDRESS = "10.1.2.3"
FINGERPRINT = ":".join(["AB"] * 32)
DIRECT = told("ready", node="c1", port=40123, path="/lab", address=ADDRESS)
SECURED = told(
    "ready", node="c1", port=40123, path="/lab", address=ADDRESS, fingerprint=FINGERPRINT
)
PRIVATE = told("ready", node="c1", path="/lab", socket="/tmp/slurm-nb.x/jupyter.sock")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--listen", "socket", "--route", "direct"], "exclude each other"),
        (["--tls"], "--tls without --route direct"),
        (["--tls", "--route", "jump"], "--tls without --route direct"),
        (["--tls", "--listen", "socket"], "--tls without --route direct"),
        (["--auth", "password"], "there is no password"),
    ],
)
def test_options_that_exclude_each_other_are_refused(
    run: Run, slurm: AddProgram, options: list[str], words: str
) -> None:
    """What can't be had together is told before anything is submitted."""
    result = run("submit", *options)

    assert (result.code, result.out) == (1, "")
    assert words in result.err
    assert calls(slurm, "sbatch") == []


@pytest.mark.parametrize("options", [[], ["--dry-run"], ["--no-wait"]])
@pytest.mark.usefixtures("slurm")
def test_a_password_that_is_not_there_is_named_with_its_command(
    run: Run, options: list[str]
) -> None:
    """--auth password says how to set one."""
    assert "slurm-nb password" in run("submit", "--auth", "password", *options).err


@pytest.mark.parametrize(
    "options",
    [["--listen", "pipe"], ["--route", "vpn"], ["--auth", "none"], ["--auth", ""], ["--no-auth"]],
)
def test_there_is_no_other_way_in(run: Run, options: list[str]) -> None:
    """Nothing switches authentication off, and nothing listens anywhere else."""
    assert run("submit", *options).code == 2


def test_the_modes_reach_the_script(run: Run, store: Store) -> None:
    """Every new option is in the script that is submitted."""
    store.password_path.write_text("argon2:x", encoding="ascii")

    script = run("submit", "--dry-run", "--listen", "socket", "--auth", "password").out
    direct = run("submit", "--dry-run", "--route", "direct", "--tls", "--allow-debugger").out

    assert "SLURM_NB_LISTEN=socket SLURM_NB_ROUTE=jump" in script
    assert "SLURM_NB_AUTH=password SLURM_NB_DEBUGGER=no" in script
    assert "slurm_nb_make_certificate" not in script
    assert "SLURM_NB_LISTEN=port SLURM_NB_ROUTE=direct" in direct
    assert "SLURM_NB_DEBUGGER=yes" in direct
    assert "slurm_nb_make_certificate" in direct


def test_the_debuggers_price_is_told_in_the_help(run: Run) -> None:
    """Who allows the debugger reads what it opens."""
    assert "any user of the node can run code as you" in " ".join(run("submit", "-h").out.split())


@pytest.mark.usefixtures("slurm")
def test_the_direct_route_says_what_it_exposes(run: Run, store: Store) -> None:
    """The command goes to the address, and the user is told who else reaches it."""
    running(store, output=DIRECT)

    out = run("submit", "--route", "direct", "--login-host", "login").out

    assert f":{ADDRESS}:40123 " in out
    assert " -J " not in out
    assert f"{ADDRESS}:40123" in out.partition("Open in")[2]
    assert "not encrypted" in out


@pytest.mark.usefixtures("slurm")
def test_tls_shows_the_fingerprint_beside_the_url(run: Run, store: Store) -> None:
    """The user can compare what the browser shows, and is not told of a leg in clear."""
    running(store, output=SECURED)

    out = run("submit", "--route", "direct", "--tls", "--login-host", "login").out

    assert "https://127.0.0.1:" in out
    assert FINGERPRINT in out
    assert "not encrypted" not in out


@pytest.mark.usefixtures("slurm")
def test_tunnel_cmd_shows_the_fingerprint_again(run: Run, store: Store) -> None:
    """Who comes back with another browser needs it as much as the first time."""
    running(store, output=SECURED)

    result = run("tunnel-cmd", "7")

    assert FINGERPRINT in result.err
    assert FINGERPRINT not in result.out
    assert json.loads(run("tunnel-cmd", "7", "--json").out)["fingerprint"] == FINGERPRINT


@pytest.mark.usefixtures("slurm")
def test_tunnel_cmd_tells_what_the_job_has_to_say(run: Run, store: Store) -> None:
    """Also what came up after submit had printed the way in; on stderr, without escapes."""
    who = json.dumps({"cluster": "hpc", "job_id": "7", "nonce": NONCE})[:-1]
    running(store, output=PRIVATE + f'\nslurm-nb notice: {who}, "text": "a kernel\\u001b[2J"}}\n')

    result = run("tunnel-cmd", "7")

    assert "Note: a kernel\\x1b[2J\n" in result.err
    assert "Note" not in result.out


@pytest.mark.usefixtures("slurm")
def test_private_mode_prints_the_socket(run: Run, store: Store) -> None:
    """The command forwards to the path, and JSON has the path and no port."""
    running(store, output=PRIVATE)

    assert ":/tmp/slurm-nb.x/jupyter.sock -J " in run("tunnel-cmd", "7").out
    record = json.loads(run("tunnel-cmd", "7", "--json").out)
    assert (record["port"], record["socket"]) == (None, "/tmp/slurm-nb.x/jupyter.sock")


@pytest.mark.usefixtures("slurm")
def test_with_a_password_no_secret_is_printed(run: Run, store: Store) -> None:
    """Neither submit nor, later, tunnel-cmd shows the token."""
    store.password_path.write_text("argon2:x", encoding="ascii")
    running(store)

    first = run("submit", "--auth", "password", "--login-host", "login")
    again = run("tunnel-cmd", "7")
    as_json = run("tunnel-cmd", "7", "--json")

    assert (first.code, again.code, as_json.code) == (0, 0, 0)
    assert "slurm-nb password" in first.out
    assert "/tree\n" in first.out
    assert not any(TOKEN in each.out + each.err for each in (first, again, as_json))


@pytest.mark.usefixtures("slurm")
def test_notices_of_the_job_are_shown_and_steer_nothing(run: Run, store: Store) -> None:
    """What the job has to say is told on stderr, its control characters spelt out."""
    texts = ["your setting was overruled", "a\x1b[2Jb\rc\x9b\x07"]
    running(store, output="".join(told("notice", text=text) for text in texts) + READY)

    err = run("submit", "--login-host", "login").err

    assert "Note: your setting was overruled\n" in err
    assert "Note: a\\x1b[2Jb\\rc\\x9b\\x07\n" in err


@pytest.mark.usefixtures("slurm")
def test_a_notice_is_one_line(run: Run, store: Store) -> None:
    """A newline in it makes no line that looks like slurm-nb's own."""
    running(store, output=told("notice", text="a\nJupyter runs on evil") + READY)

    err = run("submit", "--login-host", "login").err

    assert "Jupyter runs on evil" not in err.splitlines()


# --- password ---

PASSWORD = "correct horse é"  # noqa: S105  of the tests alone


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """Type these, one for each hidden prompt; what was asked is noted."""

    def type_in(*words: str) -> list[str]:
        left, prompts = list(words), list[str]()

        def hidden(prompt: str) -> str:
            prompts.append(prompt)
            if not left:
                raise EOFError
            return left.pop(0)

        monkeypatch.setattr("click.termui.hidden_prompt_func", hidden)
        return prompts

    return type_in


Typed = Callable[..., list[str]]


def test_a_password_is_asked_for_twice_and_only_its_hash_is_kept(
    run: Run, store: Store, typed: Typed
) -> None:
    """What is stored is what Jupyter compares with, in a file of the user's alone."""
    from jupyter_server.auth.security import passwd_check  # noqa: PLC0415  slow to import

    prompts = typed(PASSWORD, PASSWORD)
    old = os.umask(0)
    try:
        result = run("password")
    finally:
        os.umask(old)

    stored = store.password_path.read_text(encoding="ascii")
    assert (result.code, result.out, len(prompts)) == (0, "", 2)
    assert PASSWORD not in result.err
    assert stored.startswith("argon2:$argon2id$")
    assert PASSWORD not in stored
    assert passwd_check(stored, PASSWORD)  # type: ignore[no-untyped-call]
    assert stat.S_IMODE(store.password_path.stat().st_mode) == 0o600


def test_two_that_differ_are_asked_for_again(run: Run, store: Store, typed: Typed) -> None:
    """A slip of the finger is not stored."""
    prompts = typed(PASSWORD, PASSWORD + "x", PASSWORD, PASSWORD)

    result = run("password")

    assert (result.code, len(prompts)) == (0, 4)
    assert PASSWORD not in result.out + result.err
    assert store.password_path.exists()


def test_two_that_differ_to_the_end_store_nothing(run: Run, store: Store, typed: Typed) -> None:
    """Who gives up has the password of before, or none."""
    typed(PASSWORD, PASSWORD + "x")

    result = run("password")

    assert result.code == 130
    assert PASSWORD not in result.out + result.err
    assert not store.password_path.exists()


@pytest.mark.parametrize("short", ["x", "1234567"])
def test_a_short_password_is_refused(run: Run, store: Store, typed: Typed, short: str) -> None:
    """Fewer than eight characters are no lock; what was stored before stays."""
    write_private(store.password_path, "argon2:before")
    typed(short, short)

    result = run("password")

    assert (result.code, result.out) == (1, "")
    assert "8 characters" in result.err
    assert short not in result.err.replace("slurm-nb: a password has 8 characters or more", "")
    assert store.password_path.read_text(encoding="ascii") == "argon2:before"


def test_a_password_is_no_argument(run: Run) -> None:
    """On a command line everybody could read it."""
    assert run("password", PASSWORD).code == 2


def test_a_terminal_does_not_show_the_password(store: Store) -> None:
    """On a real terminal nothing that is typed is echoed."""
    argv = [sys.executable, "-m", "slurm_nb", "password"]
    environ = {**os.environ, "SLURM_NB_HOME": str(store.folder), "PYTHONPATH": str(ROOT)}
    child, terminal = pty.fork()
    if child == 0:
        os.execve(argv[0], argv, environ)  # noqa: S606  with a terminal of its own
    seen = b""
    with contextlib.suppress(OSError):  # EIO: the other end is closed
        while more := os.read(terminal, 1024):
            seen += more
            if seen.endswith(b": "):  # by then the terminal is silent
                os.write(terminal, f"{PASSWORD}\n".encode())
    _, status = os.waitpid(child, 0)
    os.close(terminal)

    assert os.waitstatus_to_exitcode(status) == 0, seen
    assert PASSWORD.encode() not in seen
    assert store.password_path.exists()


# --- templates and environments ---


def test_a_template_is_taken_by_submit(run: Run, tmp_path: Path) -> None:
    """`--template FILE` renders it, and a fault in it is one line with file and line number."""
    good, bad = tmp_path / "good.sh.j2", tmp_path / "bad.sh.j2"
    good.write_text('{% extends "jupyter.sh.j2" %}{% block before_server %}# ours{% endblock %}')
    bad.write_text(
        '{% extends "jupyter.sh.j2" %}\n{% block before_server %}{{ nope }}{% endblock %}'
    )

    rendered = run("submit", "--dry-run", "--template", str(good))
    refused = run("submit", "--dry-run", "--template", str(bad))

    assert (rendered.code, rendered.err) == (0, "")
    assert "\n# ours" in rendered.out
    assert (refused.code, refused.out) == (1, "")
    assert refused.err.startswith(f"slurm-nb: {bad}, line 2: 'nope' is undefined\n")


@pytest.mark.parametrize("name", ["modules", "conda", "container"])
def test_the_worked_examples_are_there_by_name(run: Run, name: str) -> None:
    """A site can look at what each would do before it copies one."""
    assert run("submit", "--dry-run", "--template", name).code == 0


def test_what_tunnel_cmd_says_of_a_job_that_could_not_start(
    run: Run, store: Store, slurm: AddProgram
) -> None:
    """The job's own sentence and cure, also later."""
    text = told("failed", text="no x on c1", cure="install x") + told("ended", exit_code=1)
    running(store, output=text)
    slurm("squeue", "echo 'slurm_load_jobs error: Unable to contact slurm controller' >&2; exit 1")

    said = run("tunnel-cmd", "7")

    assert (said.code, said.out) == (4, "")
    assert "Jupyter cannot start: no x on c1\n  install x\n" in said.err


@pytest.mark.parametrize("umask", [0o777, 0o277, 0o022])
def test_a_umask_that_takes_from_the_owner_does_no_harm(
    run: Run, slurm: AddProgram, umask: int
) -> None:
    """What slurm-nb writes it can read; what the umask takes from others stays taken."""
    slurm("sbatch", 'umask >"$0.umask"; echo 7')
    old = os.umask(umask)
    try:
        result = run("submit", "--no-wait", "--notebook-dir", "/")
        left = run("list")
    finally:
        os.umask(old)

    assert result.code == 0, result
    assert left.code == 0
    assert "submitting" not in left.err
    told = slurm("unused", "").with_name("sbatch.umask").read_text(encoding="ascii")
    assert int(told, 8) == umask & 0o077
