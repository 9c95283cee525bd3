"""slurm-nb reads Slurm's answers carefully, and gives sbatch one script for one job."""

from __future__ import annotations

import inspect
import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import requires, version
from pathlib import Path

import pytest
from submitit.slurm.slurm import SlurmExecutor

from slurm_nb.errors import SchedulerError, SubmissionUnknown
from slurm_nb.files import user_name
from slurm_nb.job.spec import JobSpec
from slurm_nb.scheduler import slurm
from slurm_nb.scheduler.job import Job, JobState, Phase
from slurm_nb.scheduler.parse import (
    PHASES,
    parse_place,
    parse_sacct,
    parse_scontrol,
    parse_squeue,
    unreadable_line,
)
from slurm_nb.scheduler.run import Result
from slurm_nb.scheduler.slurm import Slurm
from slurm_nb.session.store import Store
from tests.conftest import AddProgram, recorded, recorded_json
from tests.fakes import squeue_row

SCRIPT = "#!/bin/bash\n#SBATCH --time=5\necho é\n"
SEVEN = Job("7", "hpc")
EIGHT = Job("8", "hpc")
SLURM = Slurm(Store(Path("/nonexistent")))
SAID = {command: Result(code, out, err) for command, code, out, err in recorded_json("answers.txt")}
GONE = SAID["squeue -j 99999"]
NO_ACCOUNTING = SAID["sacct -j 166"]
HERE = Result(0, "ClusterName             = hpc\n", "")
FROZEN = SAID["sbatch --wrap=true (controller frozen)"]


ME = user_name()
JOB_SCRIPT = "/home/alice/state/jobs/.submission_file_1.sh"


def row(job_id: str, word: str, end: str = "N/A", reason: str = "None", **of: str) -> str:
    """Return a line of squeue, by default about a job that runs JOB_SCRIPT."""
    return squeue_row(job_id, word, end, reason, **{"script": JOB_SCRIPT, **of}) + "\n"


def as_asked(line: str) -> str:
    """Convert a recorded `%i|%T|%r|%N|%e|%S` into the columns that slurm-nb requests."""
    job_id, word, reason, node, end, start = line.split("|")
    return row(job_id, word, end, reason, node=node or "n/a", start=start)


# --- answers of Slurm's commands ---


@pytest.mark.parametrize("line", recorded("squeue.txt"))
def test_every_recorded_line_of_squeue_can_be_read(line: str) -> None:
    """State, reason, node and times are kept; `None` and `N/A` become None."""
    job_id, word, reason, node, end, start = line.split("|")

    states = parse_squeue(as_asked(line))

    assert states == {
        job_id: JobState(
            PHASES[word],
            word,
            "" if reason == "None" else reason,
            script=JOB_SCRIPT,
            user=ME,
            node=node or None,
            end_time=None if end == "N/A" else end,
            start_time=None if start == "N/A" else start,
        )
    }


def test_many_lines_of_squeue_can_be_read() -> None:
    """One answer has many jobs; the first line about a job decides."""
    text = "".join(map(as_asked, reversed(recorded("squeue.txt"))))

    states = parse_squeue(text)

    assert {job_id: state.phase for job_id, state in states.items()} == {
        "157": Phase.ENDED,
        "158": Phase.PENDING,
        "160": Phase.PENDING,
        "161": Phase.PENDING,
        "162": Phase.ENDED,
        "163": Phase.ENDED,
        "164": Phase.ENDED,
        "165": Phase.ENDED,
        "166": Phase.ENDED,
    }


def test_squeue_output_truncated_anywhere_does_no_harm() -> None:
    """Half an answer never means an end: a truncated line is unknown or left out."""
    whole = as_asked("162|RUNNING|None|c1|2026-11-23T22:50:00|2026-11-23T22:45:00")

    for length in range(len(whole)):
        for state in parse_squeue(whole[:length]).values():
            assert state.phase in {Phase.RUNNING, Phase.UNKNOWN}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n\n",
        "slurm_load_jobs error: Invalid job id specified\n",
        "|||\n",
        row("x", "RUNNING"),
        row("\uff17", "RUNNING"),
        row("7_1", "RUNNING"),
        row("-7", "RUNNING"),
        "7|alice|RUNNING\n",
        "7|RUNNING|N/A|None\n",
        "7\n",
        "\0\x1b[2J\n",
    ],
)
def test_other_text_is_not_a_job(text: str) -> None:
    """Only a whole line with a job id says something about a job."""
    assert parse_squeue(text) == {}


def test_a_reason_may_contain_anything() -> None:
    """Admins write reasons with bars and blanks; the script still identifies the job."""
    state = parse_squeue(row("7", "PENDING", reason="(a|b) c"))["7"]

    assert (state.reason, state.script) == ("(a|b) c", JOB_SCRIPT)


def test_a_path_cannot_forge_a_line() -> None:
    """Slurm prints newlines in a script's path, so the owner of a reused id could claim ours."""
    forged = row("7", "RUNNING", node="c1")
    theirs = row("7", "RUNNING", user="mallory", script=f"/home/mallory/x\n{forged}".rstrip())

    assert parse_squeue(theirs)["7"].user == "mallory"


@pytest.mark.parametrize(
    ("shown", "node"), [("c1", "c1"), ("n/a", None), ("(null)", None), ("", None)]
)
def test_only_a_real_node_is_a_node(shown: str, node: str | None) -> None:
    """A pending job has none; Slurm says so in several ways."""
    assert parse_squeue(row("7", "RUNNING", node=shown))["7"].node == node


def test_only_a_date_is_an_end_time() -> None:
    """squeue's placeholders for a missing end are not shown."""
    for end in ("N/A", "NONE", "Unknown", ""):
        assert parse_squeue(row("7", "RUNNING", end))["7"].end_time is None


