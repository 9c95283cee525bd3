"""The events in a job's output: started, ready on a node and port, ended.

The job writes one line for each, among the log of Jupyter:

    slurm-nb started: {"cluster": "hpc", "job_id": "7", "submission": "c0...", "nonce": "5f...",
                       "began_at": 1795672800}
    slurm-nb notice: {..., "text": "..."}
    slurm-nb ready: {..., "node": "c1", "port": 40123, "path": "/tree"}
    slurm-nb warning: {..., "kind": "memory", "text": "..."}
    slurm-nb stopping: {..., "kind": "idle", "text": "..."}
    slurm-nb failed: {..., "text": "...", "cure": "..."}
    slurm-nb ended: {..., "exit_code": 0}

The writers are job_templates/jupyter.sh.j2 (started, failed, ended),
kit/preflight.py (failed) and kit/server.py (notice, ready, warning, stopping).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from ipaddress import IPv4Address
from typing import Any, Literal, get_args

from slurm_nb.joblog.nodes import is_node

MARK = "slurm-nb "
_LINE = re.compile(
    r"slurm-nb (started|notice|ready|warning|stopping|failed|ended): (\{.*\})", re.ASCII
)
_SOCKET = re.compile(r"(?:/[A-Za-z0-9_.-]+)+", re.ASCII)
_FINGERPRINT = re.compile(r"[0-9A-F]{2}(?::[0-9A-F]{2}){31}", re.ASCII)
_NOTICES = 20
_WARNINGS = 20
_TEXT_CHARS = 1000
WarningKind = Literal["time", "memory"]
WARNING_KINDS: tuple[WarningKind, ...] = get_args(WarningKind)
StoppingKind = Literal["idle", "time"]
STOPPING_KINDS: tuple[StoppingKind, ...] = get_args(StoppingKind)
# A path that needs no quoting, neither in a URL nor in a shell.
_PATH = re.compile(r"(?:/[A-Za-z0-9_.~@%+-]+)+/?", re.ASCII)


@dataclass(frozen=True)
class Ready:
    """The address of Jupyter: a port or a socket."""

    node: str
    """Its name in Slurm and for ssh: `c1`."""
    port: int | None
    """TCP, on 127.0.0.1 of the node unless there is an address; None with a socket."""
    path: str
    """The path in the URL: `/tree`, `/lab`."""
    socket: str | None = None
    """Absolute path of a UNIX socket on the node."""
    address: str | None = None
    """IPv4 on the cluster's network, with the direct route: `10.1.2.3`."""
    fingerprint: str | None = None
    """SHA-256 of the certificate, with TLS: `AB:CD:...`."""


@dataclass(frozen=True)
class Failure:
    """Why Jupyter cannot start; untrusted text from the job."""

    text: str
    """One sentence: `the module 'x' cannot be loaded on c1: ...`."""
    cure: str
    """The next step for the user."""
    known: bool = True
    """False if only the rest of the output shows the cause."""


@dataclass(frozen=True)
class SessionWarning:
    """A warning of a running session; untrusted text from the job."""

    kind: WarningKind
    text: str
    """One sentence: `this session ends in 15 minutes, at 14:30 (the time limit of the job)`."""


@dataclass(frozen=True)
class Stopping:
    """Why a session ends by itself; untrusted text from the job."""

    kind: StoppingKind
    text: str
    """One sentence: `the time limit was reached`."""


@dataclass(frozen=True)
class Progress:
    """The progress of a job, as it reports it."""

    started: bool = False
    began_at: int | None = None
    """When the current run began, by the node's clock: seconds since the epoch."""
    ready: Ready | None = None
    exit_code: int | None = None
    """The exit code of Jupyter after the job script has ended; None before."""
    notices: tuple[str, ...] = ()
    """Messages for the user; untrusted text from the job."""
    failure: Failure | None = None
    warnings: tuple[SessionWarning, ...] = ()
    """The last 20 of the current run; kept after its end."""
    stopping: Stopping | None = None
    """The first of the current run; kept after its end."""


