"""The audit: verdicts on files, the table, and a node that lies, fails or is silent."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable

import pytest

from slurm_nb.__main__ import main
from slurm_nb.errors import SchedulerError
from slurm_nb.files import write_private
from slurm_nb.job.kit import digest
from slurm_nb.joblog.events import Ready
from slurm_nb.operations.audit import LISTENER, NODE_CHECKS, Check, ask_node, audit, parse_node
from slurm_nb.scheduler.job import Job
from slurm_nb.session.session import Session
from slurm_nb.session.store import Store
from tests.conftest import AddProgram

TOKEN = "ab" * 32
NONCE = "5f" * 16
READY = Ready(node="c1", port=40123, path="/tree")
SEVEN = Session(job=Job("7", "hpc"), python="/opt/venv/bin/python")
LINE = (
    f'slurm-nb ready: {{"cluster": "hpc", "job_id": "7", "nonce": "{NONCE}", "node": "c1",'
    ' "port": 40123, "path": "/tree"}\n'
)
ALL_PASS = [[name, True, "seen"] for name in NODE_CHECKS]

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(store: Store, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Return a function that runs slurm-nb and returns exit code, stdout and stderr."""
    monkeypatch.setenv("SLURM_NB_HOME", str(store.folder))

    def call(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["slurm-nb", *arguments])
        with pytest.raises(SystemExit) as caught:
            main()
        out, err = capfd.readouterr()
        return int(caught.value.code or 0), out, err

    return call


@pytest.fixture
def session(store: Store, program: AddProgram) -> Session:
    """Return job 7, ready and private, on a Slurm of shell scripts."""
    store.save(SEVEN)
    write_private(store.session_folder("hpc", "7") / "token", TOKEN)
    write_private(store.session_folder("hpc", "7") / "nonce", NONCE)
    write_private(store.log_path("7"), LINE)
    write_private(store.script_path("7"), "#!/bin/bash\n")
    program("scontrol", "echo JobId=7")
    program("squeue", 'echo "7|$(id -un)|RUNNING|2026-11-23T14:00:00|N/A|c1|None|"')
    program("sacct", "exit 1")
    answer(program, ALL_PASS)
    return SEVEN


def answer(program: AddProgram, rows: object) -> None:
    """Set the node's answer; srun records its arguments and its stdin."""
    text = rows if isinstance(rows, str) else json.dumps(rows)
    path = program("unused", "").with_name("answer")
    path.write_text(text, encoding="utf-8")
    program("srun", f'printf "%s\\n" "$@" >"$0.calls"; cat >"$0.stdin"; cat {path}')


def failed(checks: list[Check]) -> list[str]:
    return [check.name for check in checks if not check.passed]


@pytest.mark.usefixtures("session")
def test_a_private_session_passes(run: Run) -> None:
    """Every line says pass, and the exit code is 0."""
    code, out, err = run("audit", "7")

    assert code == 0
    assert {line[:6] for line in out.splitlines()} == {"pass  "}
    assert set(NODE_CHECKS) <= {line[6:34].strip() for line in out.splitlines()}
    assert err == "Every check passed.\n"


@pytest.mark.usefixtures("session")
def test_json_is_one_object(run: Run, program: AddProgram) -> None:
    """It has the same checks for programs; a failed check is exit code 1 here too."""
    answer(program, [*ALL_PASS[:-1], [NODE_CHECKS[-1], False, "limit unlimited"]])

    code, out, err = run("audit", "7", "--json")

    told = json.loads(out)
    assert code == 1
    assert (told["job_id"], told["passed"], err) == ("7", False, "")
    assert told["checks"][-1] == {
        "name": NODE_CHECKS[-1],
        "passed": False,
        "evidence": "limit unlimited",
    }


@pytest.mark.usefixtures("session")
def test_the_token_is_neither_argument_nor_input_of_srun(
    run: Run, program: AddProgram, store: Store
) -> None:
    """The node's program reads the token from its file; ps does not show it."""
    run("audit", "7")

    folder = program("unused", "").parent
    arguments = (folder / "srun.calls").read_text().splitlines()
    assert arguments[-5:] == ["/opt/venv/bin/python", "-E", "-s", "-m", "slurm_nb_kit.audit"]
    assert {"--jobid=7", "--overlap", "--nodelist=c1"} <= set(arguments)
    assert f"--chdir={store.kits / digest()}" in arguments
    assert TOKEN not in (folder / "srun.stdin").read_text() + "".join(arguments)


@pytest.mark.usefixtures("session")
def test_hostile_evidence_stays_on_its_line(run: Run, program: AddProgram) -> None:
    """Escapes, newlines and bidirectional controls never reach the terminal."""
    evil = "x\x1b[2J\npass  fake  line\r\u202egnitirw\x9b31m"
    answer(program, [[NODE_CHECKS[0], False, evil], *ALL_PASS[1:]])

    code, out, _ = run("audit", "7")

    assert code == 1
    assert "x\\x1b[2J\\npass  fake  line\\r\\u202egnitirw\\x9b31m\n" in out
    assert not {"\x1b", "\r", "\u202e", "\x9b"} & set(out)


