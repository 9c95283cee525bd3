"""The values of a config file, each with its place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

Kind = Literal["text", "number", "switch", "list"]
Value = str | int | bool | tuple[str, ...]


@dataclass(frozen=True)
class Key:
    """An option that a config file may set."""

    name: str
    """The name on the command line, without hyphens: `cpus-per-task`."""
    kind: Kind
    short: str = ""
    """`c`; only for the hint that names the long one."""


@dataclass(frozen=True)
class Place:
    """The place of a value."""

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
    """The values of one file; empty if it does not exist."""

    path: Path
    settings: Mapping[str, Setting] = field(default_factory=dict)
    """By key, like the others."""
    profiles: Mapping[str, Mapping[str, Setting]] = field(default_factory=dict)
    locked: Mapping[str, Place] = field(default_factory=dict)
    maximum: Mapping[str, Setting] = field(default_factory=dict)
    notice: str = ""
    """A message of the site to its users, shown at each submission."""