@pytest.mark.parametrize(
    ("word", "phase"),
    [
        ("PENDING", Phase.PENDING),
        ("CONFIGURING", Phase.PENDING),
        ("REQUEUED", Phase.PENDING),
        ("REQUEUE_HOLD", Phase.PENDING),
        ("REQUEUE_FED", Phase.PENDING),
        ("RESV_DEL_HOLD", Phase.PENDING),
        ("SPECIAL_EXIT", Phase.PENDING),
        ("RUNNING", Phase.RUNNING),
        ("COMPLETING", Phase.RUNNING),
        ("SUSPENDED", Phase.RUNNING),
        ("STOPPED", Phase.RUNNING),
        ("RESIZING", Phase.RUNNING),
        ("SIGNALING", Phase.RUNNING),
        ("STAGE_OUT", Phase.RUNNING),
        ("COMPLETED", Phase.ENDED),
        ("CANCELLED", Phase.ENDED),
        ("FAILED", Phase.ENDED),
        ("TIMEOUT", Phase.ENDED),
        ("NODE_FAIL", Phase.ENDED),
        ("PREEMPTED", Phase.ENDED),
        ("BOOT_FAIL", Phase.ENDED),
        ("DEADLINE", Phase.ENDED),
        ("OUT_OF_MEMORY", Phase.ENDED),
        ("LAUNCH_FAILED", Phase.ENDED),
        ("RECONFIG_FAIL", Phase.ENDED),
        ("REVOKED", Phase.ENDED),
    ],
)
def test_every_slurm_state_has_a_phase(word: str, phase: Phase) -> None:
    """The job state codes of squeue(1) are mapped to what they mean for somebody who waits."""
    assert parse_squeue(row("7", word))["7"] == JobState(phase, word, script=JOB_SCRIPT, user=ME)
    assert parse_sacct(f"7|{word}\n")["7"] == JobState(phase, word)


def test_an_unknown_state_is_not_an_end() -> None:
    """Slurm's next release may have new states; they are kept as they are."""
    state = parse_squeue(row("7", "HIBERNATING"))["7"]

    assert (state.phase, state.slurm_state) == (Phase.UNKNOWN, "HIBERNATING")


@pytest.mark.parametrize("word", ["running", "", "RUNNING ", "\x1b[2J", "\x1b[32mRUNNING"])
def test_a_malformed_state_makes_the_line_unreadable(word: str) -> None:
    """Colours and blanks come from a wrapper, which may also have left out a job."""
    assert parse_squeue(row("7", word)) == {}
    assert unreadable_line(row("7", word)) is not None


@pytest.mark.parametrize(
    ("text", "state"),
    [
        ("7|COMPLETED\n", JobState(Phase.ENDED, "COMPLETED")),
        ("7|CANCELLED by 1000|0:15\n", JobState(
            Phase.ENDED, "CANCELLED", exit_code="0:15", by_uid=1000)),
        ("7|CANCELLED by 1000\n", JobState(Phase.ENDED, "CANCELLED", by_uid=1000)),
        ("7|CANCELLED by root|\n", JobState(Phase.ENDED, "CANCELLED")),
        ("7|FAILED|3:0\n", JobState(Phase.ENDED, "FAILED", exit_code="3:0")),
        ("7|FAILED|0:9|c1|2026-11-23T12:00:00\n", JobState(
            Phase.ENDED, "FAILED", node="c1", start_time="2026-11-23T12:00:00", exit_code="0:9")),
        ("7|CANCELLED by 0|0:0|None assigned|None\n", JobState(
            Phase.ENDED, "CANCELLED", exit_code="0:0", by_uid=0)),
        ("7|COMPLETED|0:0|c[1-2]|Unknown\n", JobState(Phase.ENDED, "COMPLETED", exit_code="0:0")),
        ("7|OUT_OF_MEMORY\n8|FAILED\n", JobState(Phase.ENDED, "OUT_OF_MEMORY")),
        ("7|HIBERNATING\n", JobState(Phase.UNKNOWN, "HIBERNATING")),
    ],
)  # fmt: skip
def test_sacct_output_can_be_read(text: str, state: JobState) -> None:
    """The first word of sacct's state is the state."""
    assert parse_sacct(text)["7"] == state


@pytest.mark.parametrize(
    "text", ["", "\n", "7\n", "7|\n", "7.batch|FAILED\n", "|FAILED\n", "x|y|z"]
)
def test_other_sacct_output_is_not_a_job(text: str) -> None:
    """A job's steps and truncated lines say nothing about the job."""
    assert parse_sacct(text) == {}


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("9\n7\n8\n", (2, 3)),
        ("7\n", (1, 1)),
        ("9_[1-5]\n 7 \n", (2, 2)),
        ("9\n17\n", None),
        ("", None),
        ("slurm_load_jobs error: ...\n", None),
    ],
)
def test_the_place_in_the_queue_is_found(text: str, place: tuple[int, int] | None) -> None:
    """squeue lists the pending jobs by priority; a job that is not in the list has no place."""
    assert parse_place(text, "7") == place


# --- states ---


class Answers:
    """Slurm's commands: each returns an answer or an error, and the calls are recorded."""

    def __init__(self, **by_program: Result | SchedulerError) -> None:
        self.by_program = by_program
        self.asked: list[list[str]] = []

    def __call__(self, argv: list[str], **_: object) -> Result:
        self.asked.append(argv)
        answer = self.by_program[argv[0]]
        if isinstance(answer, SchedulerError):
            raise answer
        return answer


GiveAnswers = Callable[..., Answers]


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> GiveAnswers:
    def give(**by_program: Result | SchedulerError) -> Answers:
        given = Answers(**{"scontrol": HERE, **by_program})
        monkeypatch.setattr(slurm, "run", given)
        monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
        return given

    return give


