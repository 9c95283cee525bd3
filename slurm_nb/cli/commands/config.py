"""slurm-nb config"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import click

from slurm_nb.cli.again_option import AGAIN, key_of
from slurm_nb.cli.config_options import (
    complete_profile,
    config_of,
    submit_command,
    submit_context,
    values_in_force,
)
from slurm_nb.cli.console import answer_json, say, say_notices, table
from slurm_nb.cli.options import json_option
from slurm_nb.config.layers import Config
from slurm_nb.config.sample import SampleEntry, config_text
from slurm_nb.config.settings import ConfigFile, Setting
from slurm_nb.config.site_rules import InForce, check_site, shown, with_sbatch_variables
from slurm_nb.connection.login import Login
from slurm_nb.errors import SlurmNbError, UserError
from slurm_nb.files import check_home
from slurm_nb.operations.installation import closed_to_others
from slurm_nb.paths import user_config_path
from slurm_nb.scheduler.accounts import Access, find_access

_LOGIN_HOST = "login-host"
# These apply to one call only.
_NOT_FOR_FILES = frozenset({AGAIN, "profile", "open", "dry-run", "json"})
# Example values for options without a default, if Slurm does not provide one.
_EXAMPLES = {
    "time": "2:00:00", "mem": "8G", "gpus": 1, "gres": "gpu:1", "notebook-dir": "~",
    "python": "~/miniforge3/envs/analysis/bin/python", "login-host": "login.example.org",
    "local-port": 12345, "wait-timeout": 600, "sbatch-options": ["--exclusive"],
}  # fmt: skip


@click.group("config", invoke_without_command=True)
@click.option(
    "-P",
    "--profile",
    metavar="NAME",
    shell_complete=complete_profile,
    help="Show the values for submit --profile NAME.",
)
@click.option("--all", "show_all", is_flag=True, help="Show the defaults as well.")
@json_option
@click.pass_context
def command(ctx: click.Context, profile: str | None, *, show_all: bool, as_json: bool) -> None:
    """Show your settings for submit and where they come from.

    The exit code is 1 if submit would reject a value because of your site's rules.
    """
    if ctx.invoked_subcommand is not None:
        if profile is not None or as_json or show_all:
            raise click.UsageError(f"{ctx.invoked_subcommand} does not accept these options")
        return
    submit = submit_context(ctx, *(["--profile", profile] if profile is not None else []))
    config, values = config_of(submit), values_in_force(submit)
    files = {"site_file": str(config.site.path), "user_file": str(config.user.path)}
    records = [_record(option, config.site) for option in values.values()]
    record = {**files, "profile": config.profile, "values": records}
    if closed := closed_to_others():
        say_notices([closed])
    if not as_json:
        _show(config, [each for each in values.values() if show_all or _is_set(each, config.site)])
    try:
        check_site(config.site, with_sbatch_variables(values, os.environ))
    except UserError as error:
        error.record = record
        raise
    if as_json:
        answer_json(record)


def _show(config: Config, options: list[InForce]) -> None:
    if options:
        click.echo(table(_rows(options, config.site)))
    else:
        say("Nothing is set. Show the defaults with: slurm-nb config --all")
    for whose, file in (("Your", config.user), ("The site's", config.site)):
        say(f"{whose} file: {file.path}{'' if file.path.exists() else ' (does not exist)'}")


def _is_set(option: InForce, site: ConfigFile) -> bool:
    return option.source is not None or option.key in site.locked or option.key in site.maximum


@command.command("init")
@click.option("--force", is_flag=True, help="Replace an existing file, which is saved as .bak.")
@click.pass_context
def init(ctx: click.Context, *, force: bool) -> None:
    """Create a commented config file with your accounts and partitions."""
    check_home()
    path = user_config_path(os.environ)
    if os.path.lexists(path) and not force:
        raise UserError(
            f"{path} already exists, so nothing was written",
            hint="show the values in effect: slurm-nb config\n"
            "replace the file: slurm-nb config init --force",
        )
    login_host = _ask_login_host(ctx)
    access = find_access()
    facts = _facts(access)
    options = submit_command(ctx).params
    entries = [
        _entry(option, facts.get(key_of(option), ()), access, login_host)
        for option in options
        if key_of(option) not in _NOT_FOR_FILES and not getattr(option, "hidden", False)
    ]
    _write(path, config_text(entries, access.unanswered))
    for text in access.unanswered:
        say(f"Not included, because Slurm did not respond: {text}")
    lines = f"Every line except {_LOGIN_HOST}" if login_host else "Every line"
    say(f"Created {path}. {lines} is a comment; remove the # from those you want to set.")


def _ask_login_host(ctx: click.Context) -> str:
    """Return the user's name for the login node; empty if the site sets it or nobody answers."""
    with suppress(SlurmNbError):  # the user may be replacing a file with an error
        if _LOGIN_HOST in config_of(submit_context(ctx)).site.settings:
            return ""
    if not sys.stdin.isatty():
        return ""
    return str(
        click.prompt(
            "Login node, as you write it after ssh on your laptop (Enter to skip)",
            default="",
            show_default=False,
            value_proc=_login_host,
            err=True,
        )
    )


