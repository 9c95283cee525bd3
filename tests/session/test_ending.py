"""An ending is proven before anything follows from it, and a real one is found soon.

Each case runs a session through one of more than 200 ways in which squeue, sacct and scontrol were
seen, or can be expected, to answer wrongly. A running session keeps its token in all of them. A
session that has ended loses its token within two minutes, as soon as one of the commands tells the
truth.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import product

import pytest

from slurm_nb.diagnosis.outcome import is_proven
from slurm_nb.errors import SchedulerError, SlurmNbError
from slurm_nb.files import user_name, write_private
from slurm_nb.operations.connect import connect
from slurm_nb.operations.listing import find_active_session, find_entry, list_sessions
from slurm_nb.scheduler import slurm
from slurm_nb.scheduler.job import Job, JobState, Phase
from slurm_nb.scheduler.run import Result
from slurm_nb.session.ending import judge
from slurm_nb.session.session import Session
from slurm_nb.session.store import APART_S, Store
from tests.fakes import READY, TOKEN, running, told

SCRIPT = "/home/alice/.local/state/slurm-nb/jobs/.submission_file_0a1b.sh"
SEVEN = Session(job=Job("7", "hpc", script=SCRIPT), login_host="login", submitted_at=1_795_000_000)
BEGAN = 1_795_000_100.0
INVALID = "slurm_load_jobs error: Invalid job id specified\n"
NOTHING = Result(0, "", "")
pytestmark = pytest.mark.usefixtures("session")


@dataclass
class World:
    """A cluster at some time: job 7 and others, and a clock."""

    word: str = "RUNNING"
    now: float = BEGAN
    forgotten: bool = False
    """MinJobAge is over, so slurmctld knows it no longer."""
    history: list[str] = field(default_factory=list)

    def __call__(self, argv: list[str], **_: object) -> Result:
        """Answer as Slurm does."""
        if argv[0] == "squeue":
            return self._squeue("-j" in argv)
        if argv[0] == "sacct":
            return Result(0, f"7|{self.word}|0:0|c1|2026-11-18T12:00:00\n", "")
        if argv[:3] == ["scontrol", "show", "config"]:
            return Result(0, "ClusterName             = hpc\n", "")
        if argv[:3] == ["scontrol", "show", "job"]:
            return Result(1, "", INVALID) if self.forgotten else Result(0, self._shown(), "")
        return Result(0, "", "")

    def _squeue(self, alone: bool) -> Result:  # noqa: FBT001  one caller
        me = user_name()
        other = f"9|{me}|PENDING|N/A|N/A|n/a|Priority|/home/alice/other.sh\n"
        array = f"12_[1-5]|{me}|PENDING|N/A|N/A|n/a|Resources|/home/alice/array.sh\n"
        row = f"7|{me}|{self.word}|2026-11-30T14:00:00|2026-11-18T12:00:00|c1|None|{SCRIPT}\n"
        if alone:
            return Result(1, "", INVALID) if self.forgotten else Result(0, row, "")
        return Result(0, ("" if self.forgotten else row) + other + array, "")

    def _shown(self) -> str:
        return (
            "JobId=7 JobName=slurm-nb\n"
            f"   UserId={user_name()}(1000) GroupId=alice(1000) MCS_label=N/A\n"
            f"   JobState={self.word} Reason=None Dependency=(null)\n"
            "   StartTime=2026-11-18T12:00:00 EndTime=2026-11-30T14:00:00 Deadline=N/A\n"
            f"   BatchHost=c1\n   Command={SCRIPT}\n"
        )


# --- ways to mangle an answer ---


def text(change: Callable[[str], str]) -> Callable[[Result], Result]:
    """Change what a command prints."""
    return lambda said: replace(said, stdout=change(said.stdout))


def lines(change: Callable[[str], str]) -> Callable[[Result], Result]:
    return text(lambda out: "".join(f"{change(line)}\n" for line in out.splitlines()))


def without(part: str) -> Callable[[Result], Result]:
    return text(
        lambda out: "".join(line for line in out.splitlines(keepends=True) if part not in line)
    )


def always(said: Result) -> Callable[[Result], Result]:
    return lambda _: said


def column(at: int, value: str) -> Callable[[Result], Result]:
    """Replace a column of each line."""

    def change(line: str) -> str:
        parts = line.split("|")
        return "|".join([*parts[:at], value, *parts[at + 1 :]]) if len(parts) > at else line

    return lines(change)


def raised(words: str) -> Callable[[Result], Result]:
    def fail(_: Result) -> Result:
        raise SchedulerError(words)

    return fail


BANNER = (
    "*** Welcome to HPC | maintenance on Monday | see the wiki | ask | us | or | them | ! ***\n"
)
DEFAULT = "                 7     debug slurm-nb    alice  R       0:10      1 c1\n"
HEADER = "JOBID|USER|STATE|END_TIME|START_TIME|EXEC_HOST|REASON|COMMAND\n"

MANGLES: dict[str, Callable[[Result], Result]] = {
    "nothing": always(NOTHING),
    "a newline": always(Result(0, "\n", "")),
    "blanks": always(Result(0, "   \n  \n", "")),
    "nothing, exit 1": always(Result(1, "", "")),
    "nothing, exit 2": always(Result(2, "", "")),
    "nothing, exit 127": always(Result(127, "", "error while loading shared libraries")),
    "killed": always(Result(-11, "", "")),
    "half and killed": lambda said: Result(-9, said.stdout[: len(said.stdout) // 2], ""),
    "invalid on stderr, exit 1": always(Result(1, "", INVALID)),
    "invalid on stderr, exit 0": always(Result(0, "", INVALID)),
    "invalid on stdout, exit 0": always(Result(0, INVALID, "")),
    "invalid on stdout, exit 1": always(Result(1, INVALID, "")),
    "invalid beside the answer": lambda said: Result(1, said.stdout, INVALID),
    "contact": always(Result(1, "", "Unable to contact slurm controller (connect failure)\n")),
    "timed out": always(Result(1, "", "Socket timed out on send/recv operation\n")),
    "gives up": raised("squeue did not answer within 25 s"),
    "no such command": raised("squeue is not on PATH"),
    "other words": always(Result(0, "Access denied by the site's policy.\n", "")),
    "a page": always(Result(0, "<html><body>502 Bad Gateway</body></html>\n", "")),
    "json": always(Result(0, '{"jobs": []}\n', "")),
    "binary": always(Result(0, bytes(range(256)).decode("latin-1"), "")),
    "zeros": always(Result(0, "\0" * 500, "")),
    "the job is left out": without("7|"),
    "other jobs are left out": without("9|"),
    "the first line is left out": text(lambda out: out.partition("\n")[2]),
    "green": lines(lambda line: f"\x1b[32m{line}\x1b[0m"),
    "red words": text(lambda out: out.replace("RUNNING", "\x1b[31mRUNNING\x1b[0m")),
    "green ids": text(lambda out: re.sub(r"^(\d+)", "\x1b[1m\\1\x1b[m", out, flags=re.MULTILINE)),
    "bold bars": text(lambda out: out.replace("|", "\x1b[1m|\x1b[0m")),
    "a reset at the end": lines(lambda line: f"{line}\x1b[0m"),
    "padded bars": text(lambda out: out.replace("|", " | ")),
    "padded on the left": text(lambda out: out.replace("|", "| ")),
    "padded on the right": text(lambda out: out.replace("|", " |")),
    "padded lines": lines(lambda line: f"  {line}  "),
    "padded to 200": lines(lambda line: f"{line:200}"),
    "indented": lines(lambda line: f"\t{line}"),
    "tabs for bars": text(lambda out: out.replace("|", "\t")),
    "commas for bars": text(lambda out: out.replace("|", ",")),
    "unicode bars": text(lambda out: out.replace("|", "\u2502")),
    "bars around": lines(lambda line: f"|{line}|"),
    "quoted": text(lambda out: re.sub(r"[^|\n]+", r'"\g<0>"', out)),
    "a banner above": text(lambda out: f"Welcome! squeue is cached here.\n{out}"),
    "a banner with bars above": text(lambda out: BANNER + out),
    "a banner with bars alone": always(Result(0, BANNER, "")),
    "a banner below": text(lambda out: f"{out}see the wiki\n"),
    "a banner in place of the job": lambda said: text(lambda out: BANNER + out)(
        without("7|")(said)
    ),
    "a header": text(lambda out: HEADER + out),
    "a header alone": always(Result(0, HEADER, "")),
    "the default columns": always(Result(0, DEFAULT, "")),
    "carriage returns": text(lambda out: out.replace("\n", "\r\n")),
    "no newlines": text(lambda out: out.replace("\n", " ")),
    "form feeds": text(lambda out: out.replace("\n", "\f\n")),
    "twice": text(lambda out: out + out),
    "backwards": text(lambda out: "\n".join(reversed(out.splitlines()))),
    "numbered": text(
        lambda out: "".join(f"{n}: {each}\n" for n, each in enumerate(out.split("\n")))
    ),
    "lower case": text(str.lower),
    "upper case": text(str.upper),
    "words of another language": text(lambda out: out.replace("RUNNING", "L\u00c4UFT")),
    "short states": text(lambda out: out.replace("RUNNING", "R").replace("PENDING", "PD")),
    "dates of another locale": text(
        lambda out: re.sub(r"(\d{4})-(\d\d)-(\d\d)T", r"\3.\2.\1 ", out)
    ),
    "seconds for dates": text(lambda out: re.sub(r"\d{4}-\S\S-\S\ST[\d:]+", "1795000100", out)),
    "relative dates": text(lambda out: re.sub(r"\d{4}-\S\S-\S\ST[\d:]+", "Tomorr", out)),
    "wide digits": text(lambda out: out.replace("7|", "\uff17|")),
    "replacement characters": text(lambda out: out.replace("alice", "\ufffd\ufffd")),
    "truncated names": text(lambda out: out.replace(user_name(), user_name()[:2] + "+")),
    "uids for names": column(1, "1000"),
    "nobody's": column(1, "nobody"),
    "without the script": column(7, ""),
    "with a null script": column(7, "(null)"),
    "with the script's name alone": column(7, SCRIPT.rpartition("/")[2]),
    "with the home's other name": text(lambda out: out.replace("/home/alice", "/nfs/home1/alice")),
    "a column more": lines(lambda line: f"{line}|hpc"),
    "a column less": lines(lambda line: line.partition("|")[2]),
    "the last column missing": lines(lambda line: line.rpartition("|")[0]),
    "columns in another order": lines(lambda line: "|".join(reversed(line.split("|")))),
    "another cluster's title": text(lambda out: f"CLUSTER: other\n{out}"),
    "another cluster's title alone": always(Result(0, "CLUSTER: other\n", "")),
    "the title of each cluster": text(lambda out: f"CLUSTER: hpc\n{out}CLUSTER: other\n"),
    "an earlier job of the id": always(Result(0, "7|COMPLETED|0:0|c1|2025-01-01T12:00:00\n", "")),
    **{
        f"cut after {length}": text(lambda out, length=length: out[:length])  # type: ignore[misc]
        for length in (1, 2, 3, 5, 8, 13, 21, 34, 50, 60, 70, 80, 90, 100, 110, 120)
    },
    **{
        f"{width} columns": lines(lambda line, width=width: line[:width])  # type: ignore[misc]
        for width in (4, 8, 10, 20, 40, 60, 72, 80, 100, 132)
    },
    **{
        f"folded at {width}": text(
            lambda out, width=width: re.sub(f"(.{{{width}}})", r"\1\n", out)  # type: ignore[misc]
        )
        for width in (20, 40, 72, 80, 100)
    },
    **{
        f"a byte flipped, {seed}": text(lambda out, seed=seed: flipped(out, seed))  # type: ignore[misc]
        for seed in range(40)
    },
}


def flipped(out: str, seed: int) -> str:
    """Replace one character by another."""
    if not out:
        return out
    at = zlib.crc32(f"{seed}".encode()) % len(out)
    return out[:at] + "|x \x1b#7E0"[seed % 8] + out[at + 1 :]


CASES = [*product(MANGLES, (("squeue",), ("squeue", "sacct")))]
OUT_OF_REACH = {"contact", "timed out", "gives up", "no such command"}


def test_there_are_at_least_200_ways() -> None:
    """A way is a mangle of one command or of two, with accounting and without."""
    assert len(CASES) >= 200


@dataclass
class Slurm:
    """Answers, some of them mangled, at a time that is set."""

    world: World
    mangle: Callable[[Result], Result]
    programs: tuple[str, ...]

    def __call__(self, argv: list[str], **more: object) -> Result:
        said = self.world(argv, **more)
        return self.mangle(said) if argv[0] in self.programs else said


@pytest.fixture
def session(store: Store) -> Session:
    running(store, SEVEN, told("started") + READY)
    return SEVEN


def look(
    store: Store, session: Session, world: World, monkeypatch: pytest.MonkeyPatch, minutes: float
) -> None:
    """Run list, status and tunnel-cmd again and again, as a user does who wonders."""
    monkeypatch.setattr("time.time", lambda: world.now)
    until = world.now + 60 * minutes
    while world.now <= until:
        list_sessions(store, now=lambda: world.now)
        find_entry(store, session)
        world.history.append(connect_or_error(store, session))
        world.now += 35


def connect_or_error(store: Store, session: Session) -> str:
    try:
        connect(session, store=store)
    except SlurmNbError as error:
        return str(error)
    return "connected"


@pytest.mark.parametrize(("name", "programs"), CASES)
def test_a_session_that_runs_never_loses_its_token(
    store: Store,
    session: Session,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    programs: tuple[str, ...],
) -> None:
    """The token stays and works while squeue and sacct answer wrongly for three minutes."""
    world = World()
    monkeypatch.setattr(slurm, "run", Slurm(world, MANGLES[name], programs))
    monkeypatch.setattr("shutil.which", lambda program: f"/usr/bin/{program}")

    look(store, session, world, monkeypatch, minutes=2.5)

    assert store.token(session) is not None
    assert store.outcome(session) is None or not store.outcome(session).proven  # type: ignore[union-attr]
    assert world.history[-1] == "connected"


@pytest.mark.parametrize(
    ("name", "programs"), [case for case in CASES if case[0] not in OUT_OF_REACH]
)
def test_a_session_that_has_ended_is_found_within_two_minutes(
    store: Store,
    session: Session,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    programs: tuple[str, ...],
) -> None:
    """scontrol shows the end even if squeue and sacct answer wrongly; then the token is removed."""
    world = World("FAILED", forgotten=programs == ("squeue",))
    monkeypatch.setattr(slurm, "run", Slurm(world, MANGLES[name], programs))
    monkeypatch.setattr("shutil.which", lambda program: f"/usr/bin/{program}")

    look(store, session, world, monkeypatch, minutes=2)

    assert store.token(session) is None
    assert store.outcome(session) is not None
    assert world.history[-1].startswith("job 7 has ended")


def show(
    store: Store,
    world: World,
    monkeypatch: pytest.MonkeyPatch,
    **mangled: Callable[[Result], Result],
) -> JobState:
    """Run list once; `mangled`: how each program answers wrongly. Return the state it shows."""

    def answer(argv: list[str], **more: object) -> Result:
        said = world(argv, **more)
        return mangled[argv[0]](said) if argv[0] in mangled else said

    monkeypatch.setattr(slurm, "run", answer)
    monkeypatch.setattr("shutil.which", lambda program: f"/usr/bin/{program}")
    monkeypatch.setattr("time.time", lambda: world.now)
    (entry,) = list_sessions(store, now=lambda: world.now).entries
    return entry.state


COMPLETED = text(lambda out: out.replace("RUNNING", "COMPLETED"))
SILENT_COMMAND = MANGLES["nothing"]
ODD = {
    "silence": {"squeue": SILENT_COMMAND, "scontrol": SILENT_COMMAND, "sacct": SILENT_COMMAND},
    "no such job": {"squeue": SILENT_COMMAND, "scontrol": always(Result(1, "", INVALID))},
    "out of reach": {"squeue": MANGLES["contact"]},
    "completed": dict.fromkeys(("squeue", "scontrol", "sacct"), COMPLETED),
}


@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize("waited_s", [10, 40])
def test_a_session_that_runs_again_is_active_and_keeps_its_token(
    store: Store, session: Session, monkeypatch: pytest.MonkeyPatch, odd: str, waited_s: int
) -> None:
    """All of Slurm's commands said for a while that it had ended; then one answer is odd again."""
    world, wrong = World(), dict.fromkeys(("squeue", "scontrol", "sacct"), COMPLETED)
    show(store, world, monkeypatch, **wrong)
    world.now += waited_s
    show(store, world, monkeypatch, **wrong)
    write_private(store.token_path(session), TOKEN)  # the job writes it again
    world.now += 40

    assert show(store, world, monkeypatch) == find_entry(store, session)[0].state
    assert store.outcome(session) is None
    assert find_active_session(store) == session
    world.now += 40
    show(store, world, monkeypatch, **ODD[odd])
    assert store.token(session) == TOKEN
    assert find_active_session(store) == session
    assert connect_or_error(store, session) == "connected" or odd == "completed"