def test_one_query_covers_all_jobs(answers: GiveAnswers) -> None:
    """One squeue call is enough, and sacct does not run."""
    given = answers(squeue=Result(0, row("7", "RUNNING") + row("8", "PENDING"), ""))

    states = SLURM.states([SEVEN, EIGHT])

    assert [state.slurm_state for state in states.values()] == ["RUNNING", "PENDING"]
    assert len(given.asked) == 1
    assert "--me" in given.asked[0]


def test_another_cluster_is_queried_by_name(answers: GiveAnswers) -> None:
    """A job on another cluster of the federation is looked up there."""
    given = answers(squeue=Result(0, row("7", "RUNNING") + row("8", "RUNNING"), ""))
    there = Job("8", "big", needs_cluster_option=True)

    SLURM.states([SEVEN])
    SLURM.states([there])

    assert [("-M" in argv, "big" in argv) for argv in given.asked] == [(False, False), (True, True)]


def test_a_job_unknown_to_squeue_is_in_accounting(answers: GiveAnswers) -> None:
    """sacct says how it ended."""
    answers(squeue=GONE, sacct=Result(0, "7|TIMEOUT\n", ""))

    assert SLURM.states([SEVEN]) == {"7": JobState(Phase.ENDED, "TIMEOUT")}


def test_accounting_is_queried_only_for_jobs_that_squeue_does_not_show(
    answers: GiveAnswers,
) -> None:
    """squeue leaves unknown ids out of a list (seen on 22.05)."""
    given = answers(squeue=Result(0, row("8", "RUNNING"), ""), sacct=Result(0, "7|COMPLETED\n", ""))

    states = SLURM.states([SEVEN, EIGHT])

    assert states["7"].phase is Phase.ENDED
    assert states["8"].phase is Phase.RUNNING
    assert given.asked[1][-1] == "7"


def test_one_query_finds_how_jobs_ended(answers: GiveAnswers) -> None:
    """sacct runs once, for jobs that squeue no longer knows and for ended ones without a cause."""
    given = answers(
        squeue=Result(0, row("7", "CANCELLED") + row("8", "FAILED") + row("9", "RUNNING"), ""),
        sacct=Result(0, "7|CANCELLED by 0|0:15\n10|TIMEOUT|0:0\n", ""),
    )
    sessions = [Job(each, "hpc") for each in ("7", "8", "9", "10", "11")]

    states = SLURM.states(sessions, unexplained={"7", "9", "10", "11"})

    assert [argv[0] for argv in given.asked][:2] == ["squeue", "sacct"]
    assert given.asked[1][-1] == "7,10,11"
    assert [states[each.job_id].slurm_state for each in sessions] == [
        "CANCELLED", "FAILED", "RUNNING", "TIMEOUT", "UNKNOWN"
    ]  # fmt: skip
    assert states["11"].missing
    assert (states["7"].by_uid, states["7"].exit_code) == (0, "0:15")


def test_an_outdated_answer_of_accounting_adds_nothing(answers: GiveAnswers) -> None:
    """The database may still show a job as running after squeue has seen it end."""
    answers(squeue=Result(0, row("7", "FAILED"), ""), sacct=Result(0, "7|RUNNING|0:0\n", ""))

    state = SLURM.states([SEVEN], unexplained={"7"})["7"]

    assert (state.slurm_state, state.exit_code) == ("FAILED", None)


def test_accounting_is_not_queried_twice_for_an_unknown_job(answers: GiveAnswers) -> None:
    """The query for the state has already covered it."""
    given = answers(squeue=GONE, sacct=Result(0, "", ""))
    states = SLURM.states([SEVEN])

    assert SLURM.how_ended(states, SEVEN) == states
    assert [argv[0] for argv in given.asked].count("sacct") == 1


REUSED = "7 is the id of another job now"


@pytest.mark.parametrize("word", ["RUNNING", "PENDING", "COMPLETED"])
def test_a_job_of_another_user_is_not_the_session(answers: GiveAnswers, word: str) -> None:
    """Slurm reuses job ids, and its new owner's job must not receive the token."""
    said = SHOWN.format(user="mallory", word=word, script="/x.sh")
    squeue = Result(0, row("7", word, user="mallory"), "")
    answers(squeue=squeue, sacct=NO_ACCOUNTING, scontrol=Result(0, f"{said}{HERE.stdout}", ""))
    confirmed = SLURM.states([SEVEN])["7"]
    answers(squeue=squeue, sacct=NO_ACCOUNTING)
    alone = SLURM.states([SEVEN])["7"]

    assert confirmed == JobState(Phase.ENDED, "ENDED", REUSED, id_reused=True)
    assert (alone.phase, alone.missing, alone.id_reused) == (Phase.UNKNOWN, True, True)


@pytest.mark.parametrize(
    "script", ["/home/alice/other.sh", "", "(null)", JOB_SCRIPT + "x", "/x" + JOB_SCRIPT]
)
def test_a_job_with_another_script_is_not_the_session(answers: GiveAnswers, script: str) -> None:
    """The user's own later job with the same id is not the session either."""
    squeue = Result(0, row("7", "RUNNING", script=script), "")
    answers(squeue=squeue, sacct=NO_ACCOUNTING)

    state = SLURM.states([replace(SEVEN, script=JOB_SCRIPT)])["7"]

    assert (state.phase, state.missing, state.id_reused) == (Phase.UNKNOWN, True, True)
    assert state.reason == REUSED


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        (JOB_SCRIPT, "None"),
        ("/home/a b/é/x.sh", "None"),
        ("/home/a|b/x.sh", "None"),
        (JOB_SCRIPT, "(a|b) c"),
    ],
)
def test_a_job_with_the_same_script_is_the_session(
    answers: GiveAnswers, script: str, reason: str
) -> None:
    """A running job is never considered over, with any characters in path or reason."""
    answers(squeue=Result(0, row("7", "RUNNING", reason=reason, script=script), ""))

    assert SLURM.states([replace(SEVEN, script=script)])["7"].phase is Phase.RUNNING


