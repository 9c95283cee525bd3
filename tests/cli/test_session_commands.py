"""list, status, wait, logs, url, open, and submit --again, without a real Slurm."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from datetime import datetime
from pathlib import Path

import pytest

from slurm_nb.files import write_private
from slurm_nb.scheduler.job import Job, JobState, Phase
from slurm_nb.session.session import Session
from slurm_nb.session.settle import settle
from slurm_nb.session.store import Store
from tests.cli.test_commands import (
    GONE_WHEN_CANCELLED,
    READY,
    TOKEN,
    Run,
    calls,
    has_token,
    run,
    running,
    shown,
    slurm,
    told,
)
from tests.conftest import AddProgram

__all__ = ["run", "slurm"]  # fixtures

NAMED = Session(
    job=Job("7", "hpc"),
    login_host="login",
    job_name="analysis",
    submitted_at=1_795_000_000,
    options=("--notebook-dir=/home/alice",),
)
UNREACHABLE = "echo 'slurm_load_jobs error: Unable to contact slurm controller' >&2; exit 1"


# --- list ---


@pytest.mark.usefixtures("slurm")
def test_list_shows_a_line_a_session(run: Run, store: Store) -> None:
    """Job id, name, state, node, and how long nothing happened; the newest first."""
    running(store, NAMED)
    record = {"active_at": int(time.time()) - 720, "kernels": 1}
    write_private(store.session_folder("hpc", "7") / "activity.json", json.dumps(record))

    said = run("list")

    assert said.code == 0
    assert [line.split() for line in said.out.splitlines()] == [
        ["JOBID", "NAME", "STATE", "NODE", "TIME", "LEFT", "IDLE"],
        ["7", "analysis", "RUNNING", "c1", "0", "s", "12", "min"],
    ]


@pytest.mark.usefixtures("slurm")
def test_list_without_sessions_says_how_to_start_one(run: Run) -> None:
    """Nothing on stdout, for scripts."""
    said = run("list")

    assert (said.code, said.out) == (0, "")
    assert "slurm-nb submit" in said.err


@pytest.mark.usefixtures("slurm")
def test_list_as_json(run: Run, store: Store) -> None:
    """One object with a list of them; times in seconds, and what is not known is null."""
    running(store, NAMED)

    (record,) = json.loads(run("list", "--json").out)["sessions"]

    assert record == {
        "job_id": "7",
        "cluster": "hpc",
        "name": "analysis",
        "submitted_at": 1_795_000_000,
        "state": "RUNNING",
        "reason": "",
        "node": "c1",
        "start_time": None,
        "end_time": "2026-11-23T14:00:00",
        "time_left_s": 0,
        "idle_s": None,
        "idle_stop_at": None,
        "memory_fraction": None,
        "kernels": None,
        "ended": None,
        "as_of": None,
    }


def test_list_without_a_controller_says_how_old_it_is(
    run: Run, store: Store, slurm: AddProgram
) -> None:
    """What was known is shown, and the exit code is 0."""
    running(store, NAMED)
    run("list")
    slurm("squeue", UNREACHABLE)

    said = run("list")

    assert said.code == 0
    assert "7      analysis  RUNNING  c1" in said.out
    assert "Unable to contact slurm controller" in said.err
    assert "shown is what it said 0 s ago, at 20" in said.err


def test_list_shows_why_a_session_ended(run: Run, store: Store, slurm: AddProgram) -> None:
    """And its token is gone."""
    running(store, NAMED)
    slurm("squeue", shown("TIMEOUT"))

    assert "TIMEOUT (time-limit)" in run("list").out
    assert not has_token(store)


def test_pruning_forgets_what_has_ended(run: Run, store: Store, slurm: AddProgram) -> None:
    """Its files are gone, and it is not listed any more."""
    running(store, NAMED)
    slurm("squeue", shown("TIMEOUT"))
    run("list")

    said = run("list", "--prune")

    assert said.out == ""
    assert "forgot 1 session\n" in said.err
    assert not store.session_folder("hpc", "7").exists()
    assert list((store.folder / "jobs").glob("7_*")) == []


def test_a_name_cannot_forge_a_line_or_steer_the_terminal(
    run: Run, store: Store, slurm: AddProgram
) -> None:
    """session.json may be written by code in a notebook."""
    running(store, Session(job=Job("7", "hpc"), job_name="x\n8 y\x1b[2J"))
    slurm("squeue", shown("RUNNING"))

    said = run("list")

    assert len(said.out.splitlines()) == 2
    assert "\x1b" not in said.out


# --- status ---


@pytest.mark.usefixtures("slurm")
def test_status_of_a_session_that_is_ready(run: Run, store: Store) -> None:
    """Where it runs, when it ends, how to get there; and what the job warns of."""
    warning = told("warning", kind="time", text="this session ends in 15 minutes")
    running(store, NAMED, READY + warning)

    lines = dict(line.split(":", 1) for line in run("status", "analysis").out.splitlines())

    assert {name: text.strip() for name, text in lines.items() if name != "Submitted"} == {
        "Job": "7 (analysis), cluster hpc",
        "State": "RUNNING",
        "Node": "c1",
        "Ends": "2026-11-23 14:00, in 0 s",
        "Jupyter": "ready; the way in: slurm-nb tunnel-cmd 7",
        "Warning": "this session ends in 15 minutes",
        "Output": str(store.log_path("7")),
    }


def test_status_of_a_job_that_waits(run: Run, store: Store, slurm: AddProgram) -> None:
    """Why, when Slurm expects it to start, and its place in the queue."""
    store.save(NAMED)
    waits = shown("PENDING", reason="Priority", start="2026-11-23T14:00:00")
    slurm(
        "squeue",
        f'case "$*" in *%P*) echo main;; *-p*main*) printf "9\\n7\\n8\\n";; *) {waits};; esac',
    )

    said = run("status", "7").out

    assert (
        "PENDING (Priority): other jobs have higher priority; estimated start: 2026-11-23 14:00"
        in (said)
    )
    assert "number 2 of the 3 jobs that wait there" in said


def test_a_job_that_is_held_has_no_place_in_the_queue(
    run: Run, store: Store, slurm: AddProgram
) -> None:
    """Held jobs have no priority; those of all users would be counted in the order of nothing."""
    store.save(NAMED)
    waits = shown("PENDING", reason="JobHeldUser")
    slurm("squeue", f'case "$*" in *%P*) echo main;; *-p*main*) echo 7;; *) {waits};; esac')

    said, record = run("status", "7").out, json.loads(run("status", "7", "--json").out)

    assert "Queue:" not in said
    assert record["place_in_queue"] is None


def test_an_idle_stop_that_the_time_limit_is_before_is_not_told(
    run: Run, store: Store, slurm: AddProgram
) -> None:
    """The session ends before it could stop for that."""
    running(store, NAMED)
    now = int(time.time())
    path = store.session_folder("hpc", "7") / "activity.json"

    def line(ends_in_s: int) -> str:
        end = datetime.fromtimestamp(now + ends_in_s).isoformat(timespec="seconds")  # noqa: DTZ006  local
        slurm("squeue", shown("RUNNING", end))
        lines = run("status", "7").out.splitlines()
        return next(line for line in lines if line.startswith("Idle:"))

    write_private(path, json.dumps({"active_at": now - 600, "idle_stop_at": now + 3000}))

    assert "stops at" not in line(1800)
    assert "stops at" in line(7200)


def test_status_of_a_session_that_ended(run: Run, store: Store, slurm: AddProgram) -> None:
    """The cause, and the very command to try next."""
    running(store, NAMED)
    slurm("squeue", shown("TIMEOUT"))

    said = run("status", "7").out

    assert "Why:       the job reached its time limit" in said
    assert "slurm-nb submit --again 7 --time" in said


def test_a_cure_can_be_typed_for_a_job_that_was_sbatched_by_hand(
    run: Run, store: Store, slurm: AddProgram
) -> None:
    """Its options are not known, and --again of it is an error."""
    store.save(Session(job=Job("7", "hpc")))
    slurm("squeue", shown("CANCELLED", node="n/a"))

    said = run("status", "7").out

    assert "start a new session: `slurm-nb submit`" in said


@pytest.mark.usefixtures("slurm")
def test_status_as_json(run: Run, store: Store) -> None:
    """What list has, and more."""
    running(store, NAMED)

    record = json.loads(run("status", "--last", "--json").out)

    assert (record["job_id"], record["ready"], record["warnings"]) == ("7", True, [])
    assert record["output"] == str(store.log_path("7"))


# --- which session ---


@pytest.mark.parametrize(
    "command", ["status", "tunnel-cmd", "url", "logs", "wait", "audit", "open"]
)
@pytest.mark.parametrize("words", [[], ["7", "--last"], ["7", "8"]])
@pytest.mark.usefixtures("slurm")
def test_one_session_must_be_named(run: Run, command: str, words: list[str]) -> None:
    """By its job id or name, or as the last one; not twice, and not at all is nothing."""
    assert run(command, *words).code == 2


@pytest.mark.parametrize("words", [["7"], ["analysis"], ["--last"]])
def test_a_session_is_cancelled_by_id_name_or_as_the_last(
    run: Run, store: Store, slurm: AddProgram, words: list[str]
) -> None:
    """It is the same job."""
    running(store, NAMED)
    slurm(
        "squeue", 'grep -qs 7 "${0%/*}/scancel.calls" && w=CANCELLED || w=RUNNING; ' + shown("$w")
    )

    said = run("cancel", *words)

    assert (said.code, said.err) == (0, "cancelled job 7\n")
    assert calls(slurm, "scancel") == ["7"]


def test_cancel_all_of_a_cluster_leaves_the_others(
    run: Run, store: Store, slurm: AddProgram
) -> None:
    """-M narrows --all to the sessions there."""
    running(store, NAMED)
    slurm("squeue", GONE_WHEN_CANCELLED)

    elsewhere, here = run("cancel", "--all", "-M", "big"), run("cancel", "--all", "-M", "hpc")

    assert (elsewhere.code, elsewhere.err) == (0, "")
    assert (here.code, here.err) == (0, "cancelled job 7\n")
    assert calls(slurm, "scancel") == ["7"]


# --- wait ---


@pytest.mark.usefixtures("slurm")
def test_wait_prints_the_way_in_again(run: Run, store: Store) -> None:
    """As submit does."""
    running(store, NAMED)

    said = run("wait", "7")

    assert said.code == 0
    assert "Jupyter runs on c1, job 7." in said.out
    assert f"?token={TOKEN}" in said.out


@pytest.mark.parametrize(("left_s", "times"), [(3500, 0), (7200, 1)])
def test_the_idle_stop_is_told_where_it_can_come_first(
    run: Run, store: Store, slurm: AddProgram, left_s: int, times: int
) -> None:
    """A time limit that comes sooner leaves nothing to be said of it."""
    running(store, NAMED)
    end = datetime.fromtimestamp(time.time() + left_s)  # noqa: DTZ006  local
    slurm("squeue", shown("RUNNING", end.isoformat(timespec="seconds")))

    assert run("wait", "7").out.count("or after 60 min without use") == times


def test_wait_for_a_job_that_has_ended(run: Run, store: Store, slurm: AddProgram) -> None:
    """Exit code 4 with the cause and the cure."""
    running(store, NAMED, "")
    slurm("squeue", shown("CANCELLED", node="n/a"))

    said = run("wait", "7")

    assert (said.code, said.out) == (4, "")
    assert "the job ended before Jupyter was ready: CANCELLED" in said.err
    assert "slurm-nb submit --again 7" in said.err


def test_wait_does_not_take_an_earlier_runs_word(run: Run, store: Store, slurm: AddProgram) -> None:
    """A job that is back in the queue is not ready, though its output says so."""
    running(store, NAMED)
    slurm("squeue", shown("PENDING", reason="BeginTime"))

    said = run("wait", "7", "--wait-timeout", "0")

    assert (said.code, said.out) == (5, "")
    assert "slurm-nb wait 7" in said.err


def test_the_time_out_that_is_told_is_the_users(run: Run, store: Store, slurm: AddProgram) -> None:
    """Not what was left of it after a look at an earlier run's word."""
    running(store, NAMED)
    slurm("squeue", shown("PENDING", reason="BeginTime"))

    nothing, one = (run("wait", "7", "--wait-timeout", each).err for each in ("0", "1"))

    assert "slurm-nb: not ready after 0 s: " in nothing
    assert "slurm-nb: not ready after 1 s: " in one


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGINT, 130)]
)
def test_a_signal_ends_the_wait_and_says_how_to_come_back(
    run: Run, store: Store, slurm: AddProgram, number: int, code: int
) -> None:
    """The job goes on; the exit code is the signal's."""
    store.save(NAMED)
    slurm("squeue", f"kill -{number} $PPID; " + shown("PENDING", reason="Priority"))

    said = run("wait", "7")

    assert said.code == code
    assert "Job 7 goes on. To wait for it again: slurm-nb wait 7" in said.err


