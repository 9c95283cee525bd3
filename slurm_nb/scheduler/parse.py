"""Parse the output of Slurm's commands.

An answer is read whole or not at all: a site's wrapper may colour, pad, cut or cache the lines of
squeue, or print more, and a job that is not found in such an answer may well run.
Facts were seen on 22.05.8 unless a man page is named.
"""

from __future__ import annotations

import re

from slurm_nb.joblog.nodes import is_node
from slurm_nb.scheduler.job import JobState, Phase, Resources

# squeue(1) and sacct(1), "JOB STATE CODES"; an unlisted state is UNKNOWN. A COMPLETING job
# may be about to be requeued, so it has not ended yet.
PHASES: dict[str, Phase] = (
    dict.fromkeys(
        ["PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "RESV_DEL_HOLD",
         "SPECIAL_EXIT"],
        Phase.PENDING,
    )
    | dict.fromkeys(
        ["RUNNING", "COMPLETING", "SUSPENDED", "STOPPED", "RESIZING", "SIGNALING", "STAGE_OUT"],
        Phase.RUNNING,
    )
    | dict.fromkeys(
        ["COMPLETED", "CANCELLED", "FAILED", "TIMEOUT", "NODE_FAIL", "PREEMPTED", "BOOT_FAIL",
         "DEADLINE", "OUT_OF_MEMORY", "LAUNCH_FAILED", "RECONFIG_FAIL", "REVOKED"],
        Phase.ENDED,
    )
)  # fmt: skip

SQUEUE_FORMAT = "%i|%u|%T|%e|%S|%B|%r|%o"
"""Columns without a width, because truncated names are ambiguous; those with bars are last."""
RESOURCES_FORMAT = "%P|%a|%q|%C|%m|%b"
SACCT_COLUMNS = "JobID,State,ExitCode,NodeList,Start"

_ID = r"(?P<job_id>[0-9]+)(?:[_+.]\S*)?"  # also of an array or a het job: 12_[1-5], 12+0
_WORD = r"(?P<word>[A-Z][A-Z_]*)"
_WHEN = r"(?:\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d|N/A|NONE|None|Unknown|)"
_SQUEUE = re.compile(
    rf"{_ID}\|(?P<user>\S(?:[^|]*\S)?)\|{_WORD}\|(?P<end>{_WHEN})\|(?P<start>{_WHEN})"
    # An admin's reason may hold a bar.
    r"\|(?P<node>[\w.-]*|n/a|\(null\))\|(?P<reason>[^\x00-\x1f\x7f]*)\|(?P<script>[^|\x1b]*)",
    re.ASCII,
)
_SACCT = re.compile(
    rf"{_ID}\|{_WORD}\+?(?: by (?P<by>\w+))?(?:\|(?P<exit_code>\d*:?\d*))?"
    rf"(?:\|(?P<node>[^|\x00-\x20]*|None assigned))?(?:\|(?P<start>{_WHEN}))?\|?",
    re.ASCII,
)
_TITLE = re.compile(r"CLUSTER: [\w.-]+", re.ASCII)
# scontrol(1): one `Name=value` or more on a line.
_SHOWN = {
    "job_id": r"^JobId=(\d+) ",
    "user": r"^ +UserId=(.+?)\(\d+\) GroupId=",
    "word": r"^ +JobState=([A-Z_]+) ",
    "reason": r"^ +JobState=\S+ Reason=(.*) Dependency=",
    "start": rf"^ +StartTime=({_WHEN}) ",
    "end": rf"^ +StartTime=\S+ EndTime=({_WHEN}) ",
    "node": r"^ +BatchHost=(\S+)$",
    "script": r"^ +Command=(.+)$",
}


