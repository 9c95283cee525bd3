"""The config file that `slurm-nb config init` writes: all of it comments, to be filled in."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from dataclasses import dataclass

_WIDTH = 96
_HEAD = """\
# Defaults for `slurm-nb submit`. Every long option can stand here under its own name; to set one,
# take the # in front of it away. What is in force, and where it comes from: slurm-nb config
# Order: flags > SLURM_NB_SUBMIT_* variables > profile > this file > the site's file."""
_TAIL = """\
# A profile is chosen with `slurm-nb submit --profile long`, or by the line `profile = "long"`
# above all tables. Its values go before those outside.
#
# [profiles.long]
# time = "1-00:00:00"
"""


@dataclass(frozen=True)
class SampleEntry:
    """One option in the file."""

    key: str
    help: str
    example: str
    """A value as TOML has it: `"core"`, `4`, `true`."""
    facts: tuple[str, ...] = ()
    """What Slurm said of it, a line each."""


def config_text(entries: Iterable[SampleEntry], unanswered: Iterable[str]) -> str:
    """The text of the file; `unanswered` is what Slurm did not say."""
    parts = [_HEAD]
    missing = [_comment(f"Not learnt from Slurm: {' '.join(text.split())}") for text in unanswered]
    if missing:
        parts.append("\n".join(missing))
    for entry in entries:
        lines = [_comment(entry.help)]
        lines += [_comment(f"  {fact}") for fact in entry.facts]
        lines.append(f"# {entry.key} = {entry.example}")
        parts.append("\n".join(lines))
    return "\n\n".join([*parts, _TAIL])


def _comment(text: str) -> str:
    printable = "".join(char if char.isprintable() else "?" for char in text)
    indent = " " * (len(printable) - len(printable.lstrip()))
    lines = textwrap.wrap(printable.strip(), _WIDTH - len(indent)) or [""]
    return "\n".join(f"# {indent}{line}" for line in lines)
