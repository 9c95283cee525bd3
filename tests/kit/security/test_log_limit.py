"""Nobody fills the job's output by what they make the server say."""

from __future__ import annotations

import logging

import pytest

from slurm_nb.kit.security.log_limit import Limit


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def heard() -> tuple[logging.Logger, list[str], Clock]:
    """A logger with a limit, and what comes through."""
    clock, texts = Clock(), []

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            texts.append(record.getMessage())

    handler = Handler()
    handler.addFilter(Limit(clock))
    logger = logging.Logger("test")  # noqa: LOG001  of this test alone
    logger.addHandler(handler)
    return logger, texts, clock


Heard = tuple[logging.Logger, list[str], Clock]


def test_the_same_line_logs_at_most_so_often(heard: Heard) -> None:
    """Whatever it says: a path that is another one each time, for instance."""
    logger, texts, clock = heard
    for number in range(4000):
        logger.warning("GET /%d: refused", number)

    assert len(texts) == 20

    clock.now += 61
    for text in ("a", "b"):
        logger.warning("other %s", text)
    assert len(texts) == 22


def test_how_many_were_left_out_is_told(heard: Heard) -> None:
    logger, texts, clock = heard
    for number in range(50):
        if number == 40:
            clock.now += 61
        logger.warning("refused %d", number)

    assert texts[20] == "refused 40 (left out 20 similar lines)"
    assert len(texts) == 30


def test_tracebacks_are_fewer(heard: Heard) -> None:
    logger, texts, _ = heard
    for _ in range(100):
        logger.error("Exception in callback", exc_info=OSError("Too many open files"))

    assert len(texts) == 4


def test_other_lines_still_log(heard: Heard) -> None:
    logger, texts, _ = heard
    for _ in range(100):
        logger.warning("flood")
    logger.warning("kernel died")

    assert texts[-1] == "kernel died"


def test_what_was_asked_for_is_not_limited(heard: Heard) -> None:
    """Level DEBUG is the user's own wish."""
    logger, texts, _ = heard
    for _ in range(100):
        logger.debug("detail")

    assert len(texts) == 100
