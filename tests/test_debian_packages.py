"""The messages of `make demo` and `make test` if Debian packages are missing."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from tests.conftest import AddProgram

SCRIPT = Path(__file__).with_name("debian-packages")


def run(*words: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Run the script as an ordinary user."""
    return subprocess.run(
        [SCRIPT, *words], env={**os.environ, **env}, capture_output=True, text=True, timeout=20,
        check=False,
    )  # fmt: skip


def test_without_venv_an_ordinary_user_reads_in_one_line_how_to_get_it(
    program: AddProgram,
) -> None:
    """The demo ends there: nothing after it could work."""
    program("id", "echo 1000")
    python = program("python-without-venv", "exit 1")

    said = run("venv", PYTHON=str(python))

    assert said.returncode == 1
    assert said.stderr == (
        f"{python} cannot make virtual environments;"
        " on Debian, as root: apt-get install python3-venv\n"
    )


def test_a_python_that_can_make_environments_needs_no_package(program: AddProgram) -> None:
    """The script does not need dpkg's answer: Python may not come from Debian."""
    program("id", "echo 1000")
    program("dpkg-query", "exit 1")
    python = program("python-of-a-site", "exit 0")

    said = run("venv", PYTHON=str(python))

    assert (said.returncode, said.stderr) == (0, "")


def test_an_ordinary_user_tests_with_the_installed_packages(program: AddProgram) -> None:
    """One line names the packages; tests that need them are skipped, and say so themselves."""
    program("id", "echo 1000")
    program("dpkg-query", "exit 1")

    said = run("test")

    assert said.returncode == 0
    assert said.stderr.startswith("not installed, for that takes root: python3-venv ")
    assert said.stderr.count("\n") == 1
