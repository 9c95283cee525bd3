"""slurm-nb password"""

from __future__ import annotations

import click

from slurm_nb.cli.console import say
from slurm_nb.cli.options import UserContext, pass_user
from slurm_nb.errors import UserError
from slurm_nb.files import write_private

_SHORTEST = 8


@click.command("password")
@pass_user
def command(user: UserContext) -> None:
    """Set the password for `submit --auth password`.

    Asked for twice; only its argon2 hash is stored, in a file of yours alone.
    """
    path = user.store.password_path
    password = click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
    if len(password) < _SHORTEST:
        raise UserError(f"a password has {_SHORTEST} characters or more", hint="nothing was stored")
    # Jupyter's own hashing, which is what the server compares with; slow to import.
    from jupyter_server.auth.security import passwd

    write_private(path, str(passwd(password, algorithm="argon2")))  # type: ignore[no-untyped-call]
    say("Stored. Sessions use it with: slurm-nb submit --auth password")
