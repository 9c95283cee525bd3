"""What is shown is shown whole, and steers no terminal."""

from __future__ import annotations

import pytest

from slurm_nb.cli.console import table, visible


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain é 名 ~", "plain é 名 ~"),
        ("two\nlines", "two\nlines"),
        ("\x00\x1b\x7f\x85", "\\x00\\x1b\\x7f\\x85"),
        ("\\x1b", "\\x1b"),
    ],
)
def test_text_is_made_visible(text: str, shown: str) -> None:
    """Only what is invisible is changed."""
    assert visible(text) == shown


def test_a_table_has_aligned_columns_and_one_line_a_row() -> None:
    """No text can forge another row, and no blanks stand at the end of a line."""
    rows = [("A", "LONG", "C"), ("longer", "b", ""), ("x", "y\nz", "\x1b[2J")]

    assert table(rows).splitlines() == [
        "A       LONG  C",
        "longer  b",
        "x       y\\nz  \\x1b[2J",
    ]
