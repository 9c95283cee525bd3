"""Names of nodes in text that slurm-nb does not trust."""

from __future__ import annotations

import re

# Host names (RFC 1123, also with underscores, which Slurm allows); never a leading dash.
_NODE = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,252}[A-Za-z0-9_])?", re.ASCII)


def is_node(text: str) -> bool:
    """Return whether `text` can be the name or IPv4 address of a node or login node."""
    return _NODE.fullmatch(text) is not None
