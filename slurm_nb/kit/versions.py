"""Versions of Jupyter without published security holes, as of November 2026."""

from __future__ import annotations

import re
from importlib import metadata
from typing import Dict, List, Mapping, Optional, Tuple

MINIMUM: Dict[str, str] = {
    "jupyter_server": "2.21.0",
    "notebook": "7.5.6",
    "jupyterlab": "4.6.2",
    # GHSA-mpf4-983q-p7j4 (one request stalls the server) is fixed in 6.5.8; 6.5.9 keeps static
    # files from following links out of their folder (docs/releases/v6.5.9.rst), and with 6.5.9
    # Jupyter does not load (v6.5.10.rst).
    "tornado": "6.5.10",
}


def installed() -> Dict[str, str]:
    """Of the packages in `MINIMUM`, those that this interpreter has: `{"tornado": "6.5.10"}`."""
    found = {}
    for name in MINIMUM:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def old(versions: Optional[Mapping[str, str]] = None) -> List[str]:
    """What has published holes: `["tornado 6.4.2 (6.5.10 or later has no known holes)"]`.

    versions: as `installed` tells them, and by default just these; a text that is no version
    counts as old. A release candidate counts as its release.
    """
    return [
        "%s %s (%s or later has no known holes)" % (name, version, MINIMUM[name])
        for name, version in (installed() if versions is None else versions).items()
        if name in MINIMUM and numbers(version) < numbers(MINIMUM[name])
    ]


def numbers(version: str) -> Tuple[int, ...]:
    """Four numbers at least, to compare: `(2, 21, 0, 0)`; zeros for a text that is no version."""
    match = re.match(r"\d+(?:\.\d+)*", version)
    found = [int(part) for part in match.group().split(".")] if match else []
    return tuple(found + [0] * (4 - len(found)))
