"""The parts of the pages that are made from the code.

A page holds them between a comment with their name and `<!-- end -->`.

- `<!-- generated: NAME -->`: the page is committed with the part. To renew it:
  `SLURM_NB_UPDATE_GOLDEN=1 .venv/bin/python -m pytest tests/test_docs.py`
- `<!-- built: NAME -->`: Sphinx fills the part in (conf.py). The committed page has a line there
  that says where readers on a code host find the same.
"""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields

import click

from slurm_nb.cli.config_options import Configured, config_key
from slurm_nb.cli.main import GROUPS, cli
from slurm_nb.diagnosis import causes, reasons
from slurm_nb.errors import EXIT_CODES
from slurm_nb.job import spec
from slurm_nb.job.auth import AUTHS
from slurm_nb.job.routes import ROUTES
from slurm_nb.job.spec import JobSpec

_PART = re.compile(r"(<!-- (generated|built): ([\w-]+) -->\n).*?(<!-- end -->)", re.DOTALL)
_DEFAULT = re.compile(r"\s*\[default: (.*)\]$")
_COMMANDS = "|".join(name for names in GROUPS.values() for name in names)
_VALUES = "|".join([*ROUTES, *AUTHS])
_CODE = re.compile(
    rf"(?<![\w-])(?:--(?:[a-z][\w-]*(?: (?:{_VALUES})\b)?)?(?![\w-])|no-(?= )"
    rf"|slurm-nb (?:{_COMMANDS})\b)"
)
_RANGE = re.compile(r"\s*\[x[<>]=?\d+\]$")
_TYPES = {
    "str | None": "text or none",
    "str": "text",
    "int | None": "number or none",
    "bool": "true or false",
    "tuple[str, ...]": "list of text",
    "Path": "absolute path",
    "Path | None": "path, name or none",
    "Ui": "text",
    "Listen": "text",
    "RouteName": "text",
    "Peers": "text",
    "Auth": "text",
}


def parts_of(text: str) -> list[str]:
    """Return the names of the parts in a page."""
    return [part[3] for part in _PART.finditer(text)]


def committed(text: str) -> str:
    """Return the page to commit: with its generated parts renewed."""
    return _PART.sub(lambda part: part[0] if part[2] == "built" else _filled(part), text)


def built(text: str) -> str:
    """Return the page to build: with all of its parts."""
    return _PART.sub(_filled, text)


def _filled(part: re.Match[str]) -> str:
    return f"{part[1]}{PARTS[part[3]]()}{part[4]}"


class _Sections(click.HelpFormatter):
    """A formatter that keeps the sections of `--help` as rows."""

    def __init__(self) -> None:
        super().__init__(width=10_000, max_width=10_000)
        self.rows: dict[str, list[tuple[str, str]]] = {}
        self._heading = ""

    def write_heading(self, heading: str) -> None:
        self._heading = heading

    def write_dl(
        self, rows: Iterable[tuple[str, str]], col_max: int = 30, col_spacing: int = 2
    ) -> None:
        shown = [row for row in rows if "--help" not in row[0]]
        if shown:
            self.rows.setdefault(self._heading, []).extend(shown)


@dataclass(frozen=True)
class Help:
    """The `--help` text of one command."""

    path: str
    """The command with its group: `slurm-nb config init`."""
    usage: str
    text: tuple[str, ...]
    """Paragraphs; those with newlines keep their lines."""
    sections: Mapping[str, Sequence[tuple[str, str]]]
    """Options and subcommands with their descriptions, by heading."""


def helps() -> Iterator[Help]:
    """Return the help of every command and subcommand."""
    yield from _helps(click.Context(cli, info_name="slurm-nb", **cli.context_settings))


def _helps(context: click.Context) -> Iterator[Help]:
    if not isinstance(context.command, click.Group):
        return
    for name in context.command.list_commands(context):
        command = context.command.get_command(context, name)
        if command is None:
            continue
        inner = click.Context(command, info_name=name, parent=context, **command.context_settings)
        formatter = _Sections()
        command.format_options(inner, formatter)
        usage = " ".join([inner.command_path, *command.collect_usage_pieces(inner)])
        text = tuple(_paragraphs(command.help or ""))
        yield Help(inner.command_path, usage, text, formatter.rows)
        yield from _helps(inner)


