"""The accounts, QOS, partitions and node sizes that Slurm offers a user.

Facts about Slurm's commands were seen on 22.05.8 unless a man page is named.
"""

from __future__ import annotations

import grp
import os
import re
from collections.abc import Collection
from dataclasses import dataclass

from slurm_nb.errors import SchedulerError
from slurm_nb.files import user_name
from slurm_nb.scheduler.run import QUERY_TIMEOUT_S, run

_FIELD = re.compile(r"(?:^|\s)([A-Za-z]+)=(\S*)")
_SINFO = ["sinfo", "-h", "-o", "%R|%c %m %G"]
_NO_ACCOUNTING = "accounting_storage plugin"
"""From sacctmgr's message in a cluster without accounting."""
_ALL = frozenset({"ALL", "(null)", ""})


@dataclass(frozen=True)
class Partition:
    """One partition, with the values that Slurm shows."""

    name: str
    is_default: bool
    default_time: str
    """`01:00:00`, `NONE`."""
    max_time: str
    """`1-00:00:00`, `UNLIMITED`."""
    state: str
    """`UP`, `DOWN`."""
    nodes: str = ""
    """The sizes of its nodes: `8 CPUs, 8000M of memory, gpu:2`."""


@dataclass(frozen=True)
class Access:
    """The partitions, accounts and QOS of a user; empty if Slurm did not say."""

    partitions: tuple[Partition, ...] = ()
    accounts: tuple[str, ...] = ()
    qualities: tuple[str, ...] = ()
    unanswered: tuple[str, ...] = ()
    """The queries that failed, and why: one line each."""


def find_access(*, timeout_s: float = QUERY_TIMEOUT_S) -> Access:
    """Query scontrol, sinfo and sacctmgr; never raises, `unanswered` says what failed."""
    unanswered: list[str] = []
    associations = _try(
        ["sacctmgr", "-nP", "show", "assoc", f"user={user_name()}", "format=Account,QOS"],
        "accounts",
        unanswered,
        timeout_s=timeout_s,
    )
    accounts, qualities = parse_associations(associations)
    shown = _try(
        ["scontrol", "-o", "show", "partition"], "partitions", unanswered, timeout_s=timeout_s
    )
    nodes = _try(_SINFO, "nodes", unanswered, timeout_s=timeout_s) if shown else ""
    partitions = parse_partitions(shown, nodes, accounts=accounts, groups=_groups())
    return Access(partitions, accounts, qualities, tuple(unanswered))


def parse_associations(text: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return accounts and QOS from lines of `sacctmgr -nP`: `project|normal,long`."""
    accounts, qualities = [], []
    for line in text.splitlines():
        account, _, qos = line.strip().partition("|")
        accounts.append(account)
        qualities += qos.split(",")
    return _unique(accounts), _unique(qualities)


def parse_partitions(
    text: str, nodes: str, *, accounts: Collection[str], groups: Collection[str]
) -> tuple[Partition, ...]:
    """Return the partitions of `scontrol -o show partition` that `accounts` and `groups` may use.

    Without accounts (no accounting) they exclude no partition. nodes: the lines of sinfo.
    """
    sizes: dict[str, list[str]] = {}
    for line in nodes.splitlines():
        name, _, size = line.strip().partition("|")
        sizes.setdefault(name, []).append(_in_words(size))
    partitions = []
    for line in text.splitlines():
        fields = dict(_FIELD.findall(line))
        name = fields.get("PartitionName", "")
        allowed = _is_allowed(fields.get("AllowGroups", "ALL"), groups) and (
            not accounts
            or (
                _is_allowed(fields.get("AllowAccounts", "ALL"), accounts)
                and not set(accounts) <= set(fields.get("DenyAccounts", "").split(","))
            )
        )
        if name and allowed:
            partitions.append(
                Partition(
                    name,
                    is_default=fields.get("Default") == "YES",
                    default_time=fields.get("DefaultTime", "NONE"),
                    max_time=fields.get("MaxTime", "UNLIMITED"),
                    state=fields.get("State", "UP"),
                    nodes="; ".join(_unique(sizes.get(name, []))),
                )
            )
    return tuple(partitions)


def _in_words(size: str) -> str:
    """Return `8 CPUs, 8000M of memory, gpu:2` for sinfo's `8 8000 gpu:2`."""
    cpus, _, rest = size.partition(" ")
    mem, _, gres = rest.partition(" ")
    if not mem:
        return size
    return f"{cpus} CPUs, {mem}M of memory" + (f", {gres}" if gres not in {"", "(null)"} else "")


def _is_allowed(listed: str, mine: Collection[str]) -> bool:
    return listed in _ALL or bool(set(listed.split(",")) & set(mine))


def _groups() -> tuple[str, ...]:
    names = []
    for gid in {os.getegid(), *os.getgroups()}:
        try:
            names.append(grp.getgrgid(gid).gr_name)
        except KeyError:
            continue
    return tuple(names)


def _try(argv: list[str], what: str, unanswered: list[str], *, timeout_s: float) -> str:
    try:
        answer = run(argv, timeout_s=timeout_s)
    except SchedulerError as error:
        unanswered.append(f"{what}: {error}")
        return ""
    if answer.exit_code and _NO_ACCOUNTING in answer.words:
        return ""
    if answer.exit_code:
        unanswered.append(f"{what}: {argv[0]}: {answer.words.removeprefix(f'{argv[0]}: ')}")
        return ""
    return answer.stdout


def _unique(texts: list[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(text for text in texts if text))
