"""The wait has three endings, never mistakes the unknown for an end, and rarely queries Slurm."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import pytest

from slurm_nb.connection.wait import Clock, follow_until_ready
from slurm_nb.errors import NotReady
from slurm_nb.joblog.events import Ready
from slurm_nb.joblog.reader import JobLog
from slurm_nb.scheduler.job import JobState, Phase
from tests.conftest import NONCE

WHO = f'{{"cluster": "hpc", "job_id": "7", "nonce": "{NONCE}"'
STARTED = f"\nslurm-nb started: {WHO}}}\n"
READY = f'\nslurm-nb ready: {WHO}, "node": "c1", "port": 40123, "path": "/tree"}}\n'
ENDED = f'\nslurm-nb ended: {WHO}, "exit_code": 3}}\n'
WHERE = Ready("c1", 40123, "/tree")

PENDING = JobState(Phase.PENDING, "PENDING", "Priority")
RUNNING = JobState(Phase.RUNNING, "RUNNING")
FAILED = JobState(Phase.ENDED, "FAILED", "NonZeroExitCode")
UNKNOWN = JobState(Phase.UNKNOWN, "UNKNOWN", "Slurm does not answer")


@dataclass
class Story:
    """The events of a wait: output and states by the second, with its own clock."""

    path: Path
    output: dict[float, str] = field(default_factory=dict)
    states: dict[float, JobState] = field(default_factory=lambda: {0.0: PENDING})
    answer_takes_s: float = 0.0
    nonce: str | None = NONCE
    time: float = 1_000_000.0
    start: float = 1_000_000.0
    asked: list[float] = field(default_factory=list)
    ages: list[float] = field(default_factory=list)
    silent: list[float] = field(default_factory=list)
    shown: list[tuple[str | None, float]] = field(default_factory=list)

    def wait(self, timeout_s: float | None = None, stale: Ready | None = None) -> Ready | JobState:
        self._write()
        return follow_until_ready(
            JobLog(self.path, cluster="hpc", job_id="7", nonce=lambda: self.nonce),
            ask=self._ask,
            show=lambda state, waited: self.shown.append(
                (state.slurm_state if state else None, waited)
            ),
            timeout_s=timeout_s,
            stale=stale,
            clock=Clock(now=lambda: self.time, sleep=self._sleep),
            silent=lambda _state: self.silent.append(self.waited),
        )

    @property
    def waited(self) -> float:
        return self.time - self.start

    def _ask(self, max_age_s: float) -> JobState:
        self.asked.append(self.waited)
        self.ages.append(max_age_s)
        self._pass(self.answer_takes_s)
        return self.states[max(at for at in self.states if at <= self.waited)]

    def _sleep(self, seconds: float) -> None:
        assert seconds > 0
        self._pass(seconds)

    def _pass(self, seconds: float) -> None:
        assert self.waited < 40_000, "it waits for ever"
        self.time += seconds
        self._write()

    def _write(self) -> None:
        for at in sorted(at for at in self.output if at <= self.waited):
            with self.path.open("a", encoding="utf-8") as file:
                file.write(self.output.pop(at))


MakeStory = Callable[..., Story]


@pytest.fixture
def story(tmp_path: Path) -> MakeStory:
    def make(**parts: object) -> Story:
        return Story(tmp_path / "log", **parts)  # type: ignore[arg-type]

    return make


def test_a_ready_server_ends_the_wait_at_once(story: MakeStory) -> None:
    """The output is enough, without Slurm or any delay."""
    tale = story(output={0: STARTED + READY})

    assert tale.wait() == WHERE
    assert (tale.waited, tale.asked) == (0, [])


def test_a_job_can_wait_in_the_queue(story: MakeStory) -> None:
    """It is pending, then running, then ready, and the states are shown."""
    tale = story(output={40: STARTED, 42: READY}, states={0: PENDING, 40: RUNNING})

    assert tale.wait() == WHERE
    assert 42 <= tale.waited < 42.5
    assert next(word for word, _ in tale.shown if word) == "PENDING"


def test_readiness_is_noticed_soon(story: MakeStory) -> None:
    """A short wait ends within a tenth of a second, a long one within a few seconds."""
    early = story(output={3.3: STARTED + READY})
    assert early.wait() == WHERE
    assert early.waited - 3.3 < 0.1

    late = story(output={7200: STARTED + READY})
    late.path.unlink()
    assert late.wait() == WHERE
    assert late.waited - 7200 <= 5


def test_an_ended_job_ends_the_wait_with_its_state(story: MakeStory) -> None:
    """The wait returns Slurm's state and reason."""
    tale = story(
        output={2: STARTED + "No module named notebook\n" + ENDED},
        states={0: PENDING, 2: RUNNING, 3: FAILED},
    )

    assert tale.wait() == FAILED