def _login_host(text: str) -> str:
    """Return what was typed, without a user name. Raises `click.UsageError`."""
    host = text.strip().rpartition("@")[2]
    try:
        return str(Login.parse(host)) if host else ""
    except UserError as error:
        raise click.UsageError(str(error)) from error


def _rows(values: Iterable[InForce], site: ConfigFile) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = [("OPTION", "VALUE", "FROM", "SITE'S RULES")]
    for option in values:
        rules = [f"locked by {site.locked[option.key]}"] if option.key in site.locked else []
        if option.key in site.maximum:
            maximum = site.maximum[option.key]
            rules.append(f"at most {maximum.value} by {maximum.place}")
        rows.append((option.key, shown(option.value) or "-", option.origin, ", ".join(rules)))
    return rows


def _record(option: InForce, site: ConfigFile) -> dict[str, object]:
    place = option.source.place if isinstance(option.source, Setting) else None
    maximum = site.maximum.get(option.key)
    plain = option.value is None or isinstance(option.value, str | int | tuple)
    return {
        "key": option.key,
        "value": option.value if plain else str(option.value),
        "from": option.origin,
        "file": str(place.path) if place else None,
        "line": place.line if place else None,
        "profile": place.profile if place else None,
        "locked": option.key in site.locked,
        "maximum": maximum.value if maximum else None,
    }


def _facts(access: Access) -> dict[str, tuple[str, ...]]:
    """Return what Slurm offers the user, by option."""
    partitions = []
    for each in access.partitions:
        notes = [f"time limit {each.max_time}, default {each.default_time}"]
        notes += ["the default"] if each.is_default else []
        notes += [each.state] if each.state != "UP" else []
        notes += [f"nodes with {each.nodes}"] if each.nodes else []
        partitions.append(f"{each.name}: {'; '.join(notes)}")
    accounts = (f"yours: {', '.join(access.accounts)}",) if access.accounts else ()
    qualities = (f"yours: {', '.join(access.qualities)}",) if access.qualities else ()
    return {"partition": tuple(partitions), "account": accounts, "qos": qualities}


def _entry(
    param: click.Parameter, facts: tuple[str, ...], access: Access, login_host: str
) -> SampleEntry:
    """Return the entry of an option with an example value."""
    key = key_of(param)
    names = [each.name for each in access.partitions if each.is_default]
    known = {
        "account": next(iter(access.accounts), None),
        "partition": next(iter(names or [each.name for each in access.partitions]), None),
        "qos": next(iter(access.qualities), None),
        _LOGIN_HOST: login_host,
    }
    help_text = " ".join(str(getattr(param, "help", None) or "Options for sbatch.").split())
    value: object = known.get(key) or _EXAMPLES.get(key)
    if value is None:
        value = _example(param)
    return SampleEntry(
        key,
        help_text,
        json.dumps(value, ensure_ascii=False),
        facts,
        is_set=key == _LOGIN_HOST and bool(login_host),
    )


def _example(param: click.Parameter) -> object:
    default = param.to_info_dict()["default"]
    if getattr(param, "is_flag", False):
        return True
    if getattr(param, "multiple", False):
        return ["..."]
    if isinstance(param.type, click.types.IntParamType):
        return 4
    if default is None and isinstance(param.type, click.Choice):
        default = param.type.choices[0]
    return "..." if default is None else str(default)


def _write(path: Path, text: str) -> None:
    """Write the whole file or nothing; save an older one next to it."""
    from slurm_nb.files import write_private

    try:
        path.parent.mkdir(parents=True, mode=0o700, exist_ok=True)
        if os.path.lexists(path):
            path.replace(path.with_name(f"{path.name}.bak"))
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error.strerror}") from error
    write_private(path, text)