@pytest.mark.usefixtures("session")
@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("echo 'srun: error: Unable to confirm allocation' >&2; exit 1", "Unable to confirm"),
        ("echo Welcome to c1", "is malformed: 'Welcome to c1"),
    ],
)
def test_a_node_without_an_answer_is_exit_code_3(
    run: Run, program: AddProgram, body: str, words: str
) -> None:
    """The session neither passes nor fails, and no table is printed."""
    program("srun", body)

    code, out, err = run("audit", "7")

    assert (code, out) == (3, "")
    assert words in err


@pytest.mark.parametrize(
    ("squeue", "code"),
    [
        ('echo "7|$(id -un)|COMPLETED|N/A|N/A|n/a|None|"', 4),
        ('echo "7|$(id -un)|PENDING|N/A|N/A|n/a|Priority|"', 5),
        ('echo "7|$(id -un)|RUNNING|N/A|N/A|n/a|None|"', 5),
    ],
)
def test_a_session_without_a_server_cannot_be_audited(
    session: Session, run: Run, store: Store, squeue: str, code: int
) -> None:
    """An ended or pending session gives the same exit code as for tunnel-cmd."""
    (store.folder.parent / "programs/squeue").write_text(f"#!/bin/bash\n{squeue}\n")
    write_private(store.log_path(session.job_id), "")

    assert run("audit", "7")[0] == run("tunnel-cmd", "7")[0] == code
    assert run("audit", "8")[0] == 1


def spoil_output(store: Store) -> None:
    store.log_path("7").chmod(0o644)


def spoil_token(store: Store) -> None:
    (store.session_folder("hpc", "7") / "token").chmod(0o640)


def spoil_links(store: Store) -> None:
    folder = store.session_folder("hpc", "7")
    os.link(folder / "token", store.folder.parent / "copy")


def spoil_symlink(store: Store) -> None:
    (store.session_folder("hpc", "7") / "more").symlink_to("/etc/passwd")


def spoil_folder(store: Store) -> None:
    store.session_folder("hpc", "7").chmod(0o711)


def spoil_password(store: Store) -> None:
    store.password_path.write_text("argon2:x")
    store.password_path.chmod(0o644)


def spoil_other_job(store: Store) -> None:
    store.log_path("6").write_text("")
    store.log_path("6").chmod(0o604)


def spoil_script(store: Store) -> None:
    write_private(store.script_path("7"), f"export JUPYTER_TOKEN={TOKEN}")


def spoil_log(store: Store) -> None:
    write_private(store.log_path("7"), "x" * ((1 << 20) - 7) + TOKEN)


@pytest.mark.parametrize(
    ("spoil", "name"),
    [
        (spoil_output, "job's output and script"),
        (spoil_token, "session's files"),
        (spoil_links, "session's files"),
        (spoil_symlink, "session's files"),
        (spoil_folder, "directories"),
        (spoil_password, "password and others"),
        (spoil_other_job, "other jobs' files"),
        (spoil_script, "token in the kept script"),
        (spoil_log, "token in the job's output"),
    ],
)
def test_one_flaw_fails_one_line(
    session: Session, store: Store, spoil: Callable[[Store], None], name: str
) -> None:
    """It is a wrong mode, a link, or the token in the wrong place."""
    spoil(store)

    assert failed(audit(session, READY, store)) == [name]


def test_the_output_of_slurms_commands_is_searched(
    session: Session, store: Store, program: AddProgram
) -> None:
    """Every user could read a token in a comment or an argument."""
    program("scontrol", f"echo JobId=7 Comment={TOKEN}")

    checks = audit(session, READY, store)

    assert failed(checks) == ["token in what Slurm shows"]
    assert TOKEN not in repr(checks)


@pytest.mark.parametrize(
    "text",
    [
        "", "null", "7", "{}x", '{"a": 1}', "[[]]", '[["door: no token", 1, "x"]]', "[" * 100_000,
        '[["another check", true, "x"]]', '[["door: no token", true, "x", "y"]]',
        json.dumps([*ALL_PASS, ALL_PASS[0]]), json.dumps([[["a"], True, "x"]]),
    ],
)  # fmt: skip
def test_a_malformed_answer_is_rejected(text: str) -> None:
    """It is empty, truncated, of another shape, or has a check twice; no part of it is used."""
    with pytest.raises(SchedulerError, match="is malformed"):
        parse_node(text)


def test_a_missing_check_has_failed() -> None:
    """A node cannot pass by omitting what it would fail."""
    assert failed(parse_node(json.dumps(ALL_PASS[1:]))) == [NODE_CHECKS[0]]
    assert failed(parse_node("[]")) == list(NODE_CHECKS)
    assert failed(parse_node(json.dumps([[LISTENER, True, "fine"]]))) == [LISTENER]


def test_the_nodes_program_runs_from_the_kit(store: Store) -> None:
    """It does not need the session's own kit; if nothing of the job listens, it says so."""
    session = Session(job=Job("local-1", "local"), python=sys.executable)
    store.save(session)
    write_private(store.session_folder("local", "local-1") / "token", TOKEN)

    assert parse_node(ask_node(session, READY, store)) == [
        Check(LISTENER, passed=False, evidence="no process of the job listens at 127.0.0.1:40123")
    ]
