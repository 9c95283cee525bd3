"""slurm-nb password"""

from __future__ import annotations

import sys
import warnings
from getpass import GetPassWarning

import click

from slurm_nb.cli.console import say
from slurm_nb.cli.sessions import UserContext, pass_user
from slurm_nb.errors import UserError
from slurm_nb.files import write_private

_SHORTEST = 8


@click.command("password")
@pass_user
def command(user: UserContext) -> None:
    """Set the password for submit --auth password.

    slurm-nb asks for it twice, and saves only its argon2 hash, in a file that
    only you can read.
    """
    path = user.store.password_path
    with warnings.catch_warnings():
        warnings.simplefilter("error", GetPassWarning)
        try:
            password = click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
        except GetPassWarning:
            password = _read_stdin()
    if len(password) < _SHORTEST:
        raise UserError(
            f"the password must have at least {_SHORTEST} characters", hint="nothing was saved"
        )
    # Jupyter's own hash function, which the server uses; slow to import.
    from jupyter_server.auth.security import passwd

    write_private(path, str(passwd(password, algorithm="argon2")))  # type: ignore[no-untyped-call]
    say("Saved. Use it with: slurm-nb submit --auth password")


def _read_stdin() -> str:
    """Return the password that a script passes: one line, or the same line twice."""
    first, second = (sys.stdin.readline().rstrip("\n") for _ in range(2))
    if not first:
        raise UserError(
            "cannot read a password without a terminal",
            hint="run it in a terminal, or pass the password on stdin",
        )
    if second not in {"", first}:
        raise UserError("the two passwords differ", hint="nothing was saved")
    return first
