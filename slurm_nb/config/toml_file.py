"""Parse a config file: TOML with submit's options as keys. Errors name the line."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import time
from pathlib import Path
from typing import Any

from slurm_nb.config.amounts import MAXIMA, amount
from slurm_nb.config.settings import ConfigFile, Key, Kind, Place, Setting, Value
from slurm_nb.errors import UserError, did_you_mean

_WANTED: dict[Kind, str] = {
    "text": 'a string: {key} = "..."',
    "number": "a whole number: {key} = 4",
    "switch": "true or false: {key} = true",
    "list": 'a list of strings: {key} = ["..."]',
}
_OF_SITE: dict[str, Any] = {"locked": [], "maximum": {}, "notice": "", "help": ""}
"""The keys that only a site's file may have, with their defaults."""
_EXAMPLES = {"locked": '["..."]', "notice": 'notice = "..."', "help": 'help = "..."'}
_SAME = {"cluster": "local", "local": "cluster"}
"""The two names of one option: a lock of one holds both."""
_LIST = "list the keys with: slurm-nb config --all"
_LONGEST_CHARS = 80
_LINE = re.compile(r" \(at line (\d+), column \d+\)| \(at end of document\)")


def help_in(text: str) -> str:
    """Return the value of `help` in a site's file; empty without one, or if it is not TOML."""
    try:
        address = tomllib.loads(text).get("help")
    except (ValueError, RecursionError):
        return ""
    return address if isinstance(address, str) else ""


def parse(path: Path, text: str, keys: Collection[Key], *, is_site: bool) -> ConfigFile:
    """Parse the `text` of `path`; a site's file may have keys that a user's file may not.

    Raises `UserError`, naming file, line and the key that was probably meant.
    """
    return _File(path, keys, is_site).parse(text)


@dataclass(frozen=True)
class _File:
    """One file being read."""

    path: Path
    keys: Collection[Key]
    is_site: bool

    def parse(self, text: str) -> ConfigFile:
        try:
            tables = tomllib.loads(text)
        except (ValueError, RecursionError) as error:  # endless numbers and brackets as well
            found = _LINE.search(str(error))
            line = int(found[1]) if found and found[1] else text.rstrip("\n").count("\n") + 1
            raise UserError(
                f"{Place(self.path, line)}: is not TOML: {_LINE.sub('', str(error))}",
                hint=_toml_hint(text, line),
            ) from error
        lines = _lines(text)
        apart = {name: tables.pop(name, default) for name, default in self._apart().items()}
        for name, default in self._apart().items():
            if not isinstance(apart[name], type(default)):
                raise UserError(
                    f"{self._place(lines, name)}: {name} must be a {_of_toml(default)}",
                    hint=f"write {_EXAMPLES.get(name, f'[{name}]')}",
                )
        profiles = {}
        for name, table in apart["profiles"].items():
            if not isinstance(table, dict):
                raise UserError(
                    f"{self._place(lines, 'profiles', name)}: a profile must be a table",
                    hint=f'write [profiles.NAME], and under it {name} = "..."',
                )
            profiles[name] = self._settings(table, lines, "profiles", name)
        return ConfigFile(
            path=self.path,
            settings=self._settings(tables, lines),
            profiles=profiles,
            locked=self._locked(apart.get("locked", []), self._place(lines, "locked")),
            maximum=self._maximum(apart.get("maximum", {}), lines),
            notice=apart.get("notice", ""),
        )

    def _apart(self) -> dict[str, Any]:
        """Return the keys that are not options, with their defaults."""
        return {"profiles": {}, **(_OF_SITE if self.is_site else {})}

    def _place(self, lines: Mapping[tuple[str, ...], int], *names: str) -> Place:
        """Return the line of the innermost of `names` that has one; inline tables have only one."""
        beginnings = (names[:count] for count in range(len(names), 0, -1))
        line = next((lines[each] for each in beginnings if each in lines), None)
        profile = names[1] if len(names) > 2 and names[0] == "profiles" else None
        return Place(self.path, line, profile)

    def _settings(
        self, table: dict[str, Any], lines: Mapping[tuple[str, ...], int], *inside: str
    ) -> dict[str, Setting]:
        settings = {}
        for name, value in table.items():
            place = self._place(lines, *inside, name)
            if name == "profile" and isinstance(value, dict) and not inside:
                place = self._place(lines, name, *list(value)[:1])
                raise UserError(
                    f"{place}: profile is the name of the default profile, not a table",
                    hint=f"write [profiles.{next(iter(value), 'NAME')}]",
                )
            key = self._key(name, place, inside)
            settings[name] = Setting(name, _value(key, value, place), place)
        return settings

    def _key(self, name: str, place: Place, inside: tuple[str, ...]) -> Key:
        known = {key.name: key for key in self.keys if not inside or key.name != "profile"}
        if name in known:
            return known[name]
        if name in {*_OF_SITE, "profiles", "profile"}:
            where = "must be at the top of the file, outside of profiles"
            if not inside:
                where = "is only allowed in the site's file"
            raise UserError(f"{place}: {name} {where}")
        long = next((key.name for key in self.keys if key.short == name), name)
        names = {*known, *(() if inside else self._apart())}
        raise UserError(
            f"{place}: unknown key {name!r}",
            hint=f"{did_you_mean(long.replace('_', '-'), names)}{_LIST}",
        )

    def _locked(self, names: list[Any], place: Place) -> dict[str, Place]:
        known = {key.name for key in self.keys}
        for name in names:
            if not isinstance(name, str) or name not in known:
                raise UserError(
                    f"{place}: locked: unknown key {name!r}",
                    hint=f"{did_you_mean(str(name), known)}{_LIST}",
                )
        return dict.fromkeys([*names, *(_SAME[name] for name in names if name in _SAME)], place)

    def _maximum(
        self, table: dict[str, Any], lines: Mapping[tuple[str, ...], int]
    ) -> dict[str, Setting]:
        settings = {}
        for name, value in table.items():
            place = self._place(lines, "maximum", name)
            if name not in MAXIMA:
                raise UserError(
                    f"{place}: maximum: unknown key {name!r}",
                    hint=f"{did_you_mean(name, MAXIMA)}use one of {', '.join(MAXIMA)}",
                )
            checked = _value(Key(name, "text"), value, place)
            try:
                amount(name, str(checked))
            except UserError as error:
                raise UserError(f"{place}: maximum: {error}", hint=error.hint) from error
            settings[name] = Setting(name, checked, place)
        return settings


