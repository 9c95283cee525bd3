"""Quote values in the job script, so that bash and Slurm read them as plain text."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from slurm_nb.errors import UserError
from slurm_nb.job.text import refuse_control_characters

_SPECIAL = re.compile(r"[^\w@%+=:,./-]")
_DIRECTIVE_PLAIN = re.compile(r"[\w@%+=:,./-]+")
_DIRECTIVE_OPTION = re.compile(r"--[a-z-]+=", re.ASCII)


class Quoted(str):
    """Text that needs no more quoting in the job script."""

    __slots__ = ()


def quote(value: object) -> Quoted:
    r"""Return the text for `{{ value }}`: `it\'s` for `it's`; each item of a tuple is a word.

    Uses backslashes, not quotes, so that the value is safe even in a template's `"{{ value }}"`,
    where bash reads `'$(id)'` as a command. Raises `UserError` for None, which the template must
    check for, and for a mapping.
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
    """Return one readable word for bash: `/home/it's` becomes `'/home/it'"'"'s'`.

    Each item of a tuple becomes a word. Raises `UserError` like `quote`.
    """
    if isinstance(value, tuple | list):
        return Quoted(" ".join(quote_sh(item) for item in value))
    return Quoted(shlex.quote(_text(value)))


def quote_directive(value: object) -> Quoted:
    """Return one word of an #SBATCH line: `--comment='a b'` for `--comment=a b`.

    Each item of a tuple becomes a word. In such a line a `#` begins a comment, and a backslash
    escapes even within single quotes (seen on 22.05), unlike in bash. Raises `UserError` like
    `quote`.
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
    """Return a path that means the same bytes in the script, which is UTF-8, as in this process.

    In a locale such as de_DE.ISO-8859-1 Python decodes the same bytes differently.
    """
    return bytes(path).decode("utf-8", "surrogateescape")


def leave_raw(value: object) -> Quoted:
    """Return `value` unchanged: for text of the template, never for a user's values."""
    _refuse_none(value)
    return Quoted(value)


def _text(value: object, what: str = "value for the job script") -> str:
    _refuse_none(value)
    if isinstance(value, dict):
        raise UserError(
            "a mapping cannot be written to the job script", hint="use one of its values"
        )
    text = on_disk(value) if isinstance(value, Path) else str(value)
    refuse_control_characters(what, text)
    return text


def _refuse_none(value: object) -> None:
    if value is None:
        raise UserError("a value is not set", hint="check for it first: {% if spec.account %}")
