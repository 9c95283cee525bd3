"""Check the English of docs, --help, messages, docstrings, comments and test names.

`make prose` prints FILE:LINE: the words, and what to write instead. The patterns are in
tests/data/prose.toml.
"""

from __future__ import annotations

import ast
import inspect
import io
import re
import sys
import tokenize
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click

ROOT = Path(__file__).resolve().parents[1]
SHOWN = frozenset({"heading", "docs", "help", "message"})
INSIDE = frozenset({"docstring", "function", "comment", "name"})  # function: a first line

_CHARS = 60
_SENTENCE = re.compile(r"(?:[^.?!]|[.?!](?!\s+[A-Z\"'(*]|\s*$))+[.?!]?")
_CODE = re.compile(r"(`+)(?!`).+?\1|https?://\S+|<[^>\s]+>|(?<=\])\([^)]*\)", re.DOTALL)
_FENCE = re.compile(r"^ *(```+|~~~+)[^\n]*\n.*?^ *\1 *$", re.MULTILINE | re.DOTALL)
_PROSE_FENCE = re.compile(r"^ *(?:```+|~~~+)\{(?:note|tip|important|warning|admonition)")
_BLOCK = re.compile(r"^\s*(?:[-*+]|\d+\.)\s|^\s*$|^\s*:::|^\s*<!--")
_STRING = re.compile(r'"((?:[^"\\\n]|\\.)*)"|`([^`\n]*)`')
_WORDS = re.compile(r"[A-Za-z]{2,}[,:;]? [a-z]")


@dataclass(frozen=True)
class Text:
    """A paragraph, a message or a comment, and where it begins."""

    file: str
    line: int
    kind: str
    """One of SHOWN or INSIDE; summary: a row of the list of commands."""
    words: str


@dataclass(frozen=True)
class Pattern:
    """Words to avoid, and what to write instead."""

    find: re.Pattern[str]
    write: str
    rule: int
    kinds: frozenset[str]


def patterns() -> list[Pattern]:
    """Read tests/data/prose.toml."""
    rows = tomllib.loads((ROOT / "tests/data/prose.toml").read_text(encoding="utf-8"))["pattern"]
    every = (SHOWN | INSIDE) - {"function"}
    return [
        Pattern(
            re.compile(row["find"], re.IGNORECASE),
            row["write"],
            row["rule"],
            frozenset(row.get("in", every if row["rule"] in {1, 2, 3, 8} else SHOWN)),
        )
        for row in rows
    ]


def findings(text: Text, table: list[Pattern]) -> Iterator[str]:
    """Yield FILE:LINE: the words, and what to write instead, for every match."""
    words = "\n".join(line.strip() for line in plain(text.words).split("\n"))
    for sentence in _SENTENCE.finditer(words.replace("\n", " ")):
        begin = sentence.start() + len(sentence[0]) - len(sentence[0].lstrip())
        for each in table:
            found = each.find.search(sentence[0].strip()) if text.kind in each.kinds else None
            if found:
                line = text.line + words.count("\n", 0, begin + found.start())
                quoted = found[0] if len(found[0]) <= _CHARS else f"{found[0][:_CHARS]}..."
                yield f"{text.file}:{line}: {quoted!r} ({text.kind}): {each.write} [{each.rule}]"


def plain(words: str) -> str:
    """Return the text with an X for code and addresses, and without emphasis and brackets."""
    without = _CODE.sub(lambda part: "X" + "\n" * part[0].count("\n"), words)
    return re.sub(r"\]X|[\[\]]|\*+|<!--|-->", "", without)


def markdown(file: str, text: str) -> Iterator[Text]:
    """Yield the headings, paragraphs, list items and table cells of a page."""

    def fence(part: re.Match[str]) -> str:
        if _PROSE_FENCE.match(part[0]):
            return "\n" + "\n".join(part[0].split("\n")[1:-1]) + "\n"
        return "\n" * part[0].count("\n")

    block: list[str] = []
    for number, line in enumerate([*_FENCE.sub(fence, text).split("\n"), ""], 1):
        apart = line.startswith(("#", "|"))
        if block and (apart or _BLOCK.match(line)):
            yield Text(file, number - len(block), "docs", "\n".join(block))
            block = []
        if line.startswith("#"):
            yield Text(file, number, "heading", line.lstrip("# "))
        elif line.startswith("|"):
            for cell in re.split(r"(?<!\\)\|", line):
                yield Text(file, number, "docs", cell)
        elif line.strip() and not line.lstrip().startswith((":::", "<!--", "![")):
            block.append(re.sub(r"^\s*(?:[-*+]|\d+\.)\s+", "", line))