def test_without_a_script_the_user_identifies_the_session(answers: GiveAnswers) -> None:
    """A script that the user submitted with sbatch has no path on record."""
    answers(squeue=Result(0, row("7", "RUNNING"), ""))

    assert SLURM.states([SEVEN])["7"].phase is Phase.RUNNING


def test_the_user_name_is_never_truncated(answers: GiveAnswers) -> None:
    """squeue's columns have no width, so that two long names cannot look the same."""
    given = answers(squeue=Result(0, row("7", "RUNNING"), ""))

    SLURM.states([SEVEN])

    assert given.asked[0][-1] == "%i|%u|%T|%e|%S|%B|%r|%o"


@pytest.mark.parametrize(
    "accounting",
    [NO_ACCOUNTING, Result(0, "", ""), SchedulerError("sacct is not on PATH")],
    ids=["disabled", "empty", "missing"],
)
def test_a_job_that_nothing_shows_is_missing_and_not_over(
    answers: GiveAnswers, accounting: Result | SchedulerError
) -> None:
    """Wrappers, caches and modules hide running jobs, and an empty answer denies nothing."""
    answers(squeue=GONE, sacct=accounting)

    state = SLURM.states([SEVEN])["7"]

    assert (state.phase, state.missing, state.denied) == (Phase.UNKNOWN, True, False)
    assert state.reason == "Slurm does not show job 7"


@pytest.mark.parametrize(
    ("config", "denied"),
    [
        (HERE, True),
        (Result(1, "", "slurm_load_jobs error: Invalid job id specified"), False),
        (Result(0, "", ""), False),
        (SchedulerError("scontrol did not answer within 25 s"), False),
    ],
    ids=["the job's", "says so to everything", "silent", "hangs"],
)
def test_the_controller_of_the_jobs_cluster_can_deny_a_job(
    monkeypatch: pytest.MonkeyPatch, config: Result | SchedulerError, *, denied: bool
) -> None:
    """scontrol's "Invalid job id" proves something if it comes from the right cluster."""

    def run(argv: list[str], **_: object) -> Result:
        if argv[:2] != ["scontrol", "show"] or argv[2] == "job":
            return GONE
        if isinstance(config, SchedulerError):
            raise config
        return config

    monkeypatch.setattr(slurm, "run", run)
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")

    state = SLURM.states([SEVEN])["7"]

    assert (state.phase, state.missing, state.denied) == (Phase.UNKNOWN, True, denied)


SHOWN = """JobId=7 JobName=x JobState=FAILED
   UserId={user}(1000) GroupId=alice(1000) MCS_label=N/A
   Priority=4294901752 Nice=0 Account=(null) QOS=(null)
   JobState={word} Reason=None Dependency=(null)
   Requeue=1 Restarts=0 BatchFlag=1 Reboot=0 ExitCode=0:0
   StartTime=2026-11-23T12:00:00 EndTime=2026-11-23T14:00:00 Deadline=N/A
   BatchHost=c1
   Command={script}
   WorkDir=/home/alice
"""


@pytest.mark.parametrize("jobs", [GONE, Result(0, "", ""), Result(0, "\x1b[32mWelcome\n", "")])
def test_scontrol_shows_a_job_that_squeue_hides(answers: GiveAnswers, jobs: Result) -> None:
    """A wrapper around squeue does not hide a running job, or how one ended."""
    said = SHOWN.format(user=ME, word="RUNNING", script=JOB_SCRIPT)
    answers(squeue=jobs, sacct=NO_ACCOUNTING, scontrol=Result(0, f"{said}ClusterName = hpc\n", ""))

    state = SLURM.states([replace(SEVEN, script=JOB_SCRIPT)])["7"]

    assert state == JobState(
        Phase.RUNNING, "RUNNING", script=JOB_SCRIPT, user=ME, node="c1",
        end_time="2026-11-23T14:00:00", start_time="2026-11-23T12:00:00",
    )  # fmt: skip


def test_a_job_that_scontrol_shows_with_another_script_is_another_job() -> None:
    """Its id has been reused; a truncated answer of scontrol says nothing."""
    said = SHOWN.format(user="mallory", word="RUNNING", script="/x.sh")
    other = parse_scontrol(said, "7")

    assert other
    assert (other.user, other.script) == ("mallory", "/x.sh")
    assert parse_scontrol(said, "8") is None
    assert all(parse_scontrol(said[:length], "7") is None for length in range(said.index("/x.sh")))


@pytest.mark.parametrize(
    "failure",
    [
        FROZEN,
        SAID["sbatch --wrap=true (controller stopped)"],
        SchedulerError("squeue did not answer within 25 s"),
        SchedulerError("squeue is not on PATH"),
    ],
    ids=["frozen", "stopped", "timeout", "missing"],
)
def test_without_an_answer_from_slurm_no_session_ends(
    answers: GiveAnswers, failure: Result | SchedulerError
) -> None:
    """If squeue fails, the state is unknown, and the reason has squeue's message."""
    given = answers(squeue=failure)

    state = SLURM.states([SEVEN, EIGHT])["8"]

    assert state.phase is Phase.UNKNOWN
    assert state.reason
    assert [argv[0] for argv in given.asked] == ["squeue"]


@pytest.mark.parametrize(
    "failure",
    [Result(1, "", ""), Result(127, "", "squeue: error while loading shared libraries")],
    ids=["silent", "broken"],
)
def test_if_squeue_is_broken_the_other_commands_are_queried(
    answers: GiveAnswers, failure: Result
) -> None:
    """Accounting and the controller may answer; if neither does, the state is unknown."""
    given = answers(squeue=failure, sacct=Result(0, "7|TIMEOUT|0:0\n", ""))

    states = SLURM.states([SEVEN, EIGHT])

    assert (states["7"].slurm_state, states["8"].phase) == ("TIMEOUT", Phase.UNKNOWN)
    assert [argv[0] for argv in given.asked] == ["squeue", "sacct", "scontrol"]


