"""Lists the rules of the server's router, and an example path for each."""

from __future__ import annotations

import re
from typing import Any, Iterator, List

from tornado import routing

if hasattr(re, "_parser"):
    parser: Any = re._parser
else:  # before Python 3.11
    import sre_parse as parser

_WORD = "x"


def rules(router: Any) -> Iterator[Any]:
    """Yield the rules of a router that lead to a handler."""
    for rule in getattr(router, "default_router", router).rules:
        if isinstance(rule.target, routing.Router):
            yield from rules(rule.target)
        else:
            yield rule


def paths(web_app: Any) -> List[str]:
    """Return one matching path for each rule."""
    found = set()
    for rule in rules(web_app):
        regex = getattr(rule.matcher, "regex", None)
        if regex is not None:
            path = _example(parser.parse(regex.pattern))
            if regex.match(path):
                found.add(path if path.startswith("/") else "/" + path)
    return sorted(found)


def _example(parsed: Any) -> str:
    return "".join(_one(str(kind), value) for kind, value in parsed)


def _one(kind: str, value: Any) -> str:
    """Return a text that matches one item of a parsed pattern; see the parser of `re`."""
    text = ""
    if kind == "LITERAL":
        text = chr(value)
    elif kind in ("ANY", "NOT_LITERAL", "CATEGORY", "NEGATE"):
        text = "1" if "DIGIT" in str(value) else _WORD
    elif kind == "RANGE":
        text = chr(value[0])
    elif kind == "IN":
        text = _one(str(value[0][0]), value[0][1])
    elif kind in ("MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT"):
        least, most, inner = value
        text = _example(inner) * max(int(least), min(1, int(most)))
    elif kind == "SUBPATTERN":
        text = _example(value[-1])
    elif kind == "BRANCH":
        text = _example(value[1][0])
    return text