def parse_squeue(text: str) -> dict[str, JobState]:
    """Parse lines of `squeue -o SQUEUE_FORMAT`; ignore others: see `unreadable_line`.

    `7|alice|RUNNING|2026-11-23T14:00:00|2026-11-23T12:00:00|c1|None|/home/alice/job.sh`
    Uses the first line of a job: the path of a script may contain a newline, which squeue prints.
    """
    states: dict[str, JobState] = {}
    for row in filter(None, map(_SQUEUE.fullmatch, text.splitlines())):
        if row["job_id"] == row[0].partition("|")[0] and row["job_id"] not in states:
            states[row["job_id"]] = JobState(
                PHASES.get(row["word"], Phase.UNKNOWN),
                row["word"],
                "" if row["reason"] == "None" else row["reason"],
                row["script"],
                row["user"],
                None if row["node"] in {"", "n/a", "(null)"} else row["node"],
                _time(row["end"]),
                _time(row["start"]),
            )
    return states


def unreadable_line(text: str) -> str | None:
    """Return the first line that is not in SQUEUE_FORMAT; None if all are."""
    for line in text.splitlines():
        if line.strip() and not _SQUEUE.fullmatch(line) and not _TITLE.fullmatch(line):
            return line.strip()
    return None


def parse_sacct(text: str) -> dict[str, JobState]:
    """Parse lines of `sacct -n -P -X -o SACCT_COLUMNS`; return nothing if a line is malformed.

    `7|CANCELLED by 1000|0:15|c1|2026-11-23T12:00:00`
    """
    states = {}
    for line in filter(str.strip, text.splitlines()):
        row = _SACCT.fullmatch(line)
        if row is None:
            return {}
        if row["job_id"] == line.partition("|")[0]:
            node = row["node"] or ""
            states[row["job_id"]] = JobState(
                PHASES.get(row["word"], Phase.UNKNOWN),
                row["word"],
                node=node if is_node(node) else None,  # `None assigned`, `c[1-2]`
                start_time=_time(row["start"] or ""),
                exit_code=row["exit_code"] or None,
                by_uid=int(row["by"]) if (row["by"] or "").isdecimal() else None,
            )
    return states


def parse_scontrol(text: str, job_id: str) -> JobState | None:
    """Return the job in the output of `scontrol show job ID`, or None for another job or none."""
    found = {name: re.search(each, text, re.ASCII | re.MULTILINE) for name, each in _SHOWN.items()}
    said = {name: match[1] for name, match in found.items() if match}
    if said.get("job_id") != job_id or not {"word", "user", "script"} <= said.keys():
        return None
    reason, node = said.get("reason", ""), said.get("node", "")
    return JobState(
        PHASES.get(said["word"], Phase.UNKNOWN),
        said["word"],
        "" if reason == "None" else reason,
        said["script"],
        said["user"],
        node if is_node(node) else None,
        _time(said.get("end", "")),
        _time(said.get("start", "")),
    )


def parse_place(text: str, job_id: str) -> tuple[int, int] | None:
    """Parse lines of `squeue -o '%i'`, sorted by priority: `(2, 12)` is second of twelve.

    None if the job is not among them.
    """
    waiting = [line.strip() for line in text.splitlines() if line.strip()]
    return (waiting.index(job_id) + 1, len(waiting)) if job_id in waiting else None


def parse_resources(text: str) -> Resources | None:
    """Return the resources in a line of `squeue -o RESOURCES_FORMAT`.

    `main|project|normal|4|8G|N/A`
    """
    values = text.strip().split("|")
    if len(values) != RESOURCES_FORMAT.count("|") + 1:
        return None
    known = [None if each in {"", "N/A", "(null)", "n/a"} else each for each in values]
    partition, account, qos, cpus, mem, gres = known
    number = int(cpus) if cpus and cpus.isdecimal() else None
    return Resources(partition, account, qos, number, None if mem == "0" else mem, gres)


def _time(text: str) -> str | None:
    """Return the time; None for `N/A`, `NONE`, `Unknown`."""
    return text if text[:1].isdigit() else None
