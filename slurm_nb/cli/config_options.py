"""Options that config files and SLURM_NB_SUBMIT_* variables can set too.

`Configured` is the command, `profile_option` reads the files for it. Order: flag > environment
> profile > user's file > site's file > default; click looks in the environment and in its
`default_map`, which the files fill.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import click
from click.core import ParameterSource

from slurm_nb.cli.again_option import AGAIN, key_of, with_earlier
from slurm_nb.config.layers import Config, choose_profile, load
from slurm_nb.config.settings import Key, Kind, Place, Setting
from slurm_nb.config.site_rules import InForce, check_locked, check_site, with_sbatch_variables
from slurm_nb.errors import SlurmNbError, UserError, did_you_mean

PREFIX = "SLURM_NB_SUBMIT_"
_META = "slurm_nb.config.layers"
# In --help a switch is shown without its opposite, and most help texts fit on one line.
_NEGATION = re.compile(r" / --\S+")
_NOISE = re.compile(r"\s*\[(?:default: (?:no-(?:\w|-)+|wait|terminals)|x>=0)\]$")
_TERM_WIDTH = 24


class _Lines(click.types.StringParamType):
    """Texts that a variable lists one per line; blank lines are ignored."""

    def split_envvar_value(self, rv: str) -> list[str]:
        return [line for line in rv.split("\n") if line.strip()]


class _Words(click.types.StringParamType):
    """Texts that a variable lists as the words of a shell."""

    def __init__(self, variable: str) -> None:
        self.variable = variable

    def split_envvar_value(self, rv: str) -> list[str]:
        try:
            return shlex.split(rv)
        except ValueError as error:
            raise UserError(
                f"{self.variable}: {rv!r} cannot be split into words: {error}",
                hint="quote it as in the shell",
            ) from error


class Configured(click.Command):
    """A command that reads its options from flags, environment and config files."""

    def __init__(
        self,
        *args: Any,  # noqa: ANN401  click's own
        headings: Mapping[str, str],
        **kwargs: Any,  # noqa: ANN401
    ) -> None:
        super().__init__(*args, **kwargs)
        self._headings = headings
        """The heading above an option in `--help`, by the option's key."""
        for param in self.keys().values():
            name = key_of(param)
            param.envvar = PREFIX + name.replace("-", "_").upper()
            if _is_switch(param) and not param.secondary_opts:
                # A flag can turn off a switch that a file turns on.
                param.secondary_opts = ["--" + _opposite(name)]
            if param.nargs == -1:
                param.type = _Words(param.envvar)
            elif getattr(param, "multiple", False) and param.type is click.STRING:
                param.type = _Lines()

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options under their headings."""
        heading = "Options"
        sections: dict[str, list[tuple[str, str]]] = {heading: []}
        for param in self.get_params(ctx):
            heading = self._headings.get(key_of(param), heading)
            if isinstance(param, click.Option) and (record := param.get_help_record(ctx)):
                sections.setdefault(heading, []).append(record)
        for name, records in sections.items():
            with formatter.section(name):
                rows = [(_NEGATION.sub("", term), _NOISE.sub("", text)) for term, text in records]
                formatter.write_dl(rows, col_max=_TERM_WIDTH)

    def keys(self) -> dict[str, click.Parameter]:
        """Return the option of each key that a config file may set."""
        return {key_of(param): param for param in self.params if key_of(param) != AGAIN}

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read flags, environment and files; put an earlier session's options before the flags."""
        if not ctx.resilient_parsing:
            _refuse_unknown_variables(self)
            args = with_earlier(ctx, self._open_notebook(ctx, args))
        with _blamed(ctx, self):
            return super().parse_args(ctx, args)

    def _open_notebook(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Write `--open=FILE.ipynb` for a `FILE.ipynb` before any `--`."""
        end = args.index("--") if "--" in args else len(args)
        try:
            values, _, _ = self.make_parser(ctx).parse_args(args[:end])
        except click.UsageError:  # parse_args() reports it
            return args
        words = values.get("sbatch_options")
        if not isinstance(words, tuple) or len(words) != 1 or not words[0].endswith(".ipynb"):
            return args
        at = max(i for i, word in enumerate(args[:end]) if word == words[0])
        return [*args[:at], *args[at + 1 : end], f"--open={words[0]}", *args[end:]]

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401  click's own
        """Run, unless a value violates a rule of the site."""
        with _blamed(ctx, self):
            values = with_sbatch_variables(values_in_force(ctx), os.environ)
            check_site(config_of(ctx).site, values)
            return super().invoke(ctx)


def config_of(ctx: click.Context) -> Config:
    """Return the config files of this call."""
    config: Config = ctx.meta[_META]
    return config


def source_of(ctx: click.Context, param: click.Parameter) -> Setting | str | None:
    """Return the source of a value: a setting, a flag, a variable; None: the default."""
    source = ctx.get_parameter_source(str(param.name))
    if key_of(param) == "profile" and source is ParameterSource.DEFAULT:
        files = (config_of(ctx).user, config_of(ctx).site)
        return next(
            (file.settings["profile"] for file in files if "profile" in file.settings), None
        )
    if source is ParameterSource.DEFAULT_MAP:
        return config_of(ctx).in_force[key_of(param)]
    if source is ParameterSource.ENVIRONMENT:
        return str(param.envvar)
    if source is ParameterSource.COMMANDLINE:
        if isinstance(param, click.Argument):
            return "the options after --"
        return param.opts[0] if len(param.opts) == 1 else f"--{key_of(param)}"
    return None


def submit_command(ctx: click.Context) -> click.Command:
    """Return the command `submit` of the group that `ctx` belongs to."""
    group = ctx.find_root().command
    submit = group.get_command(ctx, "submit") if isinstance(group, click.Group) else None
    if submit is None:
        raise click.UsageError("this is only available as a slurm-nb command")
    return submit


def submit_context(ctx: click.Context, *words: str) -> click.Context:
    """Return the context of `submit WORDS`, with all values, without running it."""
    return submit_command(ctx).make_context("submit", list(words))


def refuse_locked(ctx: click.Context, key: str, value: object, *, source: str) -> None:
    """Raise `UserError` if the site's file locks an option of submit to another value.

    source: what sets it, for the message.
    """
    submit = submit_context(ctx)
    place = config_of(submit).site.locked.get(key)
    if place is not None:
        given = replace(values_in_force(submit)[key], value=value, source=source)
        check_locked(given, place)


def values_in_force(ctx: click.Context) -> dict[str, InForce]:
    """Return the options of a parsed command with their values, by key."""
    config = config_of(ctx)
    plain = click.Context(ctx.command)
    values = {}
    for param in ctx.command.params:
        key, name = key_of(param), str(param.name)
        if key == AGAIN:
            continue
        value = config.profile if key == "profile" else ctx.params.get(name)
        given = config.of_site.get(key)
        default = given.value if given else param.to_info_dict()["default"]
        if default is not None and key != "profile":
            default = param.process_value(plain, default)
        short = next((opt for opt in param.opts if re.fullmatch("-[^-]", opt)), "")
        values[key] = InForce(key, short, value, default, source_of(ctx, param))
    return values


def _read_files(ctx: click.Context, _param: click.Parameter, value: str | None) -> str | None:
    if ctx.resilient_parsing or not isinstance(ctx.command, Configured):
        return value
    config = choose_profile(_load(ctx.command), value)
    ctx.meta[_META] = config
    params = ctx.command.keys()
    ctx.default_map = {
        str(params[key].name): setting.value
        for key, setting in config.in_force.items()
        if key != "profile"
    }
    return value


def _load(command: Configured) -> Config:
    """Read both files and check all of their values, even overridden ones."""
    params = command.keys()
    keys = [config_key(key, param) for key, param in params.items()]
    config = load(os.environ, keys)
    plain = click.Context(command)
    for file in (config.site, config.user):
        for table in (file.settings, *file.profiles.values()):
            for setting in table.values():
                try:
                    params[setting.key].type_cast_value(plain, setting.value)
                except click.BadParameter as error:
                    raise UserError(f"{setting.place}: {setting.key}: {error.message}") from error
    return config


def config_key(name: str, param: click.Parameter) -> Key:
    """Return how the option `param` is written in a config file."""
    kind: Kind = "text"
    if getattr(param, "multiple", False) or param.nargs == -1:
        kind = "list"
    elif _is_switch(param):
        kind = "switch"
    elif isinstance(param.type, click.types.IntParamType):
        kind = "number"
    short = [opt[1:] for opt in param.opts if opt.startswith("-") and not opt.startswith("--")]
    return Key(name, kind, "".join(short[:1]))


def complete_profile(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
    """Return the names of the profiles in both files; none if a file is broken."""
    submit = submit_command(ctx)
    try:
        config = _load(submit) if isinstance(submit, Configured) else None
    except SlurmNbError:
        return []
    names = config.profiles if config else []
    return [name for name in names if name.startswith(incomplete)]


def _is_switch(param: click.Parameter) -> bool:
    return isinstance(param, click.Option) and param.is_flag and param.is_bool_flag


def _opposite(name: str) -> str:
    return name[3:] if name.startswith("no-") else f"no-{name}"


def _refuse_unknown_variables(command: Configured) -> None:
    known = {str(param.envvar) for param in command.keys().values()}
    for name in os.environ:
        if name.startswith(PREFIX) and name not in known:
            raise UserError(
                f"{name}: submit has no such option",
                hint=f"{did_you_mean(name, known)}To ignore it: unset {name}",
            )


@contextmanager
def _blamed(ctx: click.Context, command: Configured) -> Iterator[None]:
    """Add the file and line, or the variable, that a wrong value comes from to the error."""
    try:
        yield
    except click.BadParameter as error:
        source = source_of(ctx, error.param) if error.param else None
        if error.param is None or not str(source).startswith(PREFIX):
            raise
        raise UserError(f"{source}: {error.message}") from error
    except UserError as error:
        if _META not in ctx.meta:  # a file is wrong
            raise
        keys, locked = command.keys(), config_of(ctx).site.locked
        hint = _with_locks(error, locked)
        sources = [source_of(ctx, keys[key]) for key in error.options]
        places = [
            str(source.place) if isinstance(source, Setting) else str(source)
            for source in sources
            if isinstance(source, Setting) or str(source).startswith(PREFIX)
        ]
        if not places and hint == error.hint:
            raise
        blamed = f"{', '.join(places)}: " if places else ""
        raise UserError(f"{blamed}{error}", hint=hint) from error


def _with_locks(error: UserError, locked: Mapping[str, Place]) -> str:
    """Return the hint of an error; it names the options that only the site can change."""
    held = [f"{key} is locked by {locked[key]}" for key in error.options if key in locked]
    if not held:
        return error.hint
    others = [key for key in error.options if key not in locked]
    cure = f"leave out {' and '.join(others)}" if others else "contact your site"
    return f"{'; '.join(held)}: {cure}"


profile_option = click.option(
    "-P",
    "--profile",
    metavar="NAME",
    is_eager=True,
    expose_value=False,
    callback=_read_files,
    shell_complete=complete_profile,
    help="Use [profiles.NAME] of the config files.",
)
