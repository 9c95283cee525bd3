"""The command line: the group of commands, and the error boundary."""

from __future__ import annotations

import os
import sys
from importlib import import_module

import click

from slurm_nb import __version__
from slurm_nb.errors import (
    EXIT_BUG,
    EXIT_CODES,
    EXIT_INTERRUPTED,
    NotReady,
    SlurmNbError,
    UsageError,
)

_PACKAGE = "slurm_nb.cli.commands"
_MODULES = {
    "list": "list_",
    "open": "open_",
    "tunnel-cmd": "tunnel_cmd",
    "ssh-config": "ssh_config",
}
GROUPS = {
    "Start": ("submit", "wait"),
    "Connect": ("tunnel-cmd", "connect", "url", "open", "ssh-config"),
    "Look": ("list", "status", "logs", "audit"),
    "End": ("cancel",),
    "Set up": ("config", "template", "password", "completion"),
}
"""The commands, in the order of `slurm-nb --help`."""

_START = """\
Start Jupyter on a compute node:  slurm-nb submit
List your sessions:               slurm-nb list

All commands: slurm-nb --help"""


class Commands(click.Group):
    """A group with one module per command, imported when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: D102  click's
        return [name for names in GROUPS.values() for name in names]

    def get_command(  # noqa: D102  click's
        self, ctx: click.Context, cmd_name: str
    ) -> click.Command | None:
        if cmd_name not in self.list_commands(ctx):
            return None
        module = import_module(f"{_PACKAGE}.{_MODULES.get(cmd_name, cmd_name)}")
        command: click.Command = module.command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command; reject an unknown one with the command line that was probably meant."""
        if args and not ctx.resilient_parsing and self.get_command(ctx, args[0]) is None:
            from slurm_nb.cli.suggestions import unknown_command

            raise unknown_command(args, self.list_commands(ctx))
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands in their groups, with their whole summaries."""
        width = max(map(len, self.list_commands(ctx)))
        for heading, names in GROUPS.items():
            commands = [(name, self.get_command(ctx, name)) for name in names]
            with formatter.section(heading):
                formatter.write_dl(
                    [(name.ljust(width), _summary(each)) for name, each in commands if each]
                )


def _summary(command: click.Command) -> str:
    """Return the first sentence of a command's help, which fits on a line of 80 columns."""
    return (command.help or "").strip().partition("\n")[0].removesuffix(".")


_EPILOG = "\b\nExit codes:\n" + "\n".join(f"{code:5}  {text}" for code, text in EXIT_CODES.items())


@click.group(
    cls=Commands,
    epilog=_EPILOG,
    invoke_without_command=True,
    subcommand_metavar="COMMAND [ARGS]...",
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(__version__, prog_name="slurm-nb")
@click.pass_context
def cli(ctx: click.Context) -> None:
    """Run Jupyter on a Slurm compute node and use it in your laptop's browser.

    JOBID is a job id or a job name (submit -J). Without it, a command uses your
    only active session.
    """
    if ctx.invoked_subcommand is None:
        click.echo(_START)


def run() -> int:
    """Run slurm-nb; return 0, or one of `errors.EXIT_CODES` after a message on stderr."""
    # With a umask that denies access to the owner, slurm-nb could not read its own files.
    os.umask(os.umask(0o077) & 0o077)
    try:
        code = cli.main(prog_name="slurm-nb", standalone_mode=False)
    except click.NoSuchOption as error:
        from slurm_nb.cli.suggestions import unknown_option

        return _fail(unknown_option(error, sys.argv[1:]))
    except click.ClickException as error:
        error.show()
        return _answered(error.format_message(), hint="", exit_code=error.exit_code)
    except click.Abort:
        nothing = "; nothing was submitted" if sys.argv[1:2] == ["submit"] else ""
        click.echo(f"Interrupted{nothing}.", err=True)
        code = EXIT_INTERRUPTED
    except SlurmNbError as error:
        return _fail(error)
    except OSError as error:
        message = f"{error.strerror}: {error.filename or 'output'}"
        return _fail(SlurmNbError(message))
    except Exception:  # noqa: BLE001  the one catch-all: users see no traceback
        from slurm_nb.cli.console import report_bug, say_help

        report_bug()
        say_help()
        return _answered("internal error", hint="see stderr", exit_code=EXIT_BUG)
    return code if isinstance(code, int) else 0


def _fail(error: SlurmNbError) -> int:
    from slurm_nb.cli.console import complain, say_help

    complain(error)
    if not isinstance(error, UsageError | NotReady):
        say_help()
    return _answered(str(error), hint=error.hint, exit_code=error.exit_code, **error.record)


def _answered(message: str, *, hint: str, exit_code: int, **record: object) -> int:
    """Return the exit code; with --json, print an object that has it and the message."""
    words = sys.argv[1:]
    if "--json" in (words[: words.index("--")] if "--" in words else words):
        from slurm_nb.cli.console import answer_json

        answer_json({**record, "error": message, "hint": hint, "exit_code": exit_code})
    return exit_code