def test_a_job_that_can_not_start_is_said_to_be_one(
    run: Run, store: Store, slurm: AddProgram
) -> None:
    """Once, with what to do; whoever waits would wait for ever."""
    store.save(NAMED)
    slurm("squeue", shown("PENDING", reason="PartitionTimeLimit"))

    said = run("wait", "7", "--wait-timeout", "3")

    assert said.code == 5
    assert said.err.count("this job will not start by itself (PartitionTimeLimit)") == 1
    assert "slurm-nb cancel 7" in said.err


@pytest.mark.parametrize("command", ["wait", "tunnel-cmd", "url", "status"])
def test_a_job_that_slurm_has_suspended_is_said_to_stand_still(
    run: Run, store: Store, slurm: AddProgram, command: str
) -> None:
    """The way in is printed, but leads to a page that does not answer."""
    running(store, NAMED)
    slurm("squeue", shown("SUSPENDED"))

    said = run(command, "7")

    assert said.code == 0
    assert "does not respond while job 7 is SUSPENDED" in said.out + said.err


# --- logs ---


def test_logs_prints_the_output(run: Run, store: Store) -> None:
    """Nothing in it can steer the terminal."""
    running(store, NAMED, "one\ntwo\x1b[2J\nthree\n")

    assert run("logs", "7").out == "one\ntwo\\x1b[2J\nthree\n"
    assert run("logs", "7", "-n", "1").out == "three\n"