def _value(key: Key, value: object, place: Place) -> Value:
    """Return `value` as the option takes it; a number is accepted as text: `time = 90`."""
    match key.kind, value:
        case "switch", bool():
            return value
        case _, bool():
            pass
        case "number", int():
            return value
        case "text", str() | int():
            return str(value)
        case "list", list() if all(isinstance(item, str) for item in value):
            return tuple(value)
    wanted, _, example = _WANTED[key.kind].partition(": ")
    if isinstance(value, time):
        example = f'{{key}} = "{value.isoformat()}"'
    raise UserError(
        f"{place}: {key.name} must be {wanted}, not a {_of_toml(value)}",
        hint=f"write: {example.format(key=key.name)}",
    )


def _toml_hint(text: str, line: int) -> str:
    """Return how to write the value on a line that is not TOML."""
    name, equals, value = text.split("\n")[line - 1].partition("=")
    if not equals or not re.fullmatch(r"\s*[\w-]+\s*", name):
        name, value = "partition", "core"
    value = value.strip().strip("\"'") or "..."
    if len(name) + len(value) > _LONGEST_CHARS:
        name, value = "partition", "core"
    return f'write strings in quotes, one value per line: {name.strip()} = "{value}"'


def _of_toml(value: object) -> str:
    """Return the name of the TOML type; `02:00:00` without quotes is a time."""
    names = {
        str: "string", bool: "boolean", int: "number", float: "decimal number", list: "list",
        dict: "table", time: "TOML time",
    }  # fmt: skip
    return names.get(type(value), "TOML date")


def _lines(text: str) -> dict[tuple[str, ...], int]:
    """Return the lines of keys and table headers, by path: `("profiles", "gpu", "time")`."""
    found: dict[tuple[str, ...], int] = {}
    table: tuple[str, ...] = ()
    for number, line in enumerate(text.split("\n"), start=1):
        if line.lstrip().startswith("["):
            path = next(_paths(line), ())
            table = path or table
        else:
            path = (*table, *next(_paths(f"{line.partition('=')[0]}= 0"), ()))
        found.setdefault(path, number)
    return found


def _paths(line: str) -> Iterator[tuple[str, ...]]:
    """Yield the path that a header or an assignment names; nothing for another line."""
    try:
        table = tomllib.loads(line)
    except tomllib.TOMLDecodeError:
        return
    path = []
    while isinstance(table, dict) and table:
        (name,) = table
        path.append(name)
        table = table[name]
    yield tuple(path)
