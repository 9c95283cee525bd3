"""States and times as a scientist reads them."""

from __future__ import annotations

from datetime import datetime

import pytest

from slurm_nb.diagnosis.describe import describe
from slurm_nb.scheduler.job import JobState, Phase
from slurm_nb.times import duration, seconds_until, when

AT = datetime(2026, 11, 23, 14, 0)  # noqa: DTZ001  local


def test_a_pending_job_is_described_in_words() -> None:
    """The text has Slurm's state and reason, then what they mean, then the expected start."""
    state = JobState(Phase.PENDING, "PENDING", "Priority", start_time="2026-11-23T14:00:00")

    assert describe(state, "7") == (
        "PENDING (Priority): other jobs have higher priority; estimated start: 2026-11-23 14:00"
    )


def test_a_command_in_the_description_names_the_job() -> None:
    """You can paste it."""
    state = JobState(Phase.PENDING, "PENDING", "JobHeldUser")

    assert describe(state, "7").endswith("to release it: scontrol release 7")


@pytest.mark.parametrize(
    ("state", "text"),
    [
        (
            JobState(Phase.PENDING, "PENDING", "NewReasonOfTomorrow"),
            "PENDING (NewReasonOfTomorrow)",
        ),
        (JobState(Phase.PENDING, "PENDING"), "PENDING"),
        (JobState(Phase.RUNNING, "RUNNING", start_time="2026-11-23T14:00:00"), "RUNNING"),
    ],
)
def test_a_clear_state_is_left_as_it_is(state: JobState, text: str) -> None:
    """Nothing is added for an unknown reason, for none, or for the start of a started job."""
    assert describe(state, "7") == text


def test_times_are_shortened() -> None:
    """They have a blank instead of Slurm's T, and no seconds."""
    assert when("2026-11-23T14:00:31") == "2026-11-23 14:00"


@pytest.mark.parametrize(
    ("time", "seconds"),
    [
        ("2026-11-23T14:00:00", 0),
        ("2026-11-23T15:00:30", 3630),
        ("2026-11-23T13:00:00", 0),
        (None, None),
        ("", None),
        ("N/A", None),
        ("9999-99-99T00:00:00", None),
    ],
)
def test_the_time_until_a_time_is_in_seconds(time: str | None, seconds: int | None) -> None:
    """It is zero for the past, and None for anything that is not a time."""
    assert seconds_until(time, AT.timestamp()) == seconds


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (59.9, "59 s"),
        (60, "1 min"),
        (3599, "59 min"),
        (3600, "60 min"),
        (7199, "119 min"),
        (7200, "2 h 00 min"),
        (11_100, "3 h 05 min"),
        (86_400, "1 d 0 h"),
        (187_200, "2 d 4 h"),
    ],
)
def test_durations_have_two_units_at_most(seconds: float, text: str) -> None:
    """Nobody needs the seconds of a day."""
    assert duration(seconds) == text
