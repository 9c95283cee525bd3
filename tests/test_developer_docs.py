"""The pages for developers name files, packages and records that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "slurm_nb"
HOW_IT_WORKS = ROOT / "docs/explanation/how-it-works.md"
DECISIONS = ROOT / "docs/explanation/decisions.md"
PAGES = [HOW_IT_WORKS, DECISIONS, ROOT / "docs/contributing.md"]
_ROW = re.compile(r"^\| `([\w.]+)` \|", re.MULTILINE)
_RECORD = re.compile(r"^### (\d+)\. ", re.MULTILINE)
_PATH = re.compile(r"`([\w.]+/[\w./-]*(?:/|\.(?:py|js|j2|sh|md|txt|diff)))`")


def test_the_packages_of_the_page_are_those_that_there_are() -> None:
    """A new package or module of the root gets its line."""
    found = {path.name for path in PACKAGE.iterdir() if path.suffix == ".py" or path.is_dir()}
    text = HOW_IT_WORKS.read_text(encoding="utf-8")

    rows = _ROW.findall(text.partition("\n## Packages\n")[2].partition("\n## ")[0])

    assert sorted(rows) == sorted(found - {"__pycache__"})


def test_the_decisions_have_numbers_of_their_own() -> None:
    """A record is cited by its number, so there is none twice, and no gap."""
    numbers = [int(number) for number in _RECORD.findall(DECISIONS.read_text(encoding="utf-8"))]

    assert len(numbers) > 40
    assert sorted(numbers) == list(range(1, len(numbers) + 1))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_file_that_a_page_for_developers_names_exists(page: Path) -> None:
    """Paths are those of the checkout or of the package; NAME stands for a new file."""
    paths = [path for path in _PATH.findall(page.read_text(encoding="utf-8")) if path.islower()]

    assert paths
    assert [path for path in paths if not _is_there(path)] == []


def _is_there(path: str) -> bool:
    return any((folder / path).exists() for folder in (ROOT, PACKAGE))
