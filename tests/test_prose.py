"""The prose check finds the sentences that it was made for, and accepts their replacements."""

from __future__ import annotations

import tomllib

import pytest

from tests import prose
from tests.conftest import DATA

_DATA = tomllib.loads((DATA / "prose_examples.toml").read_text(encoding="utf-8"))
EXAMPLES = _DATA["example"]
PLAIN = [(row["kind"], sentence) for row in _DATA["plain"] for sentence in row["sentences"]]
TABLE = prose.patterns()


def check(kind: str, words: str) -> list[str]:
    """Return the findings in a text of this kind."""
    return list(prose.findings(prose.Text("FILE", 1, kind, words), TABLE))


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example["before"][:40])
def test_a_sentence_that_reads_as_translated_is_found(example: dict[str, str]) -> None:
    """Each sentence of the "before" column has a finding."""
    assert check(example["kind"], example["before"])


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example["after"][:40])
def test_plain_english_is_accepted(example: dict[str, str]) -> None:
    """No sentence of the "after" column has a finding."""
    assert check(example["kind"], example["after"]) == []


@pytest.mark.parametrize(("kind", "sentence"), PLAIN)
def test_a_plain_sentence_near_a_pattern_is_accepted(kind: str, sentence: str) -> None:
    """The patterns describe bad English, not every use of a word."""
    assert check(kind, sentence) == []


def test_the_patterns_for_messages_do_not_apply_to_docstrings() -> None:
    """Docstrings and comments follow rules 1, 2, 3 and 8 only."""
    assert check("message", "the file can't be read")
    assert check("docstring", "the file can't be read") == []


def test_a_page_is_read_without_its_code() -> None:
    """A finding names the line of the words; code blocks, code spans and addresses are skipped."""
    page = """# Use it

Text with `goes on` and <https://goes.on/anew>.
It is long and
goes on here.

```sh
echo goes on
```

| a | goes on |
- one
- goes on
"""

    found = [line for text in prose.markdown("P.md", page) for line in prose.findings(text, TABLE)]

    assert [line.partition(" ")[0] for line in found] == ["P.md:5:", "P.md:11:", "P.md:13:"]


def test_messages_of_the_package_are_read_and_those_of_tests_are_not() -> None:
    """Regular expressions are skipped, and values in f-strings count as a word."""
    source = """def test_it_goes_on() -> None:
    raise Error(f"job {number} goes on", r"it goes on", hint="wait: "
                "it goes on")
"""

    def found(file: str) -> list[str]:
        return [
            line.split(" ")[0] + line.split("(")[1].split(")")[0]
            for text in prose.python(file, source)
            for line in prose.findings(text, TABLE)
        ]

    assert found("tests/test_it.py") == ["tests/test_it.py:1:name"]
    assert sorted(found("slurm_nb/it.py")) == [
        "slurm_nb/it.py:1:name", "slurm_nb/it.py:2:message", "slurm_nb/it.py:2:message",
    ]  # fmt: skip


def test_a_truncated_summary_is_found() -> None:
    """A summary in the list of commands must fit on its line."""
    assert check("summary", "audit   Check that nobody else gets into a session, and show...")
    assert check("summary", "audit   Check that a session is private.") == []
