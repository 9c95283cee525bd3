"""The command line: the group that loads a command when it is called, and the error boundary."""

from __future__ import annotations

import os
import sys
from importlib import import_module

import click

from slurm_nb import __version__
from slurm_nb.errors import EXIT_BUG, EXIT_CODES, EXIT_INTERRUPTED, SlurmNbError

_PACKAGE = "slurm_nb.cli.commands"
_COMMANDS = {
    "submit": "submit",
    "wait": "wait",
    "list": "list_",
    "status": "status",
    "tunnel-cmd": "tunnel_cmd",
    "url": "url",
    "open": "open_",
    "logs": "logs",
    "cancel": "cancel",
    "password": "password",
    "audit": "audit",
    "config": "config",
    "completion": "completion",
}


class _Commands(click.Group):
    """One module of this package per command, imported when it is needed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        command: click.Command = import_module(f"{_PACKAGE}.{_COMMANDS[cmd_name]}").command
        return command


_EPILOG = "\b\nExit codes:\n" + "\n".join(f"{code:5}  {text}" for code, text in EXIT_CODES.items())


@click.group(
    cls=_Commands, epilog=_EPILOG, context_settings={"help_option_names": ["-h", "--help"]}
)
@click.version_option(__version__, prog_name="slurm-nb")
def cli() -> None:
    """Jupyter on a Slurm compute node, and the ssh line that brings it to your laptop."""


def run() -> int:
    """Run slurm-nb; 0, or one of `errors.EXIT_CODES` after one line on stderr."""
    # A umask that takes from the owner leaves files that not even slurm-nb can read.
    os.umask(os.umask(0o077) & 0o077)
    try:
        code = cli.main(prog_name="slurm-nb", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        if isinstance(error, click.NoSuchOption):
            click.echo("  options of sbatch go after --: slurm-nb submit -- --exclusive", err=True)
        return error.exit_code
    except click.Abort:
        nothing = "; nothing was submitted" if sys.argv[1:2] == ["submit"] else ""
        click.echo(f"Interrupted{nothing}.", err=True)
        return EXIT_INTERRUPTED
    except SlurmNbError as error:
        from slurm_nb.cli.console import complain

        complain(error)
        return error.exit_code
    except OSError as error:
        click.echo(f"slurm-nb: {error.strerror}: {error.filename or 'output'}", err=True)
        return 1
    except Exception:  # noqa: BLE001  the one catch-all: no traceback on the user's screen
        from slurm_nb.cli.console import report_bug

        report_bug()
        return EXIT_BUG
    return code if isinstance(code, int) else 0
