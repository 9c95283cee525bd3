"""The config file that `slurm-nb config init` creates: comments for the user to fill in."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from dataclasses import dataclass

_WIDTH = 96
_HEAD = """\
# Defaults for `slurm-nb submit`. You can set every long option here; remove the # in front of it.
# To show the values in effect and where they come from: slurm-nb config
# Order: flags > SLURM_NB_SUBMIT_* variables > profile > this file > the site's file."""
_TAIL = """\
# Choose a profile with `slurm-nb submit --profile long`, or with the line `profile = "long"` above
# all tables. Its values override those outside.
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
    """A value in TOML: `"core"`, `4`, `true`."""
    facts: tuple[str, ...] = ()
    """Facts from Slurm, one line each."""
    is_set: bool = False
    """Whether the line is in effect, not a comment."""


def config_text(entries: Iterable[SampleEntry], unanswered: Iterable[str]) -> str:
    """Return the text of the file; `unanswered` says what Slurm did not answer."""
    parts = [_HEAD]
    missing = [
        _comment(f"Not available from Slurm: {' '.join(text.split())}") for text in unanswered
    ]
    if missing:
        parts.append("\n".join(missing))
    for entry in entries:
        lines = [_comment(entry.help)]
        lines += [_comment(f"  {fact}") for fact in entry.facts]
        lines.append(f"{'' if entry.is_set else '# '}{entry.key} = {entry.example}")
        parts.append("\n".join(lines))
    return "\n\n".join([*parts, _TAIL])


def _comment(text: str) -> str:
    printable = "".join(char if char.isprintable() else "?" for char in text)
    indent = " " * (len(printable) - len(printable.lstrip()))
    lines = textwrap.wrap(printable.strip(), _WIDTH - len(indent)) or [""]
    return "\n".join(f"# {indent}{line}" for line in lines)
