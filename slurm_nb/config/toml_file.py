"""One config file: TOML whose keys are submit's options, every value checked with its line."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from slurm_nb.config.amounts import MAXIMA, amount
from slurm_nb.errors import UserError, did_you_mean

Kind = Literal["text", "number", "switch", "list"]
Value = str | int | bool | tuple[str, ...]

_WANTED: dict[Kind, str] = {
    "text": 'text in quotes, as in {key} = "..."',
    "number": "a whole number without quotes, as in {key} = 4",
    "switch": "true or false, without quotes",
    "list": 'a list of texts, as in {key} = ["..."]',
}
_LINE = re.compile(r" \(at line (\d+), column \d+\)| \(at end of document\)")


@dataclass(frozen=True)
class Key:
    """An option that may stand in a config file."""

    name: str
    """As on the command line, without the hyphens in front: `cpus-per-task`."""
    kind: Kind
    short: str = ""
    """`c`; only so that a file with it is told the long one."""


@dataclass(frozen=True)
class Place:
    """Where a value stands."""

    path: Path
    line: int | None = None
    profile: str | None = None

    def __str__(self) -> str:
        return f"{self.path}:{self.line}" if self.line else str(self.path)


@dataclass(frozen=True)
class Setting:
    """One value of a config file."""

    key: str
    value: Value
    place: Place


@dataclass(frozen=True)
class ConfigFile:
    """What one file says; nothing, when it is not there."""

    path: Path
    settings: Mapping[str, Setting] = field(default_factory=dict)
    """By key, as the other ones."""
    profiles: Mapping[str, Mapping[str, Setting]] = field(default_factory=dict)
    locked: Mapping[str, Place] = field(default_factory=dict)
    maximum: Mapping[str, Setting] = field(default_factory=dict)


def parse(path: Path, text: str, keys: Collection[Key], *, is_site: bool) -> ConfigFile:
    """What `text`, read from `path`, says; a site's file has keys that a user's has not.

    Raises `UserError`, naming file, line and the likely meant key.
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
        except (ValueError, RecursionError) as error:  # also numbers and brackets without end
            found = _LINE.search(str(error))
            line = int(found[1]) if found and found[1] else text.rstrip("\n").count("\n") + 1
            raise UserError(
                f"{Place(self.path, line)}: is not TOML: {_LINE.sub('', str(error))}",
                hint='text stands in quotes, one value on a line: partition = "core"',
            ) from error
        lines = _lines(text)
        apart = {name: tables.pop(name, default) for name, default in self._apart().items()}
        for name, default in self._apart().items():
            if not isinstance(apart[name], type(default)):
                wanted = '["..."]' if name == "locked" else f"[{name}]"
                raise UserError(
                    f"{self._place(lines, name)}: {name} is no {_of_toml(default)}",
                    hint=f"write {wanted}",
                )
        profiles = {}
        for name, table in apart["profiles"].items():
            if not isinstance(table, dict):
                raise UserError(
                    f"{self._place(lines, 'profiles', name)}: a profile is a table",
                    hint=f'write [profiles.NAME], and under it {name} = "..."',
                )
            profiles[name] = self._settings(table, lines, "profiles", name)
        return ConfigFile(
            path=self.path,
            settings=self._settings(tables, lines),
            profiles=profiles,
            locked=self._locked(apart.get("locked", []), self._place(lines, "locked")),
            maximum=self._maximum(apart.get("maximum", {}), lines),
        )

    def _apart(self) -> dict[str, Any]:
        """The keys that are no options, each with what it is when left out."""
        site: dict[str, Any] = {"locked": [], "maximum": {}} if self.is_site else {}
        return {"profiles": {}, **site}

    def _place(self, lines: Mapping[tuple[str, ...], int], *names: str) -> Place:
        """The line of the innermost of `names` that has one: inline tables have but one."""
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
            key = self._key(name, place, inside)
            settings[name] = Setting(name, _value(key, value, place), place)
        return settings

    def _key(self, name: str, place: Place, inside: tuple[str, ...]) -> Key:
        known = {key.name: key for key in self.keys if not inside or key.name != "profile"}
        if name in known:
            return known[name]
        if name in {"locked", "maximum", "profiles", "profile"}:
            where = "stands at the top of a file, outside of profiles"
            if not inside:
                where = "is a key of the site's file"
            raise UserError(f"{place}: {name} can't stand here: it {where}")
        long = next((key.name for key in self.keys if key.short == name), name)
        names = {*known, *(() if inside else self._apart())}
        raise UserError(
            f"{place}: unknown key {name!r}",
            hint=f"{did_you_mean(long.replace('_', '-'), names)}"
            "the keys are listed by: slurm-nb config",
        )

    def _locked(self, names: list[Any], place: Place) -> dict[str, Place]:
        known = {key.name for key in self.keys}
        for name in names:
            if not isinstance(name, str) or name not in known:
                raise UserError(
                    f"{place}: locked: unknown key {name!r}",
                    hint=f"{did_you_mean(str(name), known)}the keys are listed by: slurm-nb config",
                )
        return dict.fromkeys(names, place)

    def _maximum(
        self, table: dict[str, Any], lines: Mapping[tuple[str, ...], int]
    ) -> dict[str, Setting]:
        settings = {}
        for name, value in table.items():
            place = self._place(lines, "maximum", name)
            if name not in MAXIMA:
                raise UserError(
                    f"{place}: maximum: unknown key {name!r}",
                    hint=f"{did_you_mean(name, MAXIMA)}there can be one of {', '.join(MAXIMA)}",
                )
            checked = _value(Key(name, "text"), value, place)
            try:
                amount(name, str(checked))
            except UserError as error:
                raise UserError(f"{place}: maximum: {error}", hint=error.hint) from error
            settings[name] = Setting(name, checked, place)
        return settings


def _value(key: Key, value: object, place: Place) -> Value:
    """`value` as the option takes it; numbers are fine as text, as in `time = 90`."""
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
    wanted = _WANTED[key.kind].format(key=key.name)
    raise UserError(
        f"{place}: {key.name} is a {_of_toml(value)}, which it can't be", hint=f"write {wanted}"
    )


def _of_toml(value: object) -> str:
    """What TOML calls it; `02:00:00` without quotes is a time of day there."""
    names = {
        str: "text", bool: "true or false", int: "number", float: "number with a point",
        list: "list", dict: "table",
    }  # fmt: skip
    return names.get(type(value), "date or time of day")


def _lines(text: str) -> dict[tuple[str, ...], int]:
    """The line of each key and table header, by their path: `("profiles", "gpu", "time")`."""
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
    """The path that a header or an assignment names; none, when the line is neither."""
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
