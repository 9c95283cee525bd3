"""The end of a job has a cause, evidence and a cure; each cause has a recording or a source."""

from __future__ import annotations

import json
import os
import re
import time
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from slurm_nb.diagnosis import explain as endings
from slurm_nb.diagnosis.causes import CAUSES, NAMING, rows
from slurm_nb.diagnosis.explain import explain
from slurm_nb.diagnosis.outcome import Outcome
from slurm_nb.joblog.events import Failure, Progress, Stopping
from slurm_nb.joblog.reader import JobLog
from slurm_nb.scheduler.job import JobState, Phase
from slurm_nb.scheduler.parse import PHASES, parse_sacct, parse_squeue
from tests.conftest import DATA, NONCE
from tests.scheduler.test_slurm_releases import as_asked

RECORDINGS = sorted((DATA / "endings").glob("*.txt"))
GOLDEN = Path(__file__).parents[1] / "golden/endings.txt"
FAILED = JobState(Phase.ENDED, "FAILED", "NonZeroExitCode", node="c1")
FORGOTTEN = JobState(Phase.ENDED, "ENDED", "no longer known to Slurm")
STEPD = "slurmstepd: error: *** JOB 7 ON c1 CANCELLED AT 2026-11-26T04:26:40 DUE TO TIME LIMIT ***"


@dataclass(frozen=True)
class Recording:
    """An ended job, according to Slurm's commands and its own output."""

    job_id: str
    squeue: JobState
    sacct: JobState
    progress: Progress
    tail: list[str]
    cancelled_by: str | None

    def explain(self, state: JobState) -> Outcome:
        return explain(
            self.job_id, state, self.progress, self.tail, mem="8G", time="2:00:00",
            cancelled_by=self.cancelled_by if state is not FORGOTTEN else None,
        )  # fmt: skip


def replay(path: Path, tmp_path: Path) -> Recording:
    """Read a recording with the functions that read the real answers."""
    lines = path.read_text(encoding="utf-8").splitlines()
    head, output = lines[1 : lines.index("log:")], lines[lines.index("log:") + 1 :]
    said = dict(line.split(": ", 1) for line in head)
    ((job_id, squeue),) = parse_squeue(as_asked(said["squeue"] + "\n")).items()
    log = tmp_path / "log"
    log.write_text("\n".join(output) + "\n" if output else "", encoding="utf-8")
    job_log = JobLog(log, cluster="testbed", job_id=job_id, nonce=lambda: NONCE)
    job_log.read()
    return Recording(
        job_id,
        squeue,
        parse_sacct(said["sacct"])[job_id],
        job_log.progress,
        job_log.tail(),
        "root" if said["sacct"].endswith("CANCELLED by 0") else None,
    )


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Recording]:
    """Return all recordings by file name."""
    return {path.stem: replay(path, tmp_path_factory.mktemp("log")) for path in RECORDINGS}


def test_every_recording_has_the_golden_explanation(recordings: dict[str, Recording]) -> None:
    """It has cause, sentence, evidence and cure; SLURM_NB_UPDATE_GOLDEN=1 renews it."""
    told = []
    for name, recording in recordings.items():
        ending = recording.explain(recording.squeue)
        told += [f"{name}: {ending.text}"]
        told += [f"    | {line}" for line in ending.evidence.splitlines()]
        told += [f"    {ending.cure}", ""]
    text = "\n".join(told)

    if os.environ.get("SLURM_NB_UPDATE_GOLDEN"):
        GOLDEN.write_text(text, encoding="utf-8")
    assert text == GOLDEN.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", [path.stem for path in RECORDINGS])
def test_a_recording_has_the_cause_in_its_name(name: str, recordings: dict[str, Recording]) -> None:
    """squeue's answer and, later, sacct's alone both lead to this first part of the name."""
    recording = recordings[name]
    cause = name.partition(".")[0]

    assert recording.explain(recording.squeue).cause == cause
    assert recording.explain(recording.sacct).cause == cause


