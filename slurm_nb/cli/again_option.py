"""The option `--again`: resubmit with the options of an earlier session."""

from __future__ import annotations

import click
from click.core import ParameterSource

from slurm_nb.cli.options import completed_by
from slurm_nb.errors import UserError
from slurm_nb.job.saved_options import split_words

AGAIN = "again"
_META = "slurm_nb.job.saved_options"


def key_of(param: click.Parameter) -> str:
    """Return the name of an option in config files: `cpus-per-task` for `--cpus-per-task`."""
    long = [opt for opt in param.opts if opt.startswith("--")]
    return long[0][2:] if long else str(param.name).replace("_", "-")


def with_earlier(ctx: click.Context, args: list[str]) -> list[str]:
    """Put the options of the session that `--again` names before `args`.

    click uses the last value of an option, but adds up lists, so this leaves out earlier lists.
    Raises `UserError` if there is no such session, or its options are unknown.
    """
    command = ctx.command
    probe = click.Context(command, resilient_parsing=True, **command.context_settings)
    click.Command.parse_args(command, probe, list(args))
    given = {
        key_of(param)
        for param in command.params
        if probe.get_parameter_source(str(param.name)) is ParameterSource.COMMANDLINE
    }
    if AGAIN not in given:
        return args
    from slurm_nb.cli.sessions import UserContext
    from slurm_nb.operations.lookup import find_session

    session = find_session(probe.meta[_META], store=ctx.ensure_object(UserContext).store)
    if not session.options:
        raise UserError(
            f"--{AGAIN} {session.job_id}: the options of this job are unknown",
            hint="write the options again: slurm-nb submit",
        )
    earlier, passed_on = split_words(session.options)
    replaced = tuple(f"--{key}=" for key in given)
    args = [*(word for word in earlier if not word.startswith(replaced)), *args]
    if passed_on and "sbatch-options" not in given:
        args += [*([] if "--" in args else ["--"]), *passed_on]
    return args


def _keep(ctx: click.Context, _param: click.Parameter, value: str | None) -> None:
    ctx.meta[_META] = value


again_option = click.option(
    f"--{AGAIN}",
    metavar="JOBID",
    expose_value=False,
    callback=_keep,
    shell_complete=completed_by("sessions"),
    help="Resubmit a session; options given here override its options.",
)
