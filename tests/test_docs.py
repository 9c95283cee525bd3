"""What README and docs/ tell the reader to type, and what they say of the program, is so."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest

from slurm_nb.commands import cli
from slurm_nb.errors import EXIT_CODES

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
_FENCE = re.compile(r"^```(?:sh|console)\n(.*?)^```", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(([^)#:]+)\)")


def _commands(program: str) -> list[str]:
    """Every line in a shell block that calls `program`."""
    lines = []
    for page in PAGES:
        for block in _FENCE.findall(page.read_text(encoding="utf-8")):
            for line in block.splitlines():
                command = line.removeprefix("$ ")
                if command.split(" ")[0] == program:
                    lines.append(command)
    return lines


@pytest.mark.parametrize("line", _commands("slurm-nb"))
def test_every_slurm_nb_command_of_the_docs_is_one(line: str) -> None:
    """Command, options and values are accepted by the program's own parser."""
    name, *words = shlex.split(line.partition(" > ")[0], comments=True)[1:]

    command = cli.get_command(click.Context(cli), name)

    assert command is not None
    assert command.make_context(name, words).params


@pytest.mark.parametrize("line", _commands("make"))
def test_every_make_target_of_the_docs_exists(line: str) -> None:
    """`make TARGET` names a rule of the Makefile."""
    target = line.split()[1]

    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)


def test_the_exit_codes_of_the_docs_are_the_programs() -> None:
    """The table in docs/usage.md names each code, and what it means."""
    text = (ROOT / "docs/usage.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| (\d+) \| (.*?) \|$", text, re.MULTILINE))

    assert [int(code) for code in rows] == list(EXIT_CODES)
    assert all(rows[str(code)].startswith(said) for code, said in EXIT_CODES.items())


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_between_pages_leads_somewhere(page: Path) -> None:
    """Relative links and pictures exist."""
    links = _LINK.findall(page.read_text(encoding="utf-8"))

    assert [link for link in links if not (page.parent / link).exists()] == []