def test_the_output_of_an_earlier_run_is_ignored(story: MakeStory) -> None:
    """A requeued job is ready when its next run says so."""
    new = READY.replace("40123", "40124")
    tale = story(
        output={0: STARTED + READY, 60: STARTED, 62: new}, states={0: PENDING, 60: RUNNING}
    )

    assert tale.wait(stale=WHERE) == Ready("c1", 40124, "/tree")
    assert ("RUNNING", 0.0) not in tale.shown


def test_an_answer_may_be_as_old_as_the_pause_between_queries(story: MakeStory) -> None:
    """Terminals share Slurm's answers."""
    tale = story(output={200: STARTED + READY}, states={0: PENDING})

    tale.wait()

    gaps = [b - a for a, b in pairwise(tale.asked)]
    assert tale.ages[0] == 5
    assert all(0 <= age < gap for age, gap in zip(tale.ages[1:], gaps, strict=True))
    assert tale.ages[-1] == 29


def test_an_unknown_state_does_not_end_the_wait(story: MakeStory) -> None:
    """A controller that does not respond for half an hour ends nothing."""
    tale = story(output={1800: STARTED + READY}, states={0: UNKNOWN})

    assert tale.wait() == WHERE


def test_a_timeout_does_not_touch_the_job(story: MakeStory) -> None:
    """After the user's timeout, the wait ends and gives the last known state."""
    tale = story(states={0: PENDING})

    with pytest.raises(NotReady, match=r"60 s.*PENDING \(Priority\)") as caught:
        tale.wait(timeout_s=60)

    assert 60 <= tale.waited < 65
    assert caught.value.exit_code == 5


@pytest.mark.parametrize("timeout_s", [0, 0.5])
def test_a_short_timeout_is_respected(story: MakeStory, timeout_s: float) -> None:
    """Even a wait of zero seconds looks once."""
    with pytest.raises(NotReady):
        story().wait(timeout_s=timeout_s)

    late = story(output={0: STARTED + READY})
    assert late.wait(timeout_s=timeout_s) == WHERE


def test_slurm_is_queried_rarely(story: MakeStory) -> None:
    """There are at most ten queries in the first minute, and then one every 30 s, for an hour."""
    tale = story(output={3600: STARTED + READY})

    tale.wait()

    later = [at for at in tale.asked if at > 60]
    gaps = [b - a for a, b in pairwise(later)]
    assert 2 <= sum(at <= 60 for at in tale.asked) <= 10
    assert min(gaps) >= 30
    assert max(gaps) < 120  # and the queries never stop


def test_a_slow_slurm_is_not_queried_more_often(story: MakeStory) -> None:
    """If an answer takes 20 s, the pause begins after it."""
    tale = story(output={3600: STARTED + READY}, answer_takes_s=20.0)

    tale.wait()

    gaps = [b - a for a, b in pairwise(tale.asked)]
    assert sum(at <= 60 for at in tale.asked) <= 4
    assert min(gaps[4:]) >= 50


