"""Read and write dataclasses as JSON files.

A crash, a full disk, an editor or another version may have changed a file, so reading checks it
against the fields of the dataclass.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields, is_dataclass
from enum import Enum
from functools import cache, partial
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from slurm_nb.files import read_small

# The cached states of about ten thousand sessions; all other files are far smaller.
_LONGEST_BYTES = 16 << 20
# Seconds up to the year 5138; Python has no dates from the year 10000 on.
_NUMBERS_END = 1e11
_KEYS = {"slurm_state": "word", "id_reused": "foreign", "needs_cluster_option": "other_cluster"}
"""The key on disk of a field that had another name in the first version."""

_Kind = TypeVar("_Kind")
_Decoder = Callable[[Any], Any]
_PLAIN: frozenset[object] = frozenset({str, bool, NoneType})


def read_record(path: Path) -> dict[str, Any]:
    """Return the object in a JSON file. Raises `OSError`, or `ValueError` for anything else.

    Reads at most 16 MiB, and does not block on a pipe.
    """
    text = read_small(path, _LONGEST_BYTES)
    try:
        return _of_type(dict, json.loads(text.decode()))
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def encode(value: object) -> Any:  # noqa: ANN401  as json takes it
    """Return a dataclass and its contents as values for json.

    Leaves out a field of `later` versions if it has its default, so that older ones can read it.
    """
    if is_dataclass(value):
        values = ((each, getattr(value, each.name)) for each in fields(value))
        return {
            _KEYS.get(each.name, each.name): encode(it)
            for each, it in values
            if it != each.default or not each.metadata.get("later")
        }
    if isinstance(value, Mapping):
        return {key: encode(each) for key, each in value.items()}
    return value.value if isinstance(value, Enum) else value


def decode(kind: Callable[..., _Kind], record: object) -> _Kind:
    """Return a JSON object as the dataclass `kind`. Raises `ValueError` if it does not match.

    A field is text, a switch, a number, an Enum, a Literal or a dataclass; a tuple or mapping of
    one of these; or None. Numbers are not negative, and times are dates that Python knows.
    """
    value: _Kind = _decoder(kind)(record)
    return value


@cache
def _decoder(kind: Any) -> _Decoder:  # noqa: ANN401  a type, as annotations write it
    if is_dataclass(kind):
        return _fields_decoder(kind)
    if get_origin(kind):
        return _generic_decoder(get_origin(kind), get_args(kind))
    if issubclass(kind, Enum):
        return partial(_member, kind)
    return _number_decoders.get(kind) or partial(_of_type, kind)


def _generic_decoder(origin: object, of: tuple[Any, ...]) -> _Decoder:
    if origin is Literal:
        return partial(_one_of, of)
    if origin is tuple:
        each = _decoder(of[0])
        return lambda value: tuple(map(each, _of_type(list, value)))
    if origin is Mapping:
        each = _decoder(of[1])
        return lambda value: {key: each(item) for key, item in _of_type(dict, value).items()}
    (some,) = (_decoder(kind) for kind in of if kind is not NoneType)
    return lambda value: None if value is None else some(value)


def _fields_decoder(kind: Any) -> _Decoder:  # noqa: ANN401  a dataclass
    hints = get_type_hints(kind)
    names = {_KEYS.get(field.name, field.name): field.name for field in fields(kind)}
    decoders = {key: _decoder(hints[name]) for key, name in names.items()}
    # Most values have a plain type; a list of a thousand sessions has ten thousand values.
    plain = {key: _plain_types(hints[name]) for key, name in names.items()}
    needed = {
        _KEYS.get(field.name, field.name)
        for field in fields(kind)
        if field.default is MISSING and field.default_factory is MISSING
    }

    def decoder(value: object) -> object:
        if isinstance(value, kind):  # the caller has already decoded it
            return value
        record = _of_type(dict, value)
        if not needed <= record.keys() <= names.keys():
            raise ValueError(f"its keys are not the fields of {kind.__name__}")
        values = {
            names[key]: each if type(each) in plain[key] else decoders[key](each)
            for key, each in record.items()
        }
        return kind(**values)

    return decoder


def _plain_types(kind: Any) -> frozenset[object]:  # noqa: ANN401  as above
    return _PLAIN.intersection(get_args(kind) if isinstance(kind, UnionType) else (kind,))


def _of_type(kind: type[_Kind], value: object) -> _Kind:
    if not isinstance(value, kind):
        raise ValueError(f"{type(value).__name__} in place of {kind.__name__}")  # noqa: TRY004
    return value


def _member(kind: type[Enum], value: object) -> Enum:
    return kind(value)


def _one_of(values: tuple[Any, ...], value: object) -> object:
    if value not in values:
        raise ValueError(f"not one of {values}")
    return value


def _whole(value: object) -> int:
    if type(value) is not int or not 0 <= value < _NUMBERS_END:
        raise ValueError("not a valid whole number")
    return value


def _number(value: object) -> float:
    if type(value) not in {int, float} or not 0 <= value < _NUMBERS_END:  # type: ignore[operator]
        raise ValueError("not a valid number")
    return value  # type: ignore[return-value]


_number_decoders: dict[object, _Decoder] = {int: _whole, float: _number}
