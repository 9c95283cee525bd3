"""What Slurm says that a user may use: accounts, qualities of service, partitions.

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
_ALL = frozenset({"ALL", "(null)", ""})


@dataclass(frozen=True)
class Partition:
    """One partition, in Slurm's own words."""

    name: str
    is_default: bool
    default_time: str
    """`01:00:00`, `NONE`."""
    max_time: str
    """`1-00:00:00`, `UNLIMITED`."""
    state: str
    """`UP`, `DOWN`."""
    nodes: str = ""
    """CPUs, MiB of memory and generic resources of its nodes, as sinfo has them: `8 8000 gpu:2`."""


@dataclass(frozen=True)
class Access:
    """What a user has; empty where Slurm did not say."""

    partitions: tuple[Partition, ...] = ()
    accounts: tuple[str, ...] = ()
    qualities: tuple[str, ...] = ()
    unanswered: tuple[str, ...] = ()
    """What could not be learnt, and why: a line each."""


def find_access() -> Access:
    """Ask scontrol, sinfo and sacctmgr; never raises, `unanswered` says what failed."""
    unanswered: list[str] = []
    associations = _try(
        ["sacctmgr", "-nP", "show", "assoc", f"user={user_name()}", "format=Account,QOS"],
        "accounts",
        unanswered,
    )
    accounts, qualities = parse_associations(associations)
    shown = _try(["scontrol", "-o", "show", "partition"], "partitions", unanswered)
    nodes = _try(["sinfo", "-h", "-o", "%R|%c %m %G"], "nodes", unanswered) if shown else ""
    partitions = parse_partitions(shown, nodes, accounts=accounts, groups=_groups())
    return Access(partitions, accounts, qualities, tuple(unanswered))


def parse_associations(text: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Accounts and qualities from lines of `sacctmgr -nP`: `project|normal,long`."""
    accounts, qualities = [], []
    for line in text.splitlines():
        account, _, qos = line.strip().partition("|")
        accounts.append(account)
        qualities += qos.split(",")
    return _unique(accounts), _unique(qualities)


def parse_partitions(
    text: str, nodes: str, *, accounts: Collection[str], groups: Collection[str]
) -> tuple[Partition, ...]:
    """The partitions of `scontrol -o show partition` that `accounts` and `groups` may use.

    Without accounts, as where there is no accounting, none is left out for them.
    `nodes`: lines of `sinfo -o '%R|%c %m %G'`.
    """
    sizes: dict[str, list[str]] = {}
    for line in nodes.splitlines():
        name, _, size = line.strip().partition("|")
        sizes.setdefault(name, []).append(size.removesuffix(" (null)"))
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


def _try(argv: list[str], what: str, unanswered: list[str]) -> str:
    try:
        answer = run(argv, timeout_s=QUERY_TIMEOUT_S)
    except SchedulerError as error:
        unanswered.append(f"{what}: {error}")
        return ""
    if answer.exit_code:
        unanswered.append(f"{what}: {argv[0]}: {answer.words}")
        return ""
    return answer.stdout


def _unique(texts: list[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(text for text in texts if text))
