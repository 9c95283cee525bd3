"""Parse the output of Slurm's commands.

Facts were seen on 22.05.8 unless a man page is named.
"""

from __future__ import annotations

import re

from slurm_nb.joblog.events import is_node
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

_BY_UID = re.compile(r"(\w+) by (\d+)", re.ASCII)


def parse_squeue(text: str) -> dict[str, JobState]:
    """Parse lines of `squeue -o SQUEUE_FORMAT`.

    `7|alice|RUNNING|2026-11-23T14:00:00|2026-11-23T12:00:00|c1|None|/home/alice/job.sh`
    Uses the first line of a job: the path of a script may contain a newline, which squeue prints.
    """
    states: dict[str, JobState] = {}
    for line in text.splitlines():
        job_id, *values = line.strip().split("|", 6)
        if job_id.isascii() and job_id.isdigit() and len(values) == 6 and job_id not in states:
            user, word, end_time, start_time, node, rest = values
            reason, _, script = rest.rpartition("|")  # an admin's reason may contain a bar
            states[job_id] = JobState(
                PHASES.get(word, Phase.UNKNOWN),
                word,
                "" if reason == "None" else reason,
                script,
                user,
                None if node in {"", "n/a", "(null)"} else node,
                _time(end_time),
                _time(start_time),
            )
    return states


def unreadable_line(text: str) -> str | None:
    """Return the first line that is not in SQUEUE_FORMAT; None if all are."""
    for line in text.splitlines():
        if line.strip() and line.count("|") < SQUEUE_FORMAT.count("|"):
            return line.strip()
    return None


def parse_sacct(text: str) -> dict[str, JobState]:
    """Parse lines of `sacct -n -P -X -o SACCT_COLUMNS`.

    `7|CANCELLED by 1000|0:15|c1|2026-11-23T12:00:00`
    """
    states = {}
    for line in text.splitlines():
        job_id, state, exit_code, node, start_time, *_ = [*line.strip().split("|"), *[""] * 4]
        word = state.partition(" ")[0]
        if job_id.isascii() and job_id.isdigit() and word:
            by = _BY_UID.fullmatch(state)
            states[job_id] = JobState(
                PHASES.get(word, Phase.UNKNOWN),
                word,
                node=node if is_node(node) else None,  # `None assigned`, `c[1-2]`
                start_time=_time(start_time),
                exit_code=exit_code or None,
                by_uid=int(by[2]) if by else None,
            )
    return states


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