def command_help(command: click.Command, name: str) -> Iterator[Text]:
    """Yield what `--help` shows, of a command and of those under it."""
    context = click.Context(command, info_name=name, terminal_width=80, max_content_width=80)
    file = f"{name} --help"
    for words in (command.help, command.epilog, command.short_help):
        for part in (words or "").replace("\b", "").split("\n\n"):
            yield Text(file, 1, "help", part)
    for option in command.get_params(context):
        row = option.get_help_record(context)
        if row:
            yield Text(f"{file}: {row[0].split(',')[0]}", 1, "help", row[1])
    if isinstance(command, click.Group):
        for line in command.get_help(context).splitlines():
            if line.startswith("  "):
                yield Text(file, 1, "summary", line)
        for each in command.list_commands(context):
            under = command.get_command(context, each)
            if under:
                yield from command_help(under, f"{name} {each}")


def python(file: str, source: str) -> Iterator[Text]:
    """Yield docstrings and comments; of the package the messages, of tests their names."""
    tree = ast.parse(source)
    yield from _comments(file, source)
    inside = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr)
              for part in ast.walk(node) if isinstance(part, ast.Constant)}  # fmt: skip
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            inside.add(id(node.value))
            yield Text(file, node.lineno, "docstring", inspect.cleandoc(str(node.value.value)))
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield from _function(file, node)
        elif isinstance(node, ast.keyword) and node.arg in {"help", "short_help", "epilog"}:
            inside |= {id(part) for part in ast.walk(node)}  # command_help() shows them
        elif isinstance(node, ast.Constant | ast.JoinedStr) and file.startswith("slurm_nb/"):
            words = _literal(node) if id(node) not in inside else ""
            regex = re.match(r"[fF]?r", ast.get_source_segment(source, node) or "")
            for line in words.split("\n") if not regex else ():
                if _WORDS.search(line):
                    yield Text(file, node.lineno, "message", line)


def _literal(node: ast.expr) -> str:
    """Return the text of a string, with an X for each value that an f-string fills in."""
    if isinstance(node, ast.JoinedStr):
        return "".join(_literal(part) for part in node.values)
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else ""
    return "X"


def _function(file: str, node: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[Text]:
    """Yield the first line of a docstring, or the name of a test."""
    decorators = {
        ast.unparse(each).partition("(")[0].split(".")[-1] for each in node.decorator_list
    }
    if node.name.startswith("test_"):
        yield Text(file, node.lineno, "name", node.name.removeprefix("test_").replace("_", " "))
    elif file.startswith("slurm_nb/") and not decorators & {
        "property", "cached_property", "command", "group"
    }:  # fmt: skip
        first = (ast.get_docstring(node) or "").partition("\n")[0]
        yield Text(file, node.body[0].lineno, "function", first)


def _comments(file: str, source: str) -> Iterator[Text]:
    """Yield the comments; those on lines that follow each other are one text."""
    block: list[str] = []
    last = 0
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type != tokenize.COMMENT:
            continue
        words = re.sub(r"^#+!? ?(?:noqa:? ?[\w, ]*?(?:  |$)|fmt: \w+|type: .*)?", "", token.string)
        alone = not token.line[: token.start[1]].strip()
        if block and (token.start[0] != last + 1 or not alone):
            yield Text(file, last - len(block) + 1, "comment", "\n".join(block))
            block = []
        block.append(words)
        last = token.start[0]
    yield Text(file, last - len(block) + 1, "comment", "\n".join(block))


def script(file: str, source: str) -> Iterator[Text]:
    """Yield the messages and comments of bash, its templates, or JavaScript."""
    for number, line in enumerate(source.split("\n"), 1):
        comment = re.match(r"\s*(?:#(?!SBATCH|!)|\{#|//|/?\*)\s*(.*)", line)
        if comment:
            yield Text(file, number, "comment", comment[1])
            continue
        for found in _STRING.finditer(line):
            words = re.sub(
                r"\$\{?[\w*@%/?+\[\]\"-]+\}?|\{\{.*?\}\}", "X", found[1] or found[2] or ""
            )
            if _WORDS.search(words):
                yield Text(file, number, "message", words.replace("\\`", "`"))


def texts() -> Iterator[Text]:
    """Yield every text of the project."""
    from slurm_nb.cli.main import cli  # noqa: PLC0415  the readers need no slurm_nb

    readers = {".md": markdown, ".py": python, ".js": script, ".sh": script, ".j2": script}
    yield from command_help(cli, "slurm-nb")
    files = [ROOT / "README.md"]
    for folder in ("docs", "slurm_nb", "job_templates", "tests"):
        files += sorted((ROOT / folder).rglob("*"))
    for path in files:
        if path.suffix in readers and path.is_file() and "golden" not in path.parts:
            file = str(path.relative_to(ROOT))
            yield from readers[path.suffix](file, path.read_text(encoding="utf-8"))


def main(wanted: list[str]) -> int:
    """Print the findings, in files whose names begin with a word of `wanted` or in all."""
    table = patterns()
    found = [
        line
        for text in texts()
        if not wanted or text.file.startswith(tuple(wanted))
        for line in findings(text, table)
    ]
    sys.stdout.writelines(f"{line}\n" for line in found)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
