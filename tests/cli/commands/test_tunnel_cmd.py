"""slurm-nb tunnel-cmd"""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from slurm_nb.joblog.events import Ready
from slurm_nb.scheduler.job import Job
from slurm_nb.session.session import Session
from slurm_nb.session.store import Store
from tests.conftest import NONCE, AddProgram
from tests.fakes import (
    FINGERPRINT,
    OVER,
    PRIVATE,
    READY,
    SECURED,
    SEVEN,
    TOKEN,
    Run,
    calls,
    has_token,
    running,
    shown,
    told,
)


@pytest.mark.usefixtures("slurm")
def test_tunnel_cmd_prints_one_line(run: Run, store: Store) -> None:
    """stdout has only the ssh command; the URL goes to stderr."""
    running(store)

    result = run("tunnel-cmd", "7", "--local-port", "9999")

    assert result.code == 0
    assert result.out.count("\n") == 1
    assert result.out.startswith("ssh -N ")
    assert TOKEN not in result.out
    assert f"http://127.0.0.1:9999/?token={TOKEN}" in result.err


@pytest.mark.usefixtures("slurm")
def test_a_guessed_login_host_is_called_one(run: Run, store: Store) -> None:
    """Both `wait` and `tunnel-cmd` name the option that sets it; a given one is not a guess."""
    running(store)
    store.save(replace(SEVEN, login_host="10.1.2.3", login_is_guess=True))

    guessed = [run("wait", "7").out, run("tunnel-cmd", "7").err]
    given = run("tunnel-cmd", "7", "--login-host", "login.hpc.edu")

    for text in guessed:
        assert "10.1.2.3 is a guess. " in text
        assert "--login-host NAME, or login-host in your config file" in text
    assert "is a guess" not in given.err
    assert given.out.count("\n") == run("tunnel-cmd", "7").out.count("\n") == 1


@pytest.mark.usefixtures("slurm")
def test_tunnel_cmd_as_json(run: Run, store: Store) -> None:
    """The object has everything that a program needs."""
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
        "url": f"http://127.0.0.1:9999/?token={TOKEN}",
        "server_url": f"http://127.0.0.1:9999/?token={TOKEN}",
    }


@pytest.mark.parametrize(
    ("squeue", "told"),
    [
        (shown("PENDING", reason="Priority"), (5, "PENDING (Priority)")),
        (
            shown("FAILED", "2026-11-23T14:00:00", "NonZeroExitCode"),
            (4, "FAILED (NonZeroExitCode)"),
        ),
    ],
    ids=["pending", "failed"],
)
def test_tunnel_cmd_of_a_job_that_is_not_running(
    run: Run, slurm: AddProgram, store: Store, squeue: str, told: tuple[int, str]
) -> None:
    """Pending and ended jobs have their own exit codes, with the state that Slurm reports."""
    running(store, output=READY if told[0] == 5 else OVER)
    slurm("squeue", squeue)

    result = run("tunnel-cmd", "7")

    code, words = told
    assert (result.code, result.out) == (code, "")
    assert words in result.err
    assert has_token(store) is (code == 5)


@pytest.mark.usefixtures("slurm")
def test_tunnel_cmd_before_jupyter_is_ready(run: Run, store: Store) -> None:
    """A running job is not ready until its output says where Jupyter listens."""
    running(store)
    store.log_path("7").write_text("starting\n", encoding="utf-8")

    result = run("tunnel-cmd", "7")

    assert (result.code, result.out) == (5, "")


def test_tunnel_cmd_without_an_answer_from_slurm(run: Run, slurm: AddProgram, store: Store) -> None:
    """The command uses the job's output and warns that it may be out of date."""
    running(store)
    slurm("squeue", "echo 'Unable to contact slurm controller' >&2; exit 1")

    result = run("tunnel-cmd", "7")

    assert result.code == 0
    assert result.out.startswith("ssh -N ")
    assert "Unable to contact slurm controller" in result.err


@pytest.mark.parametrize("arguments", [["tunnel-cmd", "7"], ["cancel", "7"], ["cancel", "--all"]])
def test_another_job_with_the_id_does_not_remove_the_token(
    run: Run, slurm: AddProgram, store: Store, arguments: list[str]
) -> None:
    """It does not prove that this job has ended."""
    running(store)
    slurm("squeue", shown("RUNNING", user="mallory"))

    result = run(*arguments)

    assert (result.code, result.out) == (5 if arguments[0] == "tunnel-cmd" else 3, "")
    assert "7 is the id of another job now" in result.err
    assert has_token(store)
    assert calls(slurm, "scancel") == []


@pytest.fixture
def no_new_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """Do not wait for a new run if the output names another node."""
    monkeypatch.setattr("slurm_nb.operations.connect._NEW_RUN_S", 0.0)


@pytest.mark.parametrize(
    "squeue",
    ["", "echo 'slurm_load_jobs error: Invalid job id specified' >&2; exit 1", "echo; echo"],
    ids=["silent", "invalid", "blank"],
)
def test_a_job_that_slurm_does_not_show_can_still_be_reached(
    run: Run, slurm: AddProgram, store: Store, squeue: str
) -> None:
    """The missing answer proves nothing; a warning says so."""
    running(store)
    slurm("squeue", squeue)

    result = run("tunnel-cmd", "7")

    assert result.code == 0
    assert result.out.startswith("ssh -N ")
    assert "Job 7 may have ended; Slurm does not show job 7\n" in result.err
    assert has_token(store)