@pytest.mark.parametrize("jobs", [GONE, Result(0, "7|mallory|RUNNING|N/A|N/A|c1|None|/x.sh\n", "")])
def test_another_cluster_ends_no_session(answers: GiveAnswers, jobs: Result) -> None:
    """If a module has set SLURM_CONF, the answer may come from another cluster."""
    answers(squeue=jobs, sacct=NO_ACCOUNTING, scontrol=Result(0, "ClusterName = other\n", ""))

    state = SLURM.states([SEVEN])["7"]

    assert state.phase is Phase.UNKNOWN
    assert "are for the cluster other, but the session is on hpc" in state.reason


@pytest.mark.parametrize("strange", ["Welcome!\n", "\x00\xff\n", "7|alice|RUN\n"])
def test_an_unreadable_answer_ends_no_session(answers: GiveAnswers, strange: str) -> None:
    """The unreadable line may be the job's; only accounting can then say that it is over."""
    answers(squeue=Result(0, strange + row("8", "RUNNING"), ""), sacct=NO_ACCOUNTING)

    states = SLURM.states([SEVEN, EIGHT])

    assert states["7"].phase is Phase.UNKNOWN
    assert "cannot parse the output of squeue: " in states["7"].reason
    assert states["8"].phase is Phase.RUNNING


def test_text_above_an_answer_does_not_matter(answers: GiveAnswers) -> None:
    """It is a site's greeting, and every requested job is in the answer."""
    answers(squeue=Result(0, "Welcome!\n" + row("7", "RUNNING"), ""))

    assert SLURM.states([SEVEN])["7"].phase is Phase.RUNNING


def test_without_sessions_nothing_is_queried(answers: GiveAnswers) -> None:
    """An empty `squeue -j` would list everybody's jobs."""
    given = answers()

    assert SLURM.states([]) == {}
    assert given.asked == []


@pytest.mark.parametrize(
    "answer",
    [SAID["scancel 99999"], SAID["scancel 166 (ended)"], GONE],
    ids=["unknown", "ended", "invalid id"],
)
def test_cancelling_an_ended_job_is_not_an_error(answers: GiveAnswers, answer: Result) -> None:
    """It is already gone."""
    given = answers(scancel=answer)

    SLURM.cancel(SEVEN)

    assert given.asked == [["scancel", "7"]]


def test_a_refused_cancel_is_reported(answers: GiveAnswers) -> None:
    """The error has Slurm's message and says how to try again."""
    answers(scancel=SAID["scancel 167 (somebody else's)"])

    with pytest.raises(SchedulerError, match="Access/permission denied") as caught:
        SLURM.cancel(SEVEN)

    assert "slurm-nb cancel 7" in caught.value.hint


# --- submission ---


@pytest.fixture
def cluster(program: AddProgram, monkeypatch: pytest.MonkeyPatch) -> AddProgram:
    """A Slurm of shell scripts: its cluster is called hpc, and it knows no jobs."""
    program("scontrol", "printf 'ClusterName             = hpc\\n'")
    program("squeue", "exit 0")
    program("sacct", "exit 1")
    monkeypatch.setattr(time, "sleep", lambda _seconds: None)
    return program


def submitted(store: Store, spec: JobSpec) -> Job:
    """Submit as the command does, and search for a job if its answer was lost."""
    try:
        return Slurm(store).submit(
            SCRIPT,
            spec,
            cluster=SLURM.cluster(),
            before=lambda _script: None,
            tell=lambda _lines: None,
        )
    except SubmissionUnknown as lost:
        return SLURM.recover(lost, cluster="hpc")


def kept_files(store: Store) -> list[str]:
    return sorted(path.name for path in (store.folder / "jobs").iterdir())


@pytest.mark.parametrize(
    ("answer", "job"),
    [
        ("4711", Job("4711", "hpc")),
        ("4711;hpc", Job("4711", "hpc")),
        ("4711;big", Job("4711", "big", needs_cluster_option=True)),
        ("Welcome to 2026!\\nYour budget: 5 h\\n4711", Job("4711", "hpc")),
        ("4711\\nGoodbye!", Job("4711", "hpc")),
        ("job 99 is old news\\n\\n4711;big-1.x\\n", Job(
            "4711", "big-1.x", needs_cluster_option=True)),
    ],
)  # fmt: skip
def test_the_answer_of_sbatch_is_the_job(
    cluster: AddProgram, store: Store, spec: JobSpec, answer: str, job: Job
) -> None:
    """Its last line has the job's id and perhaps its cluster; a site may print more before it."""
    cluster("sbatch", f"printf '%b\\n' '{answer}'")

    found = submitted(store, spec)

    assert replace(found, script=None) == job
    assert re.fullmatch(rf"{store.folder}/jobs/[\w.]+\.sh", str(found.script))


