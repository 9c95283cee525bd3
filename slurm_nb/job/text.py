"""Check the text that a user passes."""

from __future__ import annotations

from collections.abc import Collection

from slurm_nb.errors import UserError


def refuse_control_characters(what: str, text: str, *, options: Collection[str] = ()) -> None:
    """Raise `UserError` if `text` contains a newline or another unprintable character.

    sbatch accepts a newline in a job name, which splits squeue's lines (seen on 22.05); in a job
    script it would start a new line. A lone surrogate is a byte that is not UTF-8, which neither
    the script nor the session file can contain.
    """
    if any(
        ord(char) < 32 or 127 <= ord(char) < 160 or 0xD800 <= ord(char) < 0xE000 for char in text
    ):
        raise UserError(
            f"{what} {text!r}: contains a newline, a control character or a byte that is not UTF-8",
            hint="" if text.isascii() else "check that your locale uses UTF-8: locale charmap",
            options=options,
        )