def test_readiness_is_noticed_although_slurm_is_slow(story: MakeStory) -> None:
    """Output written during a query is read right after it."""
    tale = story(output={2: STARTED + READY}, answer_takes_s=20.0)

    assert tale.wait() == WHERE
    assert tale.waited < 21.5
    assert len(tale.asked) == 1


def test_an_end_in_the_output_causes_a_query_soon(story: MakeStory) -> None:
    """The user of a failed job does not wait for the next regular query."""
    tale = story(output={500: STARTED, 700: ENDED}, states={0: RUNNING, 700: RUNNING, 702: FAILED})

    assert tale.wait() == FAILED

    assert tale.waited - 702 < 6


def test_an_end_that_slurm_confirms_is_reported_at_once(story: MakeStory) -> None:
    """If output and Slurm agree, the wait ends before the next regular query."""
    tale = story(output={18: STARTED, 20: ENDED}, states={0: RUNNING, 20: FAILED})

    assert tale.wait() == FAILED

    assert tale.waited - 20 < 0.5


def test_a_job_that_stays_after_its_end_is_queried_less_and_less(story: MakeStory) -> None:
    """slurm-nb does not burden the controller during an epilog of an hour."""
    tale = story(
        output={1: STARTED + ENDED},
        states={0: RUNNING, 3600: FAILED},
    )

    assert tale.wait() == FAILED

    assert len(tale.asked) < 140


def test_the_wait_continues_for_a_requeued_job(story: MakeStory) -> None:
    """A job that ended, was requeued and ran again becomes ready."""
    tale = story(
        output={5: STARTED, 6: "chatter\n" + ENDED, 130: STARTED, 133: READY},
        states={0: RUNNING, 6.2: PENDING, 130: RUNNING},
    )

    assert tale.wait() == WHERE
    assert tale.waited < 134
    assert len(tale.asked) < 25


def test_the_state_is_shown_often(story: MakeStory) -> None:
    """A live line can count the seconds, and its time never runs backwards."""
    tale = story(output={10: STARTED + READY}, states={0: PENDING})

    tale.wait()

    times = [waited for _, waited in tale.shown]
    assert times == sorted(times)
    assert max(b - a for a, b in pairwise(times)) <= 1


def test_lines_without_a_nonce_do_not_hold_the_wait_for_ever(story: MakeStory) -> None:
    """The nonce never appears if node and login node do not share the session's directory."""
    tale = story(output={5: STARTED + READY}, states={0: RUNNING})
    tale.nonce = None

    with pytest.raises(NotReady, match="set SLURM_NB_HOME"):
        tale.wait()

    assert 125 <= tale.waited < 130


def test_a_running_job_without_output_is_reported_once(tmp_path: Path) -> None:
    """The node may have another home; after two minutes a message says so, once."""
    story = Story(tmp_path / "log", {600.0: STARTED + READY}, {0.0: PENDING, 60.0: RUNNING})

    assert story.wait() == WHERE
    (told,) = story.silent
    assert 60 + 120 <= told < 60 + 120 + 45


def test_a_job_with_output_gets_no_such_report(tmp_path: Path) -> None:
    """This holds even if Jupyter starts slowly."""
    story = Story(tmp_path / "log", {30.0: STARTED, 900.0: READY}, {0.0: RUNNING})

    assert story.wait() == WHERE
    assert story.silent == []


def test_an_output_that_cannot_be_read_ends_the_wait(story: MakeStory) -> None:
    """The message gives the reason, like that of tunnel-cmd, instead of waiting in vain."""
    tale = story(states={0: RUNNING})
    tale.path.unlink(missing_ok=True)
    tale.path.mkdir()
    tale.output.clear()

    with pytest.raises(NotReady, match=r"cannot read the output of job 7: .*directory"):
        tale.wait(timeout_s=60)


def test_an_output_that_cannot_be_read_does_not_hide_the_end(story: MakeStory) -> None:
    """The job's end takes precedence."""
    tale = story(states={0: FAILED})
    tale.path.unlink(missing_ok=True)
    tale.path.mkdir()

    assert tale.wait(timeout_s=60) == FAILED
