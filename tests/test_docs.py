"""What README and docs/ tell the reader to type, and what they say of the program, is so."""

from __future__ import annotations

import ast
import os
import re
import shlex
from collections.abc import Sequence
from pathlib import Path

import click
import pytest

from slurm_nb.cli.main import cli
from slurm_nb.diagnosis import causes, reasons
from slurm_nb.errors import EXIT_CODES
from slurm_nb.scheduler.job import Job
from slurm_nb.session.session import Session
from slurm_nb.session.store import Store

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
_FENCE = re.compile(r"^```(?:sh|console)\n(.*?)^```", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(([^)#:]+)(?:#[^)]*)?\)")
_ANCHOR = re.compile(r"\]\(([^)#:]*)#([^)]+)\)")
_HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)
_GENERATED = re.compile(r"(<!-- generated: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
_TABLES: dict[str, Sequence[tuple[str, ...]]] = {
    "reasons": [("reason", "why"), *reasons.rows()],
    "endings": [("what you see", "why", "what to do"), *causes.rows()],
}
_TEST = re.compile(r"^- `(tests/[\w/]+\.py)::(test_\w+)`$", re.MULTILINE)


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
def test_every_slurm_nb_command_of_the_docs_is_one(line: str, store: Store) -> None:
    """Command, options and values are accepted by the program's own parser."""
    store.save(Session(job=Job("7", "hpc"), options=("--time=90",)))
    name, *words = shlex.split(line.partition(" > ")[0], comments=True)[1:]
    group = click.Context(cli, **cli.context_settings)

    command = cli.get_command(group, name)

    assert command is not None
    assert command.make_context(name, words, parent=group).info_name == name


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


def test_the_tables_of_troubleshooting_are_the_programs() -> None:
    """They are what the messages are made of; renewed with SLURM_NB_UPDATE_GOLDEN=1."""
    page = ROOT / "docs/troubleshooting.md"
    text = page.read_text(encoding="utf-8")

    made = _GENERATED.sub(lambda part: part[1] + _table(_TABLES[part[2]]) + part[3], text)

    if os.environ.get("SLURM_NB_UPDATE_GOLDEN"):
        page.write_text(made, encoding="utf-8")
    assert {part[2] for part in _GENERATED.finditer(text)} == set(_TABLES)
    assert made == page.read_text(encoding="utf-8")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_between_pages_leads_somewhere(page: Path) -> None:
    """Relative links and pictures exist."""
    links = _LINK.findall(page.read_text(encoding="utf-8"))

    assert [link for link in links if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_to_a_heading_leads_to_one(page: Path) -> None:
    """The part of a link after # is a heading of that page, as GitHub writes it."""
    links = _ANCHOR.findall(page.read_text(encoding="utf-8"))

    assert [
        link for link in links if link[1] not in _anchors(page.parent / (link[0] or page))
    ] == []


def test_every_test_that_a_promise_names_exists() -> None:
    """docs/security.md shows each promise by tests, and there is none that it only claims."""
    text = (ROOT / "docs/security.md").read_text(encoding="utf-8")
    named = _TEST.findall(text)

    missing = [(path, name) for path, name in named if name not in _tests(ROOT / path)]

    assert len(named) == text.count("::test_") > 0
    assert missing == []


def test_every_promise_names_a_test() -> None:
    """No heading under "What is promised" is without one."""
    text = (ROOT / "docs/security.md").read_text(encoding="utf-8")
    promised = text.partition("## What is promised\n")[2].partition("\n## ")[0]
    promises = promised.split("\n### ")[1:]

    assert promises
    assert [promise.splitlines()[0] for promise in promises if not _TEST.search(promise)] == []


def test_every_attack_stands_behind_a_promise_or_an_exception() -> None:
    """Each test of tests/attacks is named in docs/security.md."""
    text = (ROOT / "docs/security.md").read_text(encoding="utf-8")
    files = sorted((ROOT / "tests/attacks").glob("test_*.py"))
    attacks = [f"{path.relative_to(ROOT)}::{name}" for path in files for name in _tests(path)]

    assert attacks
    assert [attack for attack in attacks if f"`{attack}`" not in text] == []


def _table(rows: Sequence[tuple[str, ...]]) -> str:
    lines = [f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in rows]
    return "\n".join([lines[0], "|---" * len(rows[0]) + "|", *lines[1:]]) + "\n"


def _tests(path: Path) -> list[str]:
    """Names of the tests in a file; none when there is no such file."""
    if not path.exists():
        return []
    nodes = ast.parse(path.read_text(encoding="utf-8")).body
    names = [node.name for node in nodes if isinstance(node, ast.FunctionDef)]
    return [name for name in names if name.startswith("test_")]


def _anchors(page: Path) -> list[str]:
    headings = _HEADING.findall(page.read_text(encoding="utf-8"))
    return [re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings]
