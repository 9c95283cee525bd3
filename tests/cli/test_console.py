"""Text is shown in full and cannot control the terminal."""

from __future__ import annotations

import pytest

from slurm_nb.cli.console import bold, link, table, visible


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain é 名 ~", "plain é 名 ~"),
        ("two\nlines", "two\nlines"),
        ("\x00\x1b\x7f\x85", "\\x00\\x1b\\x7f\\x85"),
        ("\\x1b", "\\x1b"),
    ],
)
def test_invisible_characters_become_visible(text: str, shown: str) -> None:
    """All other text stays as it is."""
    assert visible(text) == shown


def test_a_table_has_aligned_columns_and_one_line_for_each_row() -> None:
    """No text can forge another row, and no line ends in blanks."""
    rows = [("A", "LONG", "C"), ("longer", "b", ""), ("x", "y\nz", "\x1b[2J")]

    assert table(rows).splitlines() == [
        "A       LONG  C",
        "longer  b",
        "x       y\\nz  \\x1b[2J",
    ]


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Make stdout a terminal with hyperlinks."""
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    return monkeypatch


@pytest.mark.usefixtures("terminal")
def test_a_terminal_shows_bold_text_and_hyperlinks() -> None:
    """The two lines to copy are bold, and a click opens the URL."""
    assert bold("ssh") == "\x1b[1mssh\x1b[0m"
    assert link("http://x") == "\x1b]8;;http://x\x1b\\\x1b[1mhttp://x\x1b[0m\x1b]8;;\x1b\\"


@pytest.mark.parametrize(
    ("name", "value"), [("NO_COLOR", "1"), ("TERM", "dumb"), ("TERM", ""), ("TERM", None)]
)
def test_a_terminal_without_styles_gets_plain_text(
    terminal: pytest.MonkeyPatch, name: str, value: str | None
) -> None:
    """slurm-nb respects NO_COLOR and a dumb terminal."""
    if value is None:
        terminal.delenv(name)
    else:
        terminal.setenv(name, value)

    assert (bold("ssh"), link("http://x")) == ("ssh", "http://x")


def test_a_terminal_without_hyperlinks_gets_plain_urls(terminal: pytest.MonkeyPatch) -> None:
    """The Linux console would print the escape sequence."""
    terminal.setenv("TERM", "linux")

    assert link("http://x") == bold("http://x")


def test_a_file_gets_plain_text() -> None:
    """A program that reads stdout finds only the command."""
    assert (bold("ssh"), link("http://x")) == ("ssh", "http://x")
