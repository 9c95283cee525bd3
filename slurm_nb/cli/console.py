"""What the user sees: the answer on stdout, the talk on stderr."""

from __future__ import annotations

import json
import os
import re
import signal
import traceback
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import click

from slurm_nb.errors import SlurmNbError
from slurm_nb.session.store import Store

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_SLOW_S = 3.0


def say(text: str) -> None:
    """A line of talk."""
    click.echo(visible(text), err=True)


def say_notices(notices: Iterable[str]) -> None:
    """What the job has to tell its user, a line each."""
    for text in notices:
        say(f"Note: {' '.join(visible(text).split())}")


def visible(text: str) -> str:
    """`text` with what could steer a terminal spelt out, an escape as backslash-x1b."""
    return _CONTROL.sub(lambda match: ascii(match[0])[1:-1], text)


def on_a_line(text: str) -> str:
    """`text` without what could forge another line, or turn the writing's direction."""
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in visible(text))


def table(rows: Iterable[Sequence[str]]) -> str:
    """Return `rows` in columns, each on a line that its texts cannot leave."""
    shown = [[on_a_line(text) for text in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*shown, strict=True)]
    return "\n".join(
        "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()
        for row in shown
    )


def complain(error: SlurmNbError) -> None:
    """What failed, and what to do next."""
    say(f"slurm-nb: {error}")
    if error.hint:
        say(f"  {error.hint}")


def report_bug() -> None:
    """One line for the user; the traceback goes to a private file that the line names."""
    try:
        path = Store.of_user(os.environ).folder / "error.log"
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            traceback.print_exc(file=file)
        say(f"slurm-nb: a fault of slurm-nb itself, please report it with {path}")
    except (SlurmNbError, OSError) as error:
        say(f"slurm-nb: a fault of slurm-nb itself, and no place to note it: {error}")
    say("  jobs that were submitted go on: see `squeue --me`")


def answer_json(record: dict[str, Any]) -> None:
    """One object on stdout."""
    click.echo(json.dumps(record))


@contextmanager
def slow_noted(
    text: str = "Slurm takes its time to answer...", *, after_s: float | None = None
) -> Iterator[None]:
    """Say why nothing happens when something takes its time, by default Slurm's answer."""

    def note(_signal: int, _frame: object) -> None:
        say(text)

    before = signal.signal(signal.SIGALRM, note)
    signal.setitimer(signal.ITIMER_REAL, _SLOW_S if after_s is None else after_s)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
