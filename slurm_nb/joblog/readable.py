"""A job's output for a reader: slurm-nb's lines in words, without the noise of a normal end."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from slurm_nb.joblog.events import in_words

_STOPPING = re.compile(r"\[C .* ServerApp\] received signal 15, stopping")
_LOGGED = re.compile(r"\[[IWC] ")
_NORMAL_END = "slurm-nb: Jupyter ended normally"


def readable(lines: Iterable[str]) -> Iterator[str]:
    """Yield the lines of an output as a reader wants them.

    When Slurm ends Jupyter, pyzmq and ipykernel may print tracebacks of sockets that they closed.
    They are left out if Jupyter ended normally.
    """
    held: list[str] = []
    blank = stopping = False
    for line in lines:
        words = in_words(line)
        if words is None:
            stopping = stopping or _STOPPING.match(line) is not None
            new = [*([""] if blank else []), *([line] if line else [])]
            blank = line == ""
            if stopping:
                held += new
            else:
                yield from new
            continue
        if words == _NORMAL_END:
            held = [each for each in held if _LOGGED.match(each)]
        yield from (*held, words)
        held, blank, stopping = [], False, False  # the job writes a blank line before its own
    yield from (*held, *([""] if blank else []))