def _paragraphs(help_text: str) -> Iterator[str]:
    """Return the paragraphs of a command's help; one after a backspace keeps its lines."""
    for paragraph in inspect.cleandoc(help_text).partition("\f")[0].split("\n\n"):
        if paragraph.startswith("\b\n"):
            yield paragraph.removeprefix("\b\n")
        else:
            yield " ".join(paragraph.split())


def described(term: str, text: str) -> str:
    """Return an option's help with its default; a switch needs no word for it."""
    text = _RANGE.sub("", text)
    default = _DEFAULT.search(text)
    said = _DEFAULT.sub("", text)
    return said if default is None or " / " in term else f"{said} Default: {default[1]}."


def _commands() -> str:
    return "\n".join([_list_of_commands(), *(_command(each) for each in helps())])


def _list_of_commands() -> str:
    """Return the commands in the groups of `slurm-nb --help`, with links to their headings."""
    summaries = {each.path.removeprefix("slurm-nb "): each.text[0] for each in helps()}
    rows = [("group", "command", "what it does")]
    for group, names in GROUPS.items():
        for number, name in enumerate(names):
            link = f"[`{name}`](#slurm-nb-{name})"
            rows.append(("" if number else group, link, _escaped(summaries[name].rstrip("."))))
    return _table(rows)


def _command(command: Help) -> str:
    parts = [f"## {command.path}", f"```text\n{command.usage}\n```"]
    parts += [
        f"```text\n{paragraph}\n```" if "\n" in paragraph else _escaped(paragraph)
        for paragraph in command.text
    ]
    for heading, rows in command.sections.items():
        if heading not in {"Options", "Commands"}:
            parts.append(f"### {heading}")
        title = "command" if heading == "Commands" else "option"
        named = [(f"`{term}`", _escaped(described(term, text))) for term, text in rows]
        parts.append(_table([(title, "what it does"), *named]).rstrip())
    return "\n\n".join(parts) + "\n"


def _escaped(text: str) -> str:
    """Return text of the program for Markdown, with its options and commands as code."""
    parts = text.replace("<", "&lt;").replace("*", r"\*").split("`")
    parts[::2] = [_CODE.sub(r"`\g<0>`", part) for part in parts[::2]]
    return "`".join(parts)


def _config_keys() -> str:
    """Return the keys of a config file, with their variables."""
    command = cli.get_command(click.Context(cli), "submit")
    assert isinstance(command, Configured)  # noqa: S101  a generator, not the program
    rows = [("key", "value", "environment variable")]
    for name, param in command.keys().items():
        kind = str(config_key(name, param).kind)
        if getattr(param, "hidden", False):
            continue
        if isinstance(param.type, click.Choice):
            kind = " or ".join(f'`"{choice}"`' for choice in param.type.choices)
        rows.append((f"`{name}`", kind, f"`{param.envvar}`"))
    return _table(rows)


def _job_variables() -> str:
    """Return the fields of JobSpec, as a template sees them."""
    (definition,) = (
        node
        for node in ast.parse(inspect.getsource(spec)).body
        if isinstance(node, ast.ClassDef) and node.name == JobSpec.__name__
    )
    described: dict[str, str] = {}
    for field, after in zip(definition.body, definition.body[1:], strict=False):
        if isinstance(field, ast.AnnAssign) and isinstance(after, ast.Expr):
            described[ast.unparse(field.target)] = str(ast.literal_eval(after.value))
    rows = [("variable", "type", "content")]
    for each in fields(JobSpec):
        text = " ".join(described.get(each.name, "").split())
        option = f"`--{each.name.replace('_', '-')}`"
        rows.append((f"`spec.{each.name}`", _TYPES[str(each.type)], text or option))
    return _table(rows)


def _exit_codes() -> str:
    rows = [(str(code), text) for code, text in EXIT_CODES.items()]
    return _table([("code", "meaning"), *rows])


def _table(rows: Iterable[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in rows]
    return "\n".join([lines[0], "|---" * len(next(iter(rows))) + "|", *lines[1:]]) + "\n"


PARTS: dict[str, Callable[[], str]] = {
    "commands": _commands,
    "config-keys": _config_keys,
    "exit-codes": _exit_codes,
    "job-variables": _job_variables,
    "reasons": lambda: _table([("Slurm's reason", "what it means"), *reasons.rows()]),
    "causes": lambda: _table([("message", "cause", "what to do"), *causes.rows()]),
}
