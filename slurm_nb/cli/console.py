"""Output: the answer on stdout, everything else on stderr."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import click

from slurm_nb.errors import SlurmNbError
from slurm_nb.files import open_regular
from slurm_nb.session.state_directory import StateDirectory

# Also what turns the writing's direction, and what some terminals take for a new line.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
_SLOW_S = 3.0
# Terminals without hyperlinks (OSC 8) that may print the sequence as text.
_NO_LINKS = ("linux", "vt", "screen", "xterm-color", "cons25")


def say(text: str) -> None:
    """Print a message on stderr."""
    click.echo(visible(text), err=True)


def say_notices(notices: Iterable[str]) -> None:
    """Print the notices of slurm-nb, Slurm or a job, one line each."""
    for text in notices:
        say(f"Note: {' '.join(visible(text).split())}")


def visible(text: str) -> str:
    """Return `text` with its control characters escaped: an escape as backslash-x1b."""
    return _CONTROL.sub(lambda match: ascii(match[0])[1:-1], text)


def on_a_line(text: str) -> str:
    """Return `text` with all unprintable characters escaped, newlines and bidi marks too."""
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in visible(text))


def table(rows: Iterable[Sequence[str]]) -> str:
    """Return `rows` in columns, each on a line that its texts cannot leave."""
    shown = [[on_a_line(text) for text in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*shown, strict=True)]
    return "\n".join(
        "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()
        for row in shown
    )


def bold(text: str) -> str:
    """Return `text` in bold, if stdout is a terminal that shows it."""
    return f"\x1b[1m{text}\x1b[0m" if _is_rich() else text


def link(url: str) -> str:
    """Return `url` in bold and as a hyperlink (OSC 8), if stdout is a terminal that shows it."""
    if not _is_rich() or os.environ["TERM"].startswith(_NO_LINKS):
        return bold(url)
    return f"\x1b]8;;{url}\x1b\\{bold(url)}\x1b]8;;\x1b\\"


def _is_rich() -> bool:
    """Return whether to style stdout; NO_COLOR is described on no-color.org."""
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM", "dumb") in {"", "dumb"}
    return not plain and sys.stdout.isatty()


def complain(error: SlurmNbError) -> None:
    """Print what failed, and what to do next."""
    say(f"slurm-nb: {error}")
    for line in error.hint.splitlines():
        say(f"  {line}")


def say_help() -> None:
    """Print where to get help, if the site's config file says so."""
    from slurm_nb.config.layers import find_help

    if address := find_help(os.environ):
        say(f"  Help: {on_a_line(address)}")


def report_bug() -> None:
    """Print one line for the user; the traceback goes into a private file that it names."""
    import traceback

    try:
        path = StateDirectory.of_user(os.environ).folder / "error.log"
        with open(open_regular(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), "w") as file:
            traceback.print_exc(file=file)
        say(f"slurm-nb: internal error; please report it and attach {path}")
    except (SlurmNbError, OSError) as error:
        say(f"slurm-nb: internal error; cannot save its details: {error}")
    say("  submitted jobs keep running: squeue --me")


def answer_json(record: dict[str, Any]) -> None:
    """Print one object on stdout."""
    click.echo(json.dumps(record))


@contextmanager
def slow_noted(
    text: str = "Waiting for Slurm to respond...", *, after_s: float | None = None
) -> Iterator[None]:
    """Print `text` if the block takes longer than a few seconds."""

    def note(_signal: int, _frame: object) -> None:
        say(text)

    before = signal.signal(signal.SIGALRM, note)
    signal.setitimer(signal.ITIMER_REAL, _SLOW_S if after_s is None else after_s)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