@pytest.mark.parametrize("name", [path.stem for path in RECORDINGS])
def test_without_accounting_a_cause_is_right_or_unknown(
    name: str, recordings: dict[str, Recording]
) -> None:
    """The output of a job that Slurm no longer knows may show it; a missing job proves nothing."""
    cause = name.partition(".")[0].replace("cancelled-by-other", "cancelled")

    told = recordings[name].explain(FORGOTTEN)

    if told.cause != "unknown":
        assert told.cause == ("requeued" if name == "cancelled.requeued" else cause)
    else:
        assert cause in {"unknown", "boot-failed", "node-failed", "launch-failed", "deadline",
                         "revoked", "cancelled", "no-output", "killed"}  # fmt: skip


@pytest.mark.parametrize("number", range(len(CAUSES)))
def test_every_row_has_a_recording(
    number: int, recordings: dict[str, Recording], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the row, the explanation of some recording changes."""
    cases = [(each, state) for each in recordings.values() for state in (each.squeue, FORGOTTEN)]
    before = [each.explain(state) for each, state in cases]

    monkeypatch.setattr(endings, "CAUSES", CAUSES[:number] + CAUSES[number + 1 :])

    assert [each.explain(state) for each, state in cases] != before


def test_a_job_that_the_user_submitted_with_sbatch_has_no_again_in_its_cure() -> None:
    """slurm-nb does not know its options, so --again would be an error."""
    told = explain("7", JobState(Phase.ENDED, "OUT_OF_MEMORY"), Progress(), [], repeatable=False)

    assert told.cure == "request more memory: `slurm-nb submit --mem SIZE`"


def test_nodes_excluded_before_stay_excluded() -> None:
    """The cure's --exclude replaces the first one, and is quoted for bash."""
    state = JobState(Phase.ENDED, "NODE_FAIL", node="c1")

    first = explain("7", state, Progress(), [])
    second = explain("7", state, Progress(), [], exclude="c[3-5]")

    assert "`slurm-nb submit --again 7 --exclude c1`" in first.cure
    assert "`slurm-nb submit --again 7 --exclude 'c[3-5],c1'`" in second.cure


def test_a_cure_with_another_state_directory_does_not_use_again() -> None:
    """slurm-nb would not find the session there."""
    assert not [row for row in CAUSES if "SLURM_NB_HOME" in row.cure and "{again}" in row.cure]


def test_recordings_contain_no_secret() -> None:
    """The tests' nonce replaces the real ones, and there is no token."""
    texts = [path.read_text(encoding="utf-8") for path in RECORDINGS]
    secrets = re.findall(r"\b[0-9a-f]{32,}\b", "\n".join(texts))

    assert set(secrets) == {NONCE}


def test_every_final_state_of_slurm_names_a_cause_or_needs_more_evidence() -> None:
    """The table omits no state with which a job can end."""
    ended = {word for word, phase in PHASES.items() if phase is Phase.ENDED}

    assert ended - NAMING == {"COMPLETED", "FAILED"}


@pytest.mark.parametrize(
    ("mem", "option"),
    [("8G", "16G"), ("500M", "1000M"), ("4096", "8192"), ("0", "SIZE"), (None, "SIZE")],
)
def test_the_cure_for_memory_is_twice_as_much(mem: str | None, option: str) -> None:
    """You can paste the command if the job's memory is known."""
    state = JobState(Phase.ENDED, "OUT_OF_MEMORY")

    told = explain("7", state, Progress(), [], mem=mem)

    assert told.cure.endswith(f"`slurm-nb submit --again 7 --mem {option}`")


@pytest.mark.parametrize(
    ("limit", "option"),
    [("90", "03:00:00"), ("20:00:00", "1-16:00:00"), ("UNLIMITED", "TIME"), (None, "TIME"),
     ("odd", "TIME")],
)  # fmt: skip
def test_the_cure_for_time_is_twice_as_much(limit: str | None, option: str) -> None:
    """sbatch accepts the value."""
    told = explain("7", JobState(Phase.ENDED, "TIMEOUT"), Progress(), [], time=limit)

    assert told.cure.endswith(f"`slurm-nb submit --again 7 --time {option}`")


def test_the_cure_excludes_a_failed_node() -> None:
    """It uses Slurm's name of the node, but only a valid one."""
    state = JobState(Phase.ENDED, "NODE_FAIL", node="c1")

    assert "--again 7 --exclude c1`" in explain("7", state, Progress(), []).cure
    odd = explain("7", replace(state, node="c1; rm -rf ~"), Progress(), [])
    assert "-rf" not in odd.cure + odd.text


def test_an_unknown_cause_shows_the_last_lines() -> None:
    """The text says that the cause is unknown."""
    told = explain("7", FAILED, Progress(started=True, exit_code=3), ["one", "two"])

    assert told.cause == "unknown"
    assert told.text == "the cause is unknown: FAILED (NonZeroExitCode), exit code 3"
    assert told.evidence == "one\ntwo"
    assert "slurm-nb logs 7" in told.cure


def test_slurms_state_overrides_the_output() -> None:
    """A line like slurmstepd's does not change the cause of a cancelled job."""
    told = explain("7", JobState(Phase.ENDED, "CANCELLED"), Progress(started=True), [STEPD])

    assert (told.cause, told.evidence) == ("cancelled", "CANCELLED")


def test_a_cause_found_only_in_the_output_says_so() -> None:
    """A notebook may have printed the line, so the sentence must stay true."""
    told = explain("7", FORGOTTEN, Progress(started=True), [STEPD])

    assert told.cause == "time-limit"
    assert told.text.startswith("according to its output, ")
    assert told.evidence == STEPD


def test_a_line_about_another_job_is_ignored() -> None:
    """A notebook may have started that job or shown its output."""
    other = STEPD.replace("JOB 7 ", "JOB 8 ")

    assert explain("7", FORGOTTEN, Progress(started=True), [other]).cause == "unknown"


@pytest.mark.parametrize("word", ["ENDED", "UNKNOWN"])
def test_the_sessions_own_message_does_not_need_slurm(word: str) -> None:
    """It explains the end even if the controller is down."""
    state = JobState(Phase.UNKNOWN, word)
    stopping = Progress(started=True, stopping=Stopping("idle", "nothing ran for 1 hour"))
    failure = Progress(started=True, failure=Failure("it has no room", "make some"))

    assert explain("7", state, stopping, []).text.endswith("nothing ran for 1 hour")
    told = explain("7", state, failure, [])
    assert (told.cause, told.text, told.cure) == (
        "not-started", "Jupyter cannot start: it has no room", "make some",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("jupyter_server of /p can't be imported: x", "broken-environment"),
        ("cannot import jupyter_server of /p on c1: x", "broken-environment"),
        ("jupyter_server of /p cannot be imported: x", "broken-environment"),
        ("/p on c1 has no notebook", "jupyter-missing"),
        ("notebook of /p is 6.5.7, and 7.0 or later is needed", "jupyter-missing"),
        ("notebook of /p is 6.5.7; install 7.0 or later", "jupyter-missing"),
        ("your home, /h, can't be written on c1: x", "disk-full"),
        ("cannot write to your home, /h, on c1: x", "disk-full"),
        ("no directory can be made in /tmp on c1", "disk-full"),
        ("cannot create a directory in /tmp on c1", "disk-full"),
        ("/tmp on c1 has only 3 MiB free", "disk-full"),
        ("you can't write to the notebook directory /d", "notebook-dir"),
        ("cannot write to the notebook directory /d", "notebook-dir"),
        ("the notebook directory /d does not exist on c1", "notebook-dir"),
        ("the environment /e is not there on c1", "environment-missing"),
        ("the environment /e does not exist on c1", "environment-missing"),
        ("the module m can't be loaded on c1: x", "environment-missing"),
        ("cannot load the module m on c1: x", "environment-missing"),
        ("there is no conda environment named e on c1", "environment-missing"),
        ("the line of --setup failed: false", "setup-failed"),
        ("the --setup line failed: false", "setup-failed"),
        ("this site starts no Jupyter on Mondays", "not-started"),
    ],
)
def test_failures_of_an_older_version_are_understood(text: str, cause: str) -> None:
    """A job submitted before an upgrade still prints the earlier texts."""
    failure = Progress(started=True, failure=Failure(text, "do this"))

    assert explain("7", FAILED, failure, []).cause == cause