def test_the_script_is_submitted_unchanged_and_kept(
    cluster: AddProgram, store: Store, spec: JobSpec, tmp_path: Path
) -> None:
    """sbatch reads exactly the rendered text, from a file that only the user can read."""
    cluster(
        "sbatch",
        f'printf "%s\\0" "$@" >"{tmp_path}/argv"; cat "${{@: -1}}" >"{tmp_path}/seen";'
        f' stat -L -c %a "${{@: -1}}" >"{tmp_path}/mode"; echo 7',
    )

    submitted(store, spec)

    options, path, _ = (tmp_path / "argv").read_text(encoding="utf-8").split("\0")
    assert options == "--parsable"
    assert path.startswith(f"{store.folder}/jobs/")
    assert (tmp_path / "seen").read_text(encoding="utf-8") == SCRIPT
    assert (tmp_path / "mode").read_text(encoding="utf-8") == "600\n"
    assert store.script_path("7").read_text(encoding="utf-8") == SCRIPT
    assert store.script_path("7").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    "refusal", [Result(code, "", words) for _, code, words in recorded_json("sbatch-refusals.txt")]
)
def test_a_rejection_is_reported_once(
    cluster: AddProgram,
    store: Store,
    spec: JobSpec,
    capfd: pytest.CaptureFixture[str],
    refusal: Result,
) -> None:
    """sbatch's message becomes one error, without any output or file. If a site has written several
    lines, they stay lines.
    """
    said = cluster("sbatch", f'cat "$0.words" >&2; exit {refusal.exit_code}')
    said.with_name("sbatch.words").write_text(refusal.stderr, encoding="utf-8")

    with pytest.raises(SchedulerError) as caught:
        submitted(store, spec)

    message = str(caught.value)
    lines = refusal.stderr.splitlines()
    assert len(message.splitlines()) == (1 if len(lines) == 1 else len(lines) + 1)
    assert all(message.count(line) == 1 for line in refusal.stderr.splitlines())
    assert caught.value.exit_code == 3
    assert capfd.readouterr() == ("", "")
    assert kept_files(store) == []