@pytest.mark.parametrize("there", [True, False])
def test_logs_of_a_job_that_has_not_begun(run: Run, store: Store, *, there: bool) -> None:
    """Exit code 5, and how to learn more; slurm-nb itself makes the file, empty."""
    store.save(NAMED)
    if not there:
        store.log_path("7").unlink()

    said = run("logs", "7")

    assert (said.code, said.out) == (5, "")
    assert f"job 7 has written nothing yet: {store.log_path('7')} is" in said.err
    assert "slurm-nb status 7" in said.err


def test_logs_of_a_job_that_ended_without_a_word(run: Run, store: Store, slurm: AddProgram) -> None:
    """Why it ended is all there is to say, with the exit code of a job that has ended."""
    store.save(NAMED)
    slurm("squeue", shown("CANCELLED", node="n/a"))
    run("list")

    said = run("logs", "7")

    assert (said.code, said.out) == (4, "")
    assert "the job was cancelled before it started" in said.err


def test_logs_that_follow_nothing_say_so(run: Run, store: Store, slurm: AddProgram) -> None:
    """An empty screen would look like a fault."""
    store.save(NAMED)
    slurm("squeue", shown("COMPLETED"))

    said = run("logs", "-f", "7")

    assert said.code == 0
    assert said.err == "job 7 has written nothing yet\n"