@pytest.mark.usefixtures("no_new_run")
@pytest.mark.parametrize("arguments", [["tunnel-cmd", "7"], ["submit", "--login-host", "login"]])
@pytest.mark.parametrize("as_json", [[], ["--json"]])
def test_a_node_that_slurm_does_not_name_is_rejected(
    run: Run,
    slurm: AddProgram,
    store: Store,
    arguments: list[str],
    as_json: list[str],
) -> None:
    """If the ready line and Slurm disagree, neither token nor ssh command is printed."""
    running(store)
    slurm("squeue", shown("RUNNING", node="c2"))

    result = run(*arguments, *as_json)

    assert result.code == 1
    assert "Jupyter is on c1, but according to Slurm the job is on c2" in result.err
    assert TOKEN not in result.err + result.out
    assert "ssh" not in result.out


def test_a_completing_job_is_not_ready(run: Run, slurm: AddProgram, store: Store) -> None:
    """Its Jupyter is gone; the job itself may return, so the token stays."""
    running(store)
    slurm("squeue", shown("COMPLETING"))

    result = run("tunnel-cmd", "7")

    assert (result.code, result.out) == (5, "")
    assert has_token(store)


@pytest.mark.usefixtures("slurm")
def test_tunnel_cmd_says_that_it_waits_for_slurm(
    run: Run, slurm: AddProgram, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """You know why nothing happens."""
    running(store)
    monkeypatch.setattr("slurm_nb.cli.console._SLOW_S", 0.01)
    slurm("squeue", "read -t 0.3 < <(:); exec 3<>/dev/ptmx; read -t 0.3 -u 3;"
          + shown("RUNNING"))  # fmt: skip

    result = run("tunnel-cmd", "7")

    assert "Waiting for Slurm to respond" in result.err
    assert result.out.startswith("ssh ")


@pytest.mark.usefixtures("slurm")
def test_without_a_log_the_saved_ready_line_is_used(run: Run, store: Store) -> None:
    """A user who removed the log can still connect."""
    running(store, Session(job=Job("7", "hpc"), ready=Ready("c1", 40123, "/tree")))
    store.log_path("7").unlink()

    assert run("tunnel-cmd", "7").out.endswith("@c1\n")


@pytest.mark.usefixtures("slurm")
def test_tunnel_cmd_shows_the_fingerprint_again(run: Run, store: Store) -> None:
    """Another browser needs it as much as the first one."""
    running(store, output=SECURED)

    result = run("tunnel-cmd", "7")

    assert FINGERPRINT in result.err
    assert FINGERPRINT not in result.out
    assert json.loads(run("tunnel-cmd", "7", "--json").out)["fingerprint"] == FINGERPRINT


@pytest.mark.usefixtures("slurm")
def test_tunnel_cmd_shows_the_jobs_notices(run: Run, store: Store) -> None:
    """Even those that came after submit had ended; they go to stderr, escaped."""
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


def test_tunnel_cmd_says_why_a_job_could_not_start(
    run: Run, store: Store, slurm: AddProgram
) -> None:
    """The job's own sentence and cure are still available later."""
    text = told("failed", text="no x on c1", cure="install x") + told("ended", exit_code=1)
    running(store, output=text)
    slurm("squeue", "echo 'slurm_load_jobs error: Unable to contact slurm controller' >&2; exit 1")

    said = run("tunnel-cmd", "7")

    assert (said.code, said.out) == (4, "")
    assert "Jupyter cannot start: no x on c1\n  install x\n" in said.err


@pytest.mark.usefixtures("slurm")
def test_another_route_can_be_printed(run: Run, store: Store) -> None:
    """The relay's line runs `connect`; its URL has the user's port, and nothing is saved."""
    running(store)

    relay = run("tunnel-cmd", "7", "--route", "relay")
    plain = run("tunnel-cmd", "7")
    url = run("url", "7", "--route", "relay")

    assert relay.out.startswith("ssh -t ")
    assert relay.out.endswith(" connect 7\n")
    assert f"When it says so, open in your laptop's browser: {url.out}" in relay.err
    assert plain.out.startswith("ssh -N ")


@pytest.mark.usefixtures("slurm")
def test_a_route_that_leads_nowhere_is_refused(run: Run, store: Store) -> None:
    """A server on the loopback interface is out of the direct route's reach."""
    running(store)

    result = run("tunnel-cmd", "7", "--route", "direct")

    assert (result.code, result.out) == (1, "")
    assert "listens on its node only" in result.err


@pytest.mark.usefixtures("slurm")
def test_a_session_by_relay_prints_its_line(run: Run, store: Store) -> None:
    """`wait` says that the line itself prints the URL."""
    running(store)
    store.save(replace(SEVEN, options=("--route=relay",)))

    result = run("wait", "7")

    assert "It prints the URL when the page answers:\n" in result.out
    assert "\nssh -t " in result.out