def read_progress(
    lines: Iterable[str], *, who: Mapping[str, str], so_far: Progress | None = None
) -> Progress:
    """Continue from `so_far` with complete `lines` (without newlines).

    who: `cluster`, `job_id`, `nonce` and, if the session has one, `submission`; ignores malformed
    lines and those of other jobs. The nonce is random and in a private file, so no output of
    another program in the job is accepted as a line of the job script. Uses the first ready line of
    the current run: a requeued job appends to its log and begins with `started`.
    """
    progress = so_far or Progress()
    for line in lines:
        match = _LINE.fullmatch(line.rstrip("\r"))
        record = _record(match[2]) if match else {}
        if match is None or any(record.get(name) != value for name, value in who.items()):
            continue
        if match[1] == "started":
            began_at = record.get("began_at")
            progress = Progress(started=True, began_at=began_at if _is_time(began_at) else None)
        elif match[1] == "ready" and not progress.ready and (ready := _ready(record)):
            progress = replace(progress, started=True, ready=ready, exit_code=None)
        elif match[1] == "notice" and isinstance(record.get("text"), str):
            progress = replace(progress, notices=(*progress.notices, record["text"])[-_NOTICES:])
        elif match[1] == "warning" and (warning := _warning(record)):
            progress = replace(progress, warnings=(*progress.warnings, warning)[-_WARNINGS:])
        elif match[1] == "stopping" and (stopping := _stopping(record)):
            progress = replace(progress, stopping=progress.stopping or stopping)
        elif match[1] == "failed" and not progress.ready and (failure := _failure(record)):
            progress = replace(progress, started=True, failure=progress.failure or failure)
        elif match[1] == "ended" and type(record.get("exit_code")) is int:
            progress = replace(
                progress, started=True, ready=None, notices=(), exit_code=record["exit_code"]
            )
    return progress


def in_words(line: str) -> str | None:
    """Return one of the job's lines in words, without its nonce; None for another line.

    The line may come from any program in the job, so the words are untrusted.
    """
    match = _LINE.fullmatch(line.rstrip("\r"))
    record = _record(match[2]) if match else {}
    if match is None or not record:
        return None
    said = _sentence(record)
    if match[1] == "ready":
        said = f"Jupyter is ready on {_folded(str(record.get('node')))}"
    elif match[1] == "ended":
        code = record.get("exit_code")
        said = "Jupyter ended normally" if code == 0 else f"Jupyter ended with exit code {code}"
    elif match[1] == "failed":
        said = f"{said}; {_folded(str(record.get('cure', '')))}"
    return f"slurm-nb: {said or 'the job started'}"


def _record(text: str) -> dict[str, Any]:
    try:
        record = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return record if isinstance(record, dict) else {}


def _failure(record: dict[str, Any]) -> Failure | None:
    text, cure = record.get("text"), record.get("cure")
    if not isinstance(text, str) or not isinstance(cure, str):
        return None
    return Failure(_folded(text), _folded(cure), known=record.get("known") is not False)


def _warning(record: dict[str, Any]) -> SessionWarning | None:
    kind, text = record.get("kind"), _sentence(record)
    return SessionWarning(kind, text) if kind in WARNING_KINDS and text else None


def _stopping(record: dict[str, Any]) -> Stopping | None:
    kind, text = record.get("kind"), _sentence(record)
    return Stopping(kind, text) if kind in STOPPING_KINDS and text else None


def _sentence(record: dict[str, Any]) -> str:
    text = record.get("text")
    return _folded(text) if isinstance(text, str) else ""


def _folded(text: str) -> str:
    """Return `text` shortened and on one line, with blanks for unprintable characters."""
    plain = (char if char.isprintable() else " " for char in text[: 4 * _TEXT_CHARS])
    return " ".join("".join(plain).split())[:_TEXT_CHARS]


def _ready(record: dict[str, Any]) -> Ready | None:
    """Return the event; None if any value is not safe in a command line or a URL."""
    names = ("node", "port", "path", "socket", "address", "fingerprint")
    values = {name: record.get(name) for name in names}
    sound = (
        isinstance(values["node"], str)
        and is_node(values["node"])
        and _is_text(values["path"], _PATH)
        and (values["port"] is None) != (values["socket"] is None)
        and (values["port"] is None or _is_port(values["port"]))
        and (values["socket"] is None or _is_text(values["socket"], _SOCKET))
        and (values["address"] is None or (values["port"] and _is_ipv4(values["address"])))
        and (values["fingerprint"] is None or _is_text(values["fingerprint"], _FINGERPRINT))
    )
    return Ready(**values) if sound else None  # type: ignore[arg-type]  # checked above


def _is_text(value: object, pattern: re.Pattern[str]) -> bool:
    return isinstance(value, str) and pattern.fullmatch(value) is not None


def _is_port(value: object) -> bool:
    return type(value) is int and 0 < value < 65536


def _is_time(value: object) -> bool:
    return type(value) is int and 0 < value < 1e11  # up to the year 5138


def _is_ipv4(value: object) -> bool:
    try:
        address = IPv4Address(value) if isinstance(value, str) else None
    except ValueError:
        return False
    if address is None or address.is_unspecified or address.is_multicast or address.is_reserved:
        return False
    return str(address) == value