@pytest.mark.parametrize(
    ("line", "cause"),
    [
        ("slurm-nb: Jupyter is not started: no password", "kit-refused"),
        ("slurm-nb: Jupyter cannot start: no password", "kit-refused"),
        ("slurm-nb: Jupyter was stopped, for it is not safe: x", "not-safe"),
        ("slurm-nb: Jupyter was stopped because a security check failed: x", "not-safe"),
    ],
)
def test_lines_of_an_older_version_are_understood(line: str, cause: str) -> None:
    """The server printed these."""
    assert explain("7", FAILED, Progress(started=True, exit_code=1), [line]).cause == cause


def test_the_example_of_a_row_is_one_of_its_texts() -> None:
    """docs/troubleshooting.md shows a sentence that leads to its row."""
    for row in CAUSES:
        if row.failed and row.example != "...":
            text = row.example.replace("PACKAGE", "jupyter_server")
            failure = Progress(started=True, failure=Failure(text, "do this"))
            assert explain("7", FAILED, failure, []).cause == row.word


def test_hostile_text_stays_text() -> None:
    """Braces are not filled in, control characters are removed, and long lines are shortened."""
    text = "{again} {0.__class__} \x1b]0;title\x07 \u202e" + "x" * 9000
    failure = Progress(started=True, failure=Failure(text, text))
    stopping = Progress(started=True, stopping=Stopping("idle", text))
    told = [
        explain("7", FAILED, failure, [text]),
        explain("7", FAILED, stopping, [text]),
        explain("7", FAILED, Progress(started=True, exit_code=3), [text]),
        explain("7", FAILED, Progress(), [f"mkdir: cannot create directory {text}"]),
        explain("7", JobState(Phase.ENDED, "CANCELLED"), Progress(), [], cancelled_by=text),
    ]

    for each in told:
        assert "{again}" in each.text + each.evidence
        for part in (each.text, each.evidence, each.cure):
            assert part.isprintable()
            assert len(part) < 1100


