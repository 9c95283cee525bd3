"""Versions of Jupyter without published security holes, as of November 2026."""

from __future__ import annotations

import re
from importlib import metadata
from typing import Dict, List, Mapping, Optional, Tuple

MINIMUM: Dict[str, str] = {
    "jupyter_server": "2.21.0",
    "notebook": "7.5.6",
    "jupyterlab": "4.6.2",
    # 6.5.8 fixes GHSA-mpf4-983q-p7j4 (one request stalls the server). 6.5.9 keeps static files from
    # following links out of their folder (docs/releases/v6.5.9.rst), but Jupyter does not load with
    # it (v6.5.10.rst).
    "tornado": "6.5.10",
}


def installed() -> Dict[str, str]:
    """Return the installed versions of the packages in `MINIMUM`: `{"tornado": "6.5.10"}`."""
    found = {}
    for name in MINIMUM:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def old(versions: Optional[Mapping[str, str]] = None) -> List[str]:
    """Return a sentence for each package with published holes.

    `["tornado 6.4.2 has known security holes, fixed in 6.5.10"]`

    versions: by default the result of `installed`. A malformed version is treated as old, and a
    release candidate as its release.
    """
    return [
        "%s %s has known security holes, fixed in %s" % (name, version, MINIMUM[name])
        for name, version in (installed() if versions is None else versions).items()
        if name in MINIMUM and numbers(version) < numbers(MINIMUM[name])
    ]


def numbers(version: str) -> Tuple[int, ...]:
    """Return at least four numbers to compare, `(2, 21, 0, 0)`; zeros for a malformed version."""
    match = re.match(r"\d+(?:\.\d+)*", version)
    found = [int(part) for part in match.group().split(".")] if match else []
    return tuple(found + [0] * (4 - len(found)))
