"""The man page, made from the same help texts as reference/commands.md; printed on stdout."""

from __future__ import annotations

import re

import click
from generate import Help, described, helps

from slurm_nb import __version__
from slurm_nb.cli.main import cli
from slurm_nb.errors import EXIT_CODES

_DESCRIPTION = (
    "slurm-nb starts Jupyter in a Slurm job. Once Jupyter is running, it prints an ssh line to"
    " paste into a terminal on your laptop, and a URL to open in the browser there."
)
_EXAMPLES = ("slurm-nb submit --time 2:00:00", "slurm-nb status --last", "slurm-nb cancel --last")


def man_page() -> str:
    """Return slurm-nb.1 in the language of man(7)."""
    parts = [
        f'.TH SLURM-NB 1 "" "slurm-nb {__version__}" "User Commands"',
        f".SH NAME\nslurm\\-nb \\- {_roff(_summary())}",
        ".SH SYNOPSIS\n.B slurm\\-nb\n.I COMMAND\n[OPTIONS] [ARGUMENTS]",
        ".SH DESCRIPTION",
        _roff(_DESCRIPTION),
        ".SH EXAMPLES",
        *(f".P\n.B {_roff(line)}" for line in _EXAMPLES),
        ".SH COMMANDS",
        *(_command(each) for each in helps()),
        ".SH EXIT STATUS",
        *(f".TP\n.B {code}\n{_roff(text)}" for code, text in EXIT_CODES.items()),
        ".SH SEE ALSO\n.BR sbatch (1),\n.BR squeue (1),\n.BR ssh (1)",
    ]
    return "\n".join(parts) + "\n"


def _summary() -> str:
    return (cli.help or "").strip().partition("\n")[0].rstrip(".")


def _command(command: Help) -> str:
    lines = [f".SS {_roff(command.path)}", f".B {_roff(command.usage)}"]
    for paragraph in command.text:
        kept = "\n" in paragraph
        lines += [".P", *([".nf"] if kept else []), _roff(paragraph), *([".fi"] if kept else [])]
    for heading, rows in command.sections.items():
        if heading not in {"Options", "Commands"}:
            lines.append(f".P\n.I {_roff(heading)}")
        for term, text in rows:
            lines.append(f".TP\n.B {_roff(term)}\n{_roff(described(term, text))}")
    return "\n".join(lines)


def _roff(text: str) -> str:
    """Return text with what man(7) would read as its own: backslash, hyphen, a dot that begins."""
    escaped = text.replace("\\", r"\e").replace("-", r"\-").replace('"', r"\(dq")
    return re.sub(r"^([.'])", r"\\&\1", escaped, flags=re.MULTILINE)


if __name__ == "__main__":
    click.echo(man_page(), nl=False)