@pytest.mark.parametrize("text", ["a: ", "slurmstepd: error: ", "/slurm_script: line 1: ", "x" * 9])
def test_no_line_takes_long(text: str) -> None:
    """Fifteen lines of 4096 characters, the most that is kept, are read in a moment."""
    tail = [(text * 4096)[:4096]] * 15
    began = time.process_time()

    explain("7", FORGOTTEN, Progress(started=True, exit_code=1), tail)

    assert time.process_time() - began < 0.5


def test_an_explanation_can_be_written_as_json() -> None:
    """It contains only strings and one boolean."""
    told = explain("7", FAILED, Progress(), [])

    assert json.loads(json.dumps(told.__dict__)) == told.__dict__


def test_the_page_has_a_row_for_every_sentence() -> None:
    """Placeholders are in uppercase."""
    page = rows()

    assert len({see for see, _, _ in page}) >= 30
    assert not [row for row in page if "{" in "".join(row) or not all(row)]


def test_a_job_without_output_here_may_have_written_elsewhere() -> None:
    """The node may not share the home; a late reader may still see the output."""
    told = explain("7", FAILED, Progress(), [])

    assert told.cause == "unknown"
    assert told.text == "the job ran, but its output did not reach this host"
    assert (
        "c1 may have another file system at the state directory: set `SLURM_NB_HOME`" in told.cure
    )