def test_a_command_without_an_id_asks_before_it_says_that_no_session_is_active(
    store: Store, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The job may have been requeued since its proven end, or Slurm was wrong."""
    world, wrong = World(), dict.fromkeys(("squeue", "scontrol", "sacct"), COMPLETED)
    for _ in range(2):
        show(store, world, monkeypatch, **wrong)
        world.now += 40
    assert is_proven(store.outcome(session))
    monkeypatch.setattr(slurm, "run", world)

    assert find_active_session(store) == session


@pytest.mark.parametrize("odd", ["silence", "out of reach"])
def test_an_unproven_end_is_not_shown_once_slurm_no_longer_says_so(
    store: Store, session: Session, monkeypatch: pytest.MonkeyPatch, odd: str
) -> None:
    """list, status and tunnel-cmd agree."""
    world, wrong = World(), dict.fromkeys(("squeue", "scontrol", "sacct"), COMPLETED)
    assert show(store, world, monkeypatch, **wrong).slurm_state == "COMPLETED"
    world.now += 10

    assert show(store, world, monkeypatch, **ODD[odd]).phase is Phase.UNKNOWN
    assert find_entry(store, session)[0].outcome is None
    assert connect_or_error(store, session) == "connected"
    assert store.token(session) == TOKEN


def test_an_end_is_never_in_the_future(
    store: Store, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Slurm gives the end of the time limit for a running job."""
    show(store, World(), monkeypatch, **dict.fromkeys(("squeue", "scontrol"), COMPLETED))

    outcome = store.outcome(session)
    assert outcome is not None
    assert outcome.end_time is None


@pytest.mark.parametrize("scontrol", ["truth", "silence"])
def test_an_answer_that_squeue_repeats_does_not_count_twice(
    store: Store, session: Session, monkeypatch: pytest.MonkeyPatch, scontrol: str
) -> None:
    """A site's squeue repeats a saved answer that shows the session as ended."""
    world, wrong = World(), {"squeue": COMPLETED}
    if scontrol == "silence":
        wrong["scontrol"] = SILENT_COMMAND
    for _ in range(4):
        show(store, world, monkeypatch, **wrong)
        connect_or_error(store, session)
        world.now += 40

    assert store.token(session) == TOKEN
    assert not is_proven(store.outcome(session))


def test_the_end_of_a_session_costs_one_request_of_scontrol(
    store: Store, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The job was killed, so it could not write its last line."""
    world, asked = World("FAILED"), []

    def count(said: Result) -> Result:
        asked.append(world.now)
        return said

    for _ in range(12):
        show(store, world, monkeypatch, scontrol=count)
        world.now += 10

    assert is_proven(store.outcome(session))
    assert len(asked) == 1


# --- each fact ---

MISSING = JobState(Phase.UNKNOWN, "UNKNOWN", "Slurm does not show job 7", missing=True)
DENIED = replace(MISSING, denied=True)
FAILED = JobState(Phase.ENDED, "FAILED", script=SCRIPT)
OTHERS = JobState(Phase.ENDED, "ENDED", "7 is the id of another job now", id_reused=True)
LIVES = JobState(Phase.RUNNING, "RUNNING", script=SCRIPT)
SILENT = JobState(Phase.UNKNOWN, "UNKNOWN", "Slurm does not answer")


def proven(store: Store, *answers: tuple[float, JobState]) -> list[bool]:
    """Return whether the ending is proven after each answer, each at its own time."""
    return [judge(store, SEVEN, state, at).proven for at, state in answers]


@pytest.mark.parametrize("witness", [DENIED, FAILED, OTHERS])
def test_two_witnesses_some_time_apart_prove_an_ending(store: Store, witness: JobState) -> None:
    """Two at the same moment may have the same cause."""
    seen = proven(
        store, (BEGAN, witness), (BEGAN + APART_S - 1, witness), (BEGAN + APART_S, FAILED)
    )

    assert seen == [False, False, True]


def test_an_answer_that_shows_the_job_undoes_a_witness(store: Store) -> None:
    """A wrapper gave the wrong answer, or the job was requeued."""
    seen = proven(store, (BEGAN, DENIED), (BEGAN + 60, LIVES), (BEGAN + 120, DENIED))

    assert seen == [False, False, False]


def test_silence_and_absence_prove_nothing(store: Store) -> None:
    """They prove nothing however long they last, and do not undo a witness."""
    seen = proven(store, *[(BEGAN + 60 * n, each) for n in range(50) for each in (MISSING, SILENT)])

    assert not any(seen)
    assert proven(store, (BEGAN, DENIED), (BEGAN + 20, MISSING), (BEGAN + 40, DENIED)) == [
        False, False, True
    ]  # fmt: skip


def test_a_clock_that_was_set_back_makes_no_witness(store: Store) -> None:
    """A clock that was set forward does not turn one witness into two."""
    seen = proven(store, (BEGAN + 9000, DENIED), (BEGAN, DENIED), (BEGAN + 10, DENIED))

    assert seen == [False, False, False]


def test_the_end_in_the_output_proves_an_ending(store: Store) -> None:
    """It does not if the job has started again, or if Slurm shows the job."""
    log = store.log_path("7")
    log.write_text(READY + told("ended", exit_code=0))

    assert proven(store, (BEGAN, MISSING), (BEGAN, FAILED), (BEGAN, LIVES), (BEGAN, SILENT)) == [
        True, True, False, False
    ]  # fmt: skip
    log.write_text(READY + told("ended", exit_code=0) + told("started"))
    assert proven(store, (BEGAN, MISSING)) == [False]


def test_an_end_that_is_long_past_proves_an_ending(store: Store) -> None:
    """That is one hour after the last end time that Slurm reported, because limits get extended."""
    ends = replace(MISSING, end_time="2026-11-18T14:00:00")
    end_s = datetime.fromisoformat("2026-11-18T14:00:00").timestamp()

    assert proven(store, (end_s + 3599, ends), (end_s + 3601, ends)) == [False, True]


def test_a_witness_from_another_submission_is_ignored(store: Store) -> None:
    """Slurm can reuse an id."""
    judge(store, SEVEN, DENIED, BEGAN)
    new = replace(SEVEN, submission="c0" * 16)

    assert not judge(store, new, DENIED, BEGAN + 60).proven


def test_a_broken_witness_file_is_ignored(store: Store) -> None:
    """A crash may have left anything in it."""
    write_private(store.session_folder("hpc", "7") / "witness.json", "{")

    assert proven(store, (BEGAN, DENIED)) == [False]
