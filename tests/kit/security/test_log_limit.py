"""A client cannot fill the job's output by provoking log lines."""

from __future__ import annotations

import io
import logging
import re

import pytest

from slurm_nb.kit.security.log_limit import Limit


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def heard() -> tuple[logging.Logger, list[str], Clock]:
    """Return a logger with a limit, its output and its clock."""
    clock, texts = Clock(), []

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            texts.append(record.getMessage())

    handler = Handler()
    handler.addFilter(Limit(clock))
    logger = logging.Logger("test")  # noqa: LOG001  private to this test
    logger.addHandler(handler)
    return logger, texts, clock


Heard = tuple[logging.Logger, list[str], Clock]


def test_the_same_line_is_logged_a_limited_number_of_times(heard: Heard) -> None:
    """Its arguments do not matter, such as a path that changes each time."""
    logger, texts, clock = heard
    for number in range(4000):
        logger.warning("GET /%d: refused", number)

    assert len(texts) == 20

    clock.now += 61
    for text in ("a", "b"):
        logger.warning("other %s", text)
    assert len(texts) == 22


def test_the_log_says_how_many_lines_were_left_out(heard: Heard) -> None:
    logger, texts, clock = heard
    for number in range(50):
        if number == 40:
            clock.now += 61
        logger.warning("refused %d", number)

    assert texts[20] == "refused 40 (left out 20 similar lines)"
    assert len(texts) == 30


def test_tracebacks_are_limited_more_strictly(heard: Heard) -> None:
    logger, texts, _ = heard
    for _ in range(100):
        logger.error("Exception in callback", exc_info=OSError("Too many open files"))

    assert len(texts) == 4


def test_other_lines_are_still_logged(heard: Heard) -> None:
    logger, texts, _ = heard
    for _ in range(100):
        logger.warning("flood")
    logger.warning("kernel died")

    assert texts[-1] == "kernel died"


def test_debug_lines_are_not_limited(heard: Heard) -> None:
    """The user has asked for level DEBUG."""
    logger, texts, _ = heard
    for _ in range(100):
        logger.debug("detail")

    assert len(texts) == 100


def test_a_long_message_is_cut(heard: Heard) -> None:
    """A client chooses the path and the headers that Jupyter logs."""
    logger, texts, _ = heard
    logger.warning("404 GET %s (127.0.0.1)", "/" + "x" * 60_000)

    (text,) = texts
    assert len(text) <= 500
    assert text.startswith("404 GET /xxx")
    assert text.endswith("xxx (127.0.0.1)")
    assert re.search(r" \[\d+ characters left out\] ", text)


def printed(error: Exception) -> str:
    """Return what a handler prints for an error."""

    def fail() -> None:
        raise error

    output = io.StringIO()
    handler = logging.StreamHandler(output)
    handler.addFilter(Limit())
    logger = logging.Logger("test")  # noqa: LOG001  private to this test
    logger.addHandler(handler)
    try:
        fail()
    except ValueError:
        logger.exception("Uncaught exception")
    return output.getvalue()


def test_a_long_traceback_is_cut_and_keeps_its_ends() -> None:
    """It may be about an error in an extension of the user."""
    text = printed(ValueError("y" * 60_000))

    assert len(text) < 9000
    assert text.startswith("Uncaught exception\nTraceback (most recent call last):")
    assert "in fail" in text
    assert text.endswith("yyy\n")


def test_a_short_traceback_is_complete() -> None:
    text = printed(ValueError("z" * 1000))

    assert text.startswith("Uncaught exception\nTraceback (most recent call last):")
    assert text.endswith(f"ValueError: {'z' * 1000}\n")
