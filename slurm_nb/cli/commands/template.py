"""slurm-nb template"""

from __future__ import annotations

import os
from pathlib import Path

import click
from click.shell_completion import CompletionItem

from slurm_nb.cli.console import say, table
from slurm_nb.errors import UserError, did_you_mean
from slurm_nb.files import read_small
from slurm_nb.paths import TEMPLATE_SUFFIX, named_templates, template_folders

_LONGEST_BYTES = 4 << 20


@click.group("template")
def command() -> None:
    """List job templates, or copy one to change it."""


@command.command("list")
def list_() -> None:
    """List the templates that submit --template finds by name."""
    found = named_templates(template_folders(os.environ))
    click.echo(table([("NAME", "FILE"), *((name, str(path)) for name, path in found.items())]))


def _complete(
    _ctx: click.Context, _param: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    found = named_templates(template_folders(os.environ))
    return [CompletionItem(name) for name in found if name.startswith(incomplete)]


@command.command("copy")
@click.argument("name", shell_complete=_complete)
@click.argument("new", metavar="[NEW]", required=False)
def copy(name: str, new: str | None) -> None:
    """Copy a template into your directory of templates.

    NEW is the name of the copy, or the path of a file. Without it the copy has
    the same name and takes precedence over the original.
    """
    folders = template_folders(os.environ)
    found = named_templates(folders)
    if name not in found:
        raise UserError(
            f"there is no template {name!r} to copy",
            hint=f"{did_you_mean(name, found)}the templates are {', '.join(found)}",
        )
    if new is not None and (not new.isprintable() or new in ("", ".", "..")):
        raise UserError(f"{new!r} cannot be the name of a template", hint="use letters and digits")
    if new is not None and os.sep in new:
        path = Path(os.path.abspath(os.path.expanduser(new)))  # noqa: PTH111  keeps symlinks
    else:
        path = folders[0] / f"{(new or name).removesuffix(TEMPLATE_SUFFIX)}{TEMPLATE_SUFFIX}"
    _write(path, read_small(found[name], _LONGEST_BYTES))
    called = path.name.removesuffix(TEMPLATE_SUFFIX) if path.parent in folders else str(path)
    say(f"Created {path}. Change it and look at the result:")
    say(f"  slurm-nb submit --template {called} --dry-run")


def _write(path: Path, data: bytes) -> None:
    """Write a new file that only its owner can change, and everybody can read."""
    try:
        if path.parent == template_folders(os.environ)[0]:
            path.parent.mkdir(parents=True, mode=0o700, exist_ok=True)
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644), "wb") as file:
            file.write(data)
    except FileExistsError as error:
        raise UserError(
            f"{path} already exists, so nothing was written",
            hint="give the copy another name: slurm-nb template copy NAME NEW",
        ) from error
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror}") from error
