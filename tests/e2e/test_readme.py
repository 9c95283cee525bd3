"""The README's commands, with their true output."""

from __future__ import annotations

import re
from pathlib import Path

from tests.e2e.scientist import Scientist

README = Path(__file__).resolve().parents[2] / "README.md"
_CONSOLE = re.compile(r"^```console\n\$ (.*?)\n(.*?)^```", re.MULTILINE | re.DOTALL)
# What differs from one job to the next.
_VARIES = [
    (re.compile(r"token=[0-9a-f]{64}"), "token=TOKEN"),
    (re.compile(r"\x1b\[\d*m|\x1b\]8;.*?\x1b\\"), ""),
    (re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d"), "TIME"),
    (re.compile(r":127\.0\.0\.1:\d+"), ":127.0.0.1:PORT"),
    (re.compile(r"(-L 127.0.0.1:|http://127.0.0.1:)\d+"), r"\1LOCAL"),
    (re.compile(r"\b(job|wait|tunnel-cmd|cancel|status) \d+"), r"\1 JOBID"),
    (re.compile(r"\bc[12]\b"), "NODE"),
]


def test_the_three_commands_print_what_the_readme_shows(alice: Scientist) -> None:
    """On a terminal, submit, tunnel-cmd and cancel print the README's lines, word for word."""
    blocks = _CONSOLE.findall(README.read_text(encoding="utf-8"))
    words = [line.split()[1:] for line, _ in blocks]
    assert [command[0] for command in words] == ["submit", "tunnel-cmd", "cancel"]

    came_in = {"SSH_CONNECTION": "10.98.0.11 50000 10.98.0.1 22"}  # that of login.cluster.test

    printed = [alice.on_terminal(*words[0], env=came_in)]
    (job_id,) = alice.squeue("%i")
    printed += [alice.on_terminal(command[0], job_id) for command in words[1:]]

    assert [_alike(text) for text in printed] == [_alike(text) for _, text in blocks]


def _alike(text: str) -> str:
    for pattern, name in _VARIES:
        text = pattern.sub(name, text)
    return text