def test_logs_follows_until_the_job_has_ended(run: Run, store: Store, slurm: AddProgram) -> None:
    """What comes is shown, and then it ends by itself."""
    running(store, NAMED, "one\n")
    slurm("squeue", f'echo two >>"{store.log_path("7")}"; ' + shown("COMPLETED"))

    assert run("logs", "-f", "7").out == "one\ntwo\n"


# --- url, open ---


@pytest.mark.usefixtures("slurm")
def test_url_prints_the_url_alone(run: Run, store: Store) -> None:
    """For a script, or a laptop that has the tunnel already."""
    running(store, NAMED)

    said = run("url", "7", "--local-port", "9999")

    assert said.out == f"http://127.0.0.1:9999/tree?token={TOKEN}\n"


@pytest.mark.usefixtures("slurm")
def test_a_job_on_a_node_is_not_opened_here(run: Run, store: Store) -> None:
    """No browser of the login node reaches it."""
    running(store, NAMED)

    said = run("open", "7")

    assert said.code == 1
    assert "slurm-nb tunnel-cmd 7" in said.err


def test_open_keeps_the_token_out_of_the_browsers_arguments(
    run: Run, store: Store, program: AddProgram, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is given a private page that leads there, and that goes with the token."""
    browser = program("browser", 'echo "$@" >"$0.calls"')
    monkeypatch.setenv("BROWSER", f"{browser} %s")
    session = Session(job=Job("local-1", "local"))
    ready = READY.replace('"hpc"', '"local"').replace('"7"', '"local-1"')
    running(store, session, ready)
    with subprocess.Popen(["sleep", "30"], env={"SLURM_NB_SESSION": "local/local-1"}) as job:
        said = run("open", "local-1")
        job.kill()
    page = store.session_folder("local", "local-1") / "open.html"

    assert said.code == 0, said
    assert Path(f"{browser}.calls").read_text().strip() == page.as_uri()
    assert f"http://127.0.0.1:40123/tree?token={TOKEN}" in page.read_text()
    assert page.stat().st_mode & 0o777 == 0o600
    settle(store, session, JobState(Phase.ENDED, "ENDED"))
    assert not page.exists()


# --- again ---


def options(store: Store, job_id: str = "7") -> tuple[str, ...]:
    return store.load(job_id).options


@pytest.mark.usefixtures("slurm")
def test_again_repeats_a_session_with_changes(run: Run, store: Store) -> None:
    """Everything that is not given anew is as it was, also lists and what is for sbatch."""
    before = ["--mem", "4G", "--module", "a", "--module", "b", "--tls", "--route", "direct"]
    run("submit", "--no-wait", "-t", "90", "-J", "fit", *before, "--", "--exclusive")
    first = options(store)

    run("submit", "--no-wait", "--again", "7", "--mem", "8G", "--module", "c")

    assert first == (
        "--job-name=fit", "--time=90", "--mem=4G", "--ui=notebook", "--listen=port",
        "--route=direct", "--tls", "--auth=token", "--no-allow-debugger",
        f"--notebook-dir={Path.cwd()}", "--module=a", "--module=b", "--idle-timeout=60",
        "--", "--exclusive",
    )  # fmt: skip
    assert options(store) == (
        "--job-name=fit", "--time=90", "--mem=8G", "--ui=notebook", "--listen=port",
        "--route=direct", "--tls", "--auth=token", "--no-allow-debugger",
        f"--notebook-dir={Path.cwd()}", "--module=c", "--idle-timeout=60", "--", "--exclusive",
    )  # fmt: skip


@pytest.mark.usefixtures("slurm")
def test_again_can_be_told_otherwise(run: Run, store: Store) -> None:
    """A switch by its opposite, sbatch's words by others, and the name names the session."""
    run("submit", "--no-wait", "-J", "fit", "--tls", "--route", "direct", "--", "--exclusive")

    run("submit", "--no-wait", "--again", "fit", "--no-tls", "--", "--nice=5")

    assert options(store)[-2:] == ("--", "--nice=5")
    assert "--tls" not in options(store)


@pytest.mark.usefixtures("slurm")
def test_again_does_not_fall_back_to_what_a_file_says(
    run: Run, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A flag that had won over a file wins again, though its value is slurm-nb's own default."""
    own = tmp_path / "slurm-nb" / "config.toml"
    own.parent.mkdir()
    own.write_text(
        'allow-debugger = true\nlisten = "socket"\nidle-timeout = "0"\n', encoding="utf-8"
    )
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    flags = ["--no-allow-debugger", "--listen", "port", "--idle-timeout", "60"]
    run("submit", "--no-wait", *flags)
    first = options(store)

    run("submit", "--no-wait", "--again", "7")

    assert options(store) == first
    assert {"--no-allow-debugger", "--listen=port", "--idle-timeout=60"} <= {*first}


@pytest.mark.usefixtures("slurm")
def test_again_keeps_how_the_laptop_comes_in(run: Run, store: Store) -> None:
    """The login host and the local port that the user named, but not an address found out."""
    run("submit", "--no-wait", "--login-host", "login.hpc.edu:2222", "--local-port", "9999")
    run("submit", "--no-wait", "--again", "7", "-t", "90")
    again = store.load("7")
    run("submit", "--no-wait")

    assert (again.login_host, again.local_port) == ("login.hpc.edu:2222", 9999)
    assert not any(word.startswith("--lo") for word in options(store))


@pytest.mark.usefixtures("slurm")
def test_again_of_nothing_is_an_error(run: Run, store: Store) -> None:
    """A session that is not there, or whose options nobody knows."""
    store.save(Session(job=Job("5", "hpc")))

    unknown, bare = run("submit", "--again", "4"), run("submit", "--again", "5")

    assert (unknown.code, bare.code) == (1, 1)
    assert "job 4 was not started by slurm-nb" in unknown.err
    assert "--again 5: how that job was submitted is not known" in bare.err


@pytest.mark.usefixtures("slurm")
def test_again_stays_within_the_sites_rules(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lock that came since is not passed by an old session's options."""
    run("submit", "--no-wait", "--listen", "socket")
    site = tmp_path / "site.toml"
    site.write_text('listen = "port"\nlocked = ["listen"]\n', encoding="utf-8")
    monkeypatch.setenv("SLURM_NB_SITE_CONFIG", str(site))

    said = run("submit", "--no-wait", "--again", "7")

    assert said.code == 1
    assert "listen is locked to port" in said.err


# --- notify ---


@pytest.mark.usefixtures("slurm")
def test_the_bell_rings_and_the_title_is_set_on_a_terminal(store: Store) -> None:
    """With --notify, when it is ready, on stderr; never where that is no terminal."""
    running(store, NAMED)
    shown_there, code = on_terminal(store, "wait", "7", "--notify")
    plain, _ = on_terminal(store, "wait", "7")

    assert code == 0
    assert b"\x1b]0;slurm-nb: job 7 is ready\x07\a" in shown_there
    assert b"\a" not in plain


@pytest.mark.usefixtures("slurm")
def test_no_bell_in_a_file(run: Run, store: Store) -> None:
    """A log of a batch job holds no control characters."""
    running(store, NAMED)

    assert "\a" not in run("wait", "7", "--notify").err


def on_terminal(store: Store, *words: str) -> tuple[bytes, int]:
    """What slurm-nb shows on a terminal, and its exit code."""
    master, slave = os.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "slurm_nb", *words],
        env={**os.environ, "SLURM_NB_HOME": str(store.folder)},
        stdin=slave,
        stdout=slave,
        stderr=slave,
    )
    os.close(slave)
    seen: list[bytes] = []

    def read() -> None:
        try:
            while more := os.read(master, 65536):
                seen.append(more)
        except OSError:  # EIO: it has ended
            return

    reader = threading.Thread(target=read)
    reader.start()
    code = process.wait(30)
    reader.join(10)
    os.close(master)
    return b"".join(seen), code
