"""The pages for developers name files, packages and records that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "slurm_nb"
HOW_IT_WORKS = ROOT / "docs/explanation/how-it-works.md"
DECISIONS = ROOT / "docs/explanation/decisions.md"
CONTRIBUTING = ROOT / "docs/contributing.md"
PAGES = [HOW_IT_WORKS, DECISIONS, CONTRIBUTING]
MOST_FILES = {
    "A command": 4,
    "An option of sbatch": 5,
    "An option that reaches the server": 8,
    "A cause of an ending": 5,
    "A route": 12,
    "A site's template": 4,
    "A file of the kit": 2,
}
_ROW = re.compile(r"^\| `([\w.]+)` \|", re.MULTILINE)
_FILE_TO_TOUCH = re.compile(r"^\d+\. `", re.MULTILINE)
_RECORD = re.compile(r"^### (\d+)\. ", re.MULTILINE)
_PATH = re.compile(r"`([\w.]+/[\w./-]*(?:/|\.(?:py|js|j2|sh|md|txt|diff)))`")


def test_the_page_lists_the_packages_that_exist() -> None:
    """A new package or module of the root gets its line."""
    found = {path.name for path in PACKAGE.iterdir() if path.suffix == ".py" or path.is_dir()}
    text = HOW_IT_WORKS.read_text(encoding="utf-8")

    rows = _ROW.findall(text.partition("\n## Packages\n")[2].partition("\n## ")[0])

    assert sorted(rows) == sorted(found - {"__pycache__"})


def test_each_decision_has_its_own_number() -> None:
    """A record is cited by its number, so no number occurs twice, and there is no gap."""
    numbers = [int(number) for number in _RECORD.findall(DECISIONS.read_text(encoding="utf-8"))]

    assert len(numbers) > 40
    assert sorted(numbers) == list(range(1, len(numbers) + 1))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_file_that_a_page_for_developers_names_exists(page: Path) -> None:
    """Paths are those of the checkout or of the package; NAME stands for a new file."""
    paths = [path for path in _PATH.findall(page.read_text(encoding="utf-8")) if path.islower()]

    assert paths
    assert [path for path in paths if not _is_there(path)] == []


def test_a_change_touches_few_files() -> None:
    """Each list of "How to add" has a file per number, and no more than was agreed on."""
    text = CONTRIBUTING.read_text(encoding="utf-8")
    lists = text.partition("\n## How to add\n")[2].partition("\n## ")[0].split("\n### ")[1:]

    counts = {each.partition("\n")[0]: len(_FILE_TO_TOUCH.findall(each)) for each in lists}

    assert counts == MOST_FILES


def _is_there(path: str) -> bool:
    return any((folder / path).exists() for folder in (ROOT, PACKAGE))