def test_the_output_of_sbatch_goes_to_a_private_directory(
    cluster: AddProgram,
    store: Store,
    spec: JobSpec,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In TMPDIR, another user may be able to replace the directory, and to link to your files."""
    (tmp_path / "scratch").mkdir(mode=0o777)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "scratch"))
    cluster(
        "sbatch",
        f'readlink -f /proc/$$/fd/1 >"{tmp_path}/heard"; '
        f'stat -c %a "$(dirname "$(cat {tmp_path}/heard)")" >"{tmp_path}/mode"; echo 7',
    )

    submitted(store, spec)

    heard = Path((tmp_path / "heard").read_text(encoding="utf-8").strip())
    assert heard.parents[1] == store.folder / "jobs"
    assert (tmp_path / "mode").read_text(encoding="utf-8") == "700\n"
    assert not heard.parent.exists()
    assert list((tmp_path / "scratch").iterdir()) == []


def test_messages_appear_while_sbatch_retries(
    cluster: AddProgram, store: Store, spec: JobSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At MaxJobCount sbatch retries for two minutes; in the end there is no job."""
    monkeypatch.setattr("slurm_nb.scheduler.sbatch._TELL_AFTER_S", 0.05)
    retry = "sbatch: error: Slurm temporarily unable to accept job, sleeping and retrying"
    said = cluster(
        "sbatch",
        f'echo "{retry}" >&2; until [ -e "$0.told" ]; do sleep 0.1; done\n'
        "echo 'sbatch: error: Batch job submission failed: Resource temporarily unavailable' >&2\n"
        "exit 1",
    )
    heard: list[str] = []

    def hear(line: str) -> None:
        heard.append(line)
        said.with_name("sbatch.told").touch()

    with pytest.raises(SchedulerError, match="sbatch rejected the job") as caught:
        Slurm(store).submit(
            SCRIPT, spec, cluster="hpc", before=lambda _: None, tell=lambda _: None, say=hear
        )

    assert not isinstance(caught.value, SubmissionUnknown)
    assert heard[0] == retry
    assert kept_files(store) == []


def test_a_node_has_other_names(program: AddProgram) -> None:
    """A resolver may not know NodeName."""
    shown = "NodeName=nid001 Arch=x86_64 NodeAddr=10.1.0.1 NodeHostName=n01 Version=22.05.8"
    program("scontrol", f'[ "$*" = "-o show node nid001" ] && echo "{shown}"')

    assert SLURM.hosts_of(SEVEN, "nid001") == ["10.1.0.1", "n01"]
    program("scontrol", "exit 1")
    assert SLURM.hosts_of(SEVEN, "nid001") == []


def test_a_job_is_found_if_the_answer_of_sbatch_was_lost(
    cluster: AddProgram, store: Store, spec: JobSpec, tmp_path: Path
) -> None:
    """The path of its script identifies it."""
    cluster(
        "sbatch",
        f'echo "${{@: -1}}" >"{tmp_path}/script"; echo "{FROZEN.stderr.strip()}" >&2; exit 1',
    )
    cluster(
        "squeue",
        f'echo "3|/somebody/elses.sh"; echo "42|$(cat "{tmp_path}/script")"; echo "44|"',
    )

    assert submitted(store, spec).job_id == "42"


def test_other_output_of_sbatch_is_passed_on(
    cluster: AddProgram, store: Store, spec: JobSpec, capfd: pytest.CaptureFixture[str]
) -> None:
    """A warning on stderr, in any encoding, is returned and not printed here."""
    cluster("sbatch", r"printf '5 h left\ngr\374n\n\n' >&2; printf '\374\n7\n'")
    beside: list[str] = []

    session = Slurm(store).submit(
        SCRIPT, spec, cluster="hpc", before=lambda _script: None, tell=beside.extend
    )

    assert session.job_id == "7"
    assert beside == ["5 h left", "gr\ufffdn"]
    assert capfd.readouterr() == ("", "")


def test_no_value_of_the_environment_is_an_argument(
    cluster: AddProgram,
    store: Store,
    spec: JobSpec,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The list of processes does not show it."""
    monkeypatch.setenv("https_proxy", "http://alice:hunter2@proxy")
    cluster(
        "sbatch", f'ps -e -o args= >"{tmp_path}/seen"; echo "$https_proxy" | grep -q 2 && echo 7'
    )

    assert submitted(store, spec).job_id == "7"
    assert "sbatch --parsable" in (tmp_path / "seen").read_text(encoding="utf-8")
    assert "hunter2" not in (tmp_path / "seen").read_text(encoding="utf-8")


def test_a_lost_job_is_searched_on_its_cluster(
    cluster: AddProgram, store: Store, spec: JobSpec, tmp_path: Path
) -> None:
    """With several clusters in -M, squeue's titles say which one has the job."""
    cluster(
        "sbatch",
        f'echo "${{@: -1}}" >"{tmp_path}/script"; echo "{FROZEN.stderr.strip()}" >&2; exit 1',
    )
    cluster(
        "squeue",
        f'echo "$*" >"{tmp_path}/asked"; echo "CLUSTER: small"; echo "JOBID|COMMAND"; echo "42|x";'
        f' echo; echo "CLUSTER: big"; echo "JOBID|COMMAND"; echo "42|$(cat "{tmp_path}/script")"',
    )

    session = submitted(store, replace(spec, clusters="small,big"))

    assert (session.job_id, session.cluster, session.needs_cluster_option) == ("42", "big", True)
    assert (tmp_path / "asked").read_text(encoding="utf-8").startswith("-M small,big --me")


def test_the_hint_about_a_lost_answer_names_the_clusters(
    cluster: AddProgram, store: Store, spec: JobSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The user must search where the job was sent."""
    monkeypatch.setenv("SLURM_CLUSTERS", "big")
    cluster("sbatch", "exit 0")

    with pytest.raises(SubmissionUnknown) as caught:
        submitted(store, spec)

    assert "squeue -M big --me" in caught.value.hint


def test_a_job_found_late_can_still_be_read(
    cluster: AddProgram, store: Store, spec: JobSpec, tmp_path: Path
) -> None:
    """Slurm may list the job only later, or not respond at first."""
    cluster(
        "sbatch",
        f'echo "${{@: -1}}" >"{tmp_path}/script"; echo "{FROZEN.stderr.strip()}" >&2; exit 1',
    )
    cluster(
        "squeue",
        f'echo x >>"{tmp_path}/looks"; [ "$(wc -l <"{tmp_path}/looks")" -gt 2 ] || exit 1;'
        f' echo "42|$(cat "{tmp_path}/script")"',
    )

    assert submitted(store, spec).job_id == "42"


@pytest.mark.parametrize(
    "sbatch",
    [
        f'echo "{FROZEN.stderr.strip()}" >&2; exit 1',
        "exit 0",
        "echo Submitted batch job 7",
        "echo 7_1",
        "echo \uff17",
        "kill -KILL $$",
        "exit 124",
        "exit 137",
    ],
)
def test_a_lost_answer_comes_with_a_way_to_check(
    cluster: AddProgram,
    store: Store,
    spec: JobSpec,
    capfd: pytest.CaptureFixture[str],
    sbatch: str,
) -> None:
    """If it is unknown whether there is a job, the hint says how to find out."""
    cluster("sbatch", sbatch)

    with pytest.raises(SchedulerError) as caught:
        submitted(store, spec)

    (script,) = (store.folder / "jobs").iterdir()
    assert "squeue" in caught.value.hint
    assert str(script) in caught.value.hint
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


def test_without_sbatch_both_alternatives_are_named(
    store: Store, spec: JobSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The user can go to a login node, or run on this machine."""
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(SchedulerError, match="sbatch is not on PATH") as caught:
        submitted(store, spec)

    assert "login node" in caught.value.hint
    assert "slurm-nb submit --local" in caught.value.hint


def test_an_unreachable_slurm_gets_no_submission(
    cluster: AddProgram, store: Store, spec: JobSpec, tmp_path: Path
) -> None:
    """If the cluster does not even give its name, sbatch does not run."""
    cluster("scontrol", "echo 'Unable to contact slurm controller' >&2; exit 1")
    cluster("sbatch", f"touch '{tmp_path}/tried'; echo 7")

    with pytest.raises(SchedulerError, match="Unable to contact slurm controller"):
        submitted(store, spec)

    assert not (tmp_path / "tried").exists()


# --- environment variables for sbatch ---


@pytest.fixture
def environ_of_sbatch(
    cluster: AddProgram, store: Store, tmp_path: Path
) -> Callable[[JobSpec], dict[str, str]]:
    """Return a function that submits and returns sbatch's environment."""

    def environ(spec: JobSpec) -> dict[str, str]:
        cluster("sbatch", f"env -0 >'{tmp_path}/environ'; echo 7")
        submitted(store, spec)
        pairs = (tmp_path / "environ").read_text(encoding="utf-8").split("\0")[:-1]
        return dict(pair.split("=", 1) for pair in pairs)

    return environ


EnvironOfSbatch = Callable[[JobSpec], dict[str, str]]


def with_options(*, time: str | None = None, words: tuple[str, ...] = ()) -> JobSpec:
    return JobSpec(
        notebook_dir=Path("/home/alice"),
        python=Path("/usr/bin/python3"),
        time=time,
        sbatch_options=words,
    )


def test_a_surrounding_job_does_not_leak_into_the_new_job(
    environ_of_sbatch: EnvironOfSbatch,
    spec: JobSpec,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """A submit from inside a job passes on nothing about that job's nodes and memory."""
    for line in recorded("job-environment.txt"):
        monkeypatch.setenv(*line.split("=", 1))
    (tmp_path / "slurm.conf").touch()
    monkeypatch.setenv("SLURM_CONF", str(tmp_path / "slurm.conf"))

    environ = environ_of_sbatch(spec)

    left = {name for name in environ if name.startswith("SLURM_")}
    assert left <= {"SLURM_CONF", "SLURM_NB_HOME"}


def test_the_location_of_the_sites_config_is_passed(
    environ_of_sbatch: EnvironOfSbatch, spec: JobSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A submit from a session's terminal obeys the site's rules; other defaults stay out."""
    monkeypatch.setenv("SLURM_NB_SITE_CONFIG", "/sw/slurm-nb.toml")
    monkeypatch.setenv("SLURM_NB_SUBMIT_TIME", "5")

    environ = environ_of_sbatch(spec)

    assert environ["SLURM_NB_SITE_CONFIG"] == "/sw/slurm-nb.toml"
    assert "SLURM_NB_SUBMIT_TIME" not in environ


def test_the_choice_of_slurm_is_passed(
    environ_of_sbatch: EnvironOfSbatch,
    spec: JobSpec,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """The user's choice of a Slurm reaches sbatch; variables of the shell do not."""
    conf = tmp_path / "other.conf"
    conf.touch()
    monkeypatch.setenv("SLURM_CONF", str(conf))
    monkeypatch.setenv("SLURM_CLUSTERS", "big")
    monkeypatch.setenv("MY_OWN", "a\nb")

    environ = environ_of_sbatch(spec)

    assert environ["SLURM_CONF"] == str(conf)
    assert environ["SLURM_CLUSTERS"] == "big"
    assert "MY_OWN" not in environ
    assert os.environ["MY_OWN"] == "a\nb"


@pytest.mark.parametrize(
    "name", ["SBATCH_OUTPUT", "SBATCH_ERROR", "SBATCH_OPEN_MODE", "SBATCH_ARRAY_INX", "SBATCH_WAIT"]
)
def test_the_environment_never_changes_what_slurm_nb_must_set(
    environ_of_sbatch: EnvironOfSbatch,
    spec: JobSpec,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
) -> None:
    """A variable that overrides the script's --output would leave slurm-nb without a log."""
    monkeypatch.setenv(name, "1")

    assert name not in environ_of_sbatch(spec)


@pytest.mark.parametrize(
    ("spec", "passed"),
    [
        (with_options(), True),
        (with_options(time="5"), False),
        (with_options(words=("--time=5",)), False),
        (with_options(words=("--time", "5")), False),
        (with_options(words=("-t", "5")), False),
        (with_options(words=("-t5",)), False),
        (with_options(words=("-x", "c1")), True),
    ],
    ids=["not given", "-t", "-- --time=5", "-- --time 5", "-- -t 5", "-- -t5", "-- -x c1"],
)
def test_a_flag_overrides_the_variable_of_the_same_option(
    environ_of_sbatch: EnvironOfSbatch,
    monkeypatch: pytest.MonkeyPatch,
    spec: JobSpec,
    passed: bool,  # noqa: FBT001  a column of the table
) -> None:
    """SBATCH_TIMELIMIT applies only if the user gave no time."""
    monkeypatch.setenv("SBATCH_TIMELIMIT", "7")

    assert ("SBATCH_TIMELIMIT" in environ_of_sbatch(spec)) is passed


@pytest.mark.parametrize(
    ("field", "value", "name"),
    [
        ("account", "a", "SBATCH_ACCOUNT"),
        ("partition", "p", "SBATCH_PARTITION"),
        ("qos", "q", "SBATCH_QOS"),
        ("mem", "4G", "SBATCH_MEM_PER_NODE"),
        ("gpus", "1", "SBATCH_GPUS"),
        ("gres", "gpu:1", "SBATCH_GRES"),
        ("constraint", "ib", "SBATCH_CONSTRAINT"),
        ("reservation", "r", "SBATCH_RESERVATION"),
        ("job_name", "mine", "SBATCH_JOB_NAME"),
        ("clusters", "big", "SBATCH_CLUSTERS"),
        ("clusters", "big", "SLURM_CLUSTERS"),
    ],
)
def test_every_option_overrides_its_variable(
    environ_of_sbatch: EnvironOfSbatch,
    monkeypatch: pytest.MonkeyPatch,
    field: str,
    value: str,
    name: str,
) -> None:
    """sbatch(1) names a variable for each of slurm-nb's options."""
    monkeypatch.setenv(name, "other")
    base = with_options()
    given = JobSpec(notebook_dir=base.notebook_dir, python=base.python, **{field: value})  # type: ignore[arg-type]

    assert name in environ_of_sbatch(base)
    assert name not in environ_of_sbatch(given)


# --- the contract with submitit ---


def test_submitits_protected_methods_have_the_expected_signatures() -> None:
    """A release of submitit that changed one of them would break submission silently."""

    def parameters(name: str) -> list[str]:
        return list(inspect.signature(getattr(SlurmExecutor, name)).parameters)

    assert parameters("_submit_command") == ["self", "command"]
    assert parameters("_make_submission_file_text") == ["self", "command", "uid"]
    assert parameters("_make_submission_command") == ["self", "submission_file_path"]
    assert parameters("_get_job_id_from_submission_command") == ["string"]
    assert parameters("affinity") == []


def test_submitit_is_pinned_to_a_tested_release() -> None:
    """Protected methods are only as stable as the minor release."""
    (pin,) = [line for line in requires("slurm-nb") or [] if line.startswith("submitit")]

    assert re.search(r"<1\.6\b", pin)
    assert re.search(r">=1\.5\.", pin)
    assert version("submitit").startswith("1.5.")


def test_submitit_does_not_need_srun(
    cluster: AddProgram, store: Store, spec: JobSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some login nodes have sbatch and no srun."""
    folder = cluster("sbatch", "echo 7").parent
    for name in ("bash", "env", "timeout"):
        (folder / name).symlink_to(f"/usr/bin/{name}")
    monkeypatch.setenv("PATH", str(folder))

    assert shutil.which("srun") is None
    assert submitted(store, spec).job_id == "7"


@pytest.mark.parametrize("shown", ["4321", "nobody"])
def test_a_user_without_an_account_name_finds_the_session(
    answers: GiveAnswers, monkeypatch: pytest.MonkeyPatch, shown: str
) -> None:
    """Slurm shows a number or `nobody` for a user that the password database does not have."""
    monkeypatch.setattr("os.geteuid", lambda: 4321)
    answers(squeue=Result(0, row("7", "RUNNING", user=shown), ""))

    assert SLURM.states([SEVEN])["7"].slurm_state == "RUNNING"
