"""slurm-nb password"""

from __future__ import annotations

import contextlib
import getpass
import io
import os
import pty
import stat
import sys
import warnings
from collections.abc import Callable

import pytest

from slurm_nb.files import write_private
from slurm_nb.session.store import Store
from tests.conftest import ROOT
from tests.fakes import Run

PASSWORD = "correct horse é"  # noqa: S105  only for these tests


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """Return a function that answers hidden prompts and records them."""

    def type_in(*words: str) -> list[str]:
        left, prompts = list(words), list[str]()

        def hidden(prompt: str) -> str:
            prompts.append(prompt)
            if not left:
                raise EOFError
            return left.pop(0)

        monkeypatch.setattr("click.termui.hidden_prompt_func", hidden)
        return prompts

    return type_in


Typed = Callable[..., list[str]]


def test_password_prompts_twice_and_stores_only_the_hash(
    run: Run, store: Store, typed: Typed
) -> None:
    """Jupyter can compare with the hash, and only the user can read the file."""
    from jupyter_server.auth.security import passwd_check  # noqa: PLC0415  slow to import

    prompts = typed(PASSWORD, PASSWORD)
    old = os.umask(0)
    try:
        result = run("password")
    finally:
        os.umask(old)

    stored = store.password_path.read_text(encoding="ascii")
    assert (result.code, result.out, len(prompts)) == (0, "", 2)
    assert PASSWORD not in result.err
    assert stored.startswith("argon2:$argon2id$")
    assert PASSWORD not in stored
    assert passwd_check(stored, PASSWORD)  # type: ignore[no-untyped-call]
    assert stat.S_IMODE(store.password_path.stat().st_mode) == 0o600


def test_password_prompts_again_if_the_two_differ(run: Run, store: Store, typed: Typed) -> None:
    """A typing mistake is not stored."""
    prompts = typed(PASSWORD, PASSWORD + "x", PASSWORD, PASSWORD)

    result = run("password")

    assert (result.code, len(prompts)) == (0, 4)
    assert PASSWORD not in result.out + result.err
    assert store.password_path.exists()


def test_two_passwords_that_never_match_are_not_stored(
    run: Run, store: Store, typed: Typed
) -> None:
    """If you give up, any earlier password stays."""
    typed(PASSWORD, PASSWORD + "x")

    result = run("password")

    assert result.code == 130
    assert PASSWORD not in result.out + result.err
    assert not store.password_path.exists()


@pytest.mark.parametrize("short", ["x", "1234567"])
def test_a_short_password_is_rejected(run: Run, store: Store, typed: Typed, short: str) -> None:
    """Fewer than eight characters protect nothing; an earlier password stays."""
    write_private(store.password_path, "argon2:before")
    typed(short, short)

    result = run("password")

    assert (result.code, result.out) == (1, "")
    assert "8 characters" in result.err
    assert short not in result.err.replace(
        "slurm-nb: the password must have at least 8 characters", ""
    )
    assert store.password_path.read_text(encoding="ascii") == "argon2:before"


def test_the_password_is_never_an_argument(run: Run) -> None:
    """On a command line every user could read it."""
    assert run("password", PASSWORD).code == 2


def test_a_terminal_does_not_show_the_password(store: Store) -> None:
    """A real terminal echoes nothing that is typed."""
    argv = [sys.executable, "-m", "slurm_nb", "password"]
    environ = {**os.environ, "SLURM_NB_HOME": str(store.folder), "PYTHONPATH": str(ROOT)}
    child, terminal = pty.fork()
    if child == 0:
        os.execve(argv[0], argv, environ)  # noqa: S606  with its own terminal
    seen = b""
    with contextlib.suppress(OSError):  # EIO: the other end is closed
        while more := os.read(terminal, 1024):
            seen += more
            if seen.endswith(b": "):  # the terminal no longer echoes
                os.write(terminal, f"{PASSWORD}\n".encode())
    _, status = os.waitpid(child, 0)
    os.close(terminal)

    assert os.waitstatus_to_exitcode(status) == 0, seen
    assert PASSWORD.encode() not in seen
    assert store.password_path.exists()


def _without_terminal(monkeypatch: pytest.MonkeyPatch, stdin: str) -> None:
    def hidden(_prompt: str) -> str:
        warnings.warn("Can not control echo", getpass.GetPassWarning, stacklevel=2)
        return PASSWORD

    monkeypatch.setattr("click.termui.hidden_prompt_func", hidden)
    monkeypatch.setattr("sys.stdin", io.StringIO(stdin))


def test_without_a_terminal_and_stdin_the_error_says_what_to_do(
    run: Run, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is one line instead of Python's warning that the password may be echoed."""
    _without_terminal(monkeypatch, "")

    result = run("password")

    assert result.code == 1
    assert result.err.startswith("slurm-nb: cannot read a password without a terminal\n")
    assert not store.password_path.exists()


@pytest.mark.parametrize(
    ("stdin", "code"),
    [(f"{PASSWORD}\n", 0), (f"{PASSWORD}\n{PASSWORD}\n", 0), (f"{PASSWORD}\nanother\n", 1)],
)
def test_a_script_passes_the_password_on_stdin(
    run: Run, store: Store, monkeypatch: pytest.MonkeyPatch, stdin: str, code: int
) -> None:
    """One line is enough; a second one must repeat it."""
    _without_terminal(monkeypatch, stdin)

    result = run("password")

    assert result.code == code
    assert store.password_path.exists() is (code == 0)
