"""Values in the job script: each stays the text that it is, whatever characters it holds."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from slurm_nb.errors import UserError
from slurm_nb.job.spec import refuse_control_characters

_SPECIAL = re.compile(r"[^\w@%+=:,./-]")
_DIRECTIVE_PLAIN = re.compile(r"[\w@%+=:,./-]+")
_DIRECTIVE_OPTION = re.compile(r"--[a-z-]+=", re.ASCII)


class Quoted(str):
    """Text that may stand in the job script as it is."""

    __slots__ = ()


def quote(value: object) -> Quoted:
    r"""What `{{ value }}` writes: `it's` becomes `it\'s`; each item of a tuple is a word.

    With backslashes, and not in quotes: so that the value runs nothing either where the author of
    a template has put `"{{ value }}"`, within which bash reads `'$(id)'` as a command.
    Raises `UserError` for None, whose absence the template must ask after, and for a mapping.
    """
    if isinstance(value, Quoted):
        return value
    if isinstance(value, tuple | list):
        return Quoted(" ".join(quote(item) for item in value))
    text = _text(value)
    if not text:
        return Quoted("''")
    return Quoted(_SPECIAL.sub(lambda match: "\\" + match[0], text))


def quote_sh(value: object) -> Quoted:
    """One word for bash, easy on the eye: `/home/it's` becomes `'/home/it'"'"'s'`.

    Of a tuple each item is one. Raises `UserError` as `quote` does.
    """
    if isinstance(value, tuple | list):
        return Quoted(" ".join(quote_sh(item) for item in value))
    return Quoted(shlex.quote(_text(value)))


def quote_directive(value: object) -> Quoted:
    """One word of an #SBATCH line: `--comment=a b` becomes `--comment='a b'`; of a tuple, each.

    There a `#` begins a comment, and a backslash escapes also within single quotes (seen
    on 22.05), so bash's quoting would not do. Raises `UserError` as `quote` does.
    """
    if isinstance(value, tuple | list):
        return Quoted(" ".join(quote_directive(item) for item in value))
    text = _text(value, "sbatch option")
    if _DIRECTIVE_PLAIN.fullmatch(text):
        return Quoted(text)
    option = _DIRECTIVE_OPTION.match(text)
    start = option.end() if option else 0
    quoted = text[start:].replace("\\", "\\\\").replace("'", "\\'")
    return Quoted(f"{text[:start]}'{quoted}'")


def on_disk(path: Path) -> str:
    """A path such that the script, which is UTF-8, names the same bytes as this process does.

    In a locale such as de_DE.ISO-8859-1 Python reads other letters out of the same bytes.
    """
    return bytes(path).decode("utf-8", "surrogateescape")


def leave_raw(value: object) -> Quoted:
    """`value` as it is: for text of the template's own, never for what a user gave."""
    _refuse_none(value)
    return Quoted(value)


def _text(value: object, what: str = "value for the job script") -> str:
    _refuse_none(value)
    if isinstance(value, dict):
        raise UserError("a mapping can't stand in the job script", hint="name one of its values")
    text = on_disk(value) if isinstance(value, Path) else str(value)
    refuse_control_characters(what, text)
    return text


def _refuse_none(value: object) -> None:
    if value is None:
        raise UserError("a value is not set", hint="ask for it first: {% if spec.account %}")
