"""Why Slurm lets a job wait, in words that help.

Pure: no I/O, no clock.
"""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Reason:
    """One of Slurm's reasons, or all that are spelt alike."""

    word: str
    """Slurm's own: `Priority`; a star stands for any letters: `QOSMax*PerUser*`."""
    text: str
    """What the job waits for: `other jobs come first`."""
    never: bool = False
    """As things are it will never start."""


def _hopeless(word: str, text: str) -> Reason:
    return Reason(word, f"{text}: it will never start", never=True)


# Slurm's "Job Reason Codes" (job_reason_codes.html), the table of src/common/job_state_reason.c
# (job_reason_string() of slurm_protocol_defs.c before 23.11), and, for those of several words, what
# slurmctld writes into state_desc (strings of slurmctld 22.05.8; the first two were seen there).
# The first that fits counts.
REASONS = (
    Reason("launch failed requeued held", "the node could not start it, and Slurm holds it; to try"
           " again: scontrol release JOBID; tell your site if it comes back"),
    Reason("job requeued in held state", "you had it requeued and held; to release it:"
           " scontrol release JOBID"),
    Reason("user env retrieval failed requeued held", "the node could not read your login's"
           " environment, and Slurm holds it; submit it without --get-user-env or --export=NAMES"),
    Reason("Nodes required for job are DOWN, DRAINED or reserved*", "the nodes that it could use"
           " are down, closed, or kept for jobs that come first"),
    Reason("burst buffer *", "what it asked of the burst buffer failed, and Slurm holds it"),
    Reason("Resources", "it is next, once there is room"),
    Reason("Priority", "other jobs come first"),
    Reason("BeginTime", "it starts at the time of --begin, or once Slurm has put it back in the"
           " queue, which takes about two minutes"),
    Reason("Dependency", "it starts once the jobs of --dependency are as it says"),
    _hopeless("DependencyNeverSatisfied", "a job of --dependency has ended otherwise"),
    Reason("JobHeldUser", "you hold it; to release it: scontrol release JOBID"),
    Reason("JobHeldAdmin", "an admin holds it; only an admin can release it"),
    Reason("JobHoldMaxRequeue", "it was put back in the queue too often, and Slurm holds it; to"
           " release it: scontrol release JOBID"),
    Reason("Reservation", "it starts when its reservation begins"),
    _hopeless("ReservationDeleted", "the reservation that it asks for is gone"),
    _hopeless("ReservationInvalid", "it can't use the reservation that it asks for"),
    Reason("ReqNodeNotAvail", "a node that it asks for is not available now: in use, reserved, or"
           " down"),
    Reason("NodeDown", "a node that it asks for is down"),
    Reason("PartitionDown", "its partition takes jobs, but starts none"),
    Reason("PartitionInactive", "its partition takes jobs, but starts none"),
    Reason("PartitionNodeLimit", "it asks for more nodes than its partition has, or nodes of it are"
           " down"),
    _hopeless("PartitionTimeLimit", "it asks for more time than its partition allows"),
    Reason("PartitionConfig", "it breaks a rule of its partition, and may never start"),
    _hopeless("BadConstraints", "no node has what it asks for"),
    Reason("Constraints", "no node that is free has what it asks for"),
    _hopeless("MaxMemPerLimit", "it asks for more memory per CPU or node than is allowed"),
    _hopeless("DeadLine", "it can't be done by its --deadline"),
    Reason("Licenses", "the licenses that it asks for are in use"),
    _hopeless("InvalidAccount", "its account is not valid any more"),
    _hopeless("InvalidQOS", "its QOS is not valid any more"),
    _hopeless("AccountNotAllowed", "its partition does not take its account"),
    _hopeless("QOSNotAllowed", "its account or partition does not take its QOS"),
    _hopeless("AssocMax*PerJob*", "it asks for more than your account may in one job"),
    _hopeless("AssocMax*PerNode", "it asks for more than your account may on a node"),
    Reason("Assoc*", "a limit of your account is reached: jobs of it have to end first"),
    _hopeless("QOSMax*PerJob*", "it asks for more than its QOS allows in one job"),
    _hopeless("QOSMax*PerNode", "it asks for more than its QOS allows on a node"),
    _hopeless("QOSMin*", "it asks for less than its QOS wants"),
    Reason("QOSMax*PerUser*", "you have reached the QOS's limit for one user: jobs of yours have"
           " to end first"),
    Reason("QOS*", "a limit of the QOS is reached: jobs in it have to end first"),
    Reason("Max*PerAccount", "your account has as much in this QOS as one account may"),
    Reason("Max*PerUser", "you have as much in this QOS as one user may"),
    Reason("AccountingPolicy", "a limit of your account or QOS is reached"),
    Reason("JobArrayTaskLimit", "as many jobs of its array run as may"),
    Reason("Prolog", "its node is being made ready"),
    Reason("Cleaning", "its last run is being cleared away"),
    Reason("BurstBuffer*", "it waits for the burst buffer"),
    Reason("PowerNotAvail", "there is not enough electric power for it now"),
    Reason("PowerReserved", "the electric power is reserved for other jobs"),
    Reason("MaxPoweredUpNodes", "as many nodes are switched on as may be"),
    Reason("MpiPortsBusy", "the ports that MPI needs are in use"),
    Reason("FedJobLock", "the clusters of the federation agree on which of them starts it"),
    Reason("FrontEndDown", "the node that starts jobs is down"),
    Reason("SchedDefer", "it was to start at once, and Slurm starts jobs only now and then"),
    Reason("SystemFailure", "something of Slurm's or of a node failed; tell your site"),
)  # fmt: skip

_PATTERNS = [
    (re.compile(r"\S*".join(map(re.escape, each.word.split("*"))), re.IGNORECASE), each)
    for each in REASONS
]


def in_words(reason: str) -> str:
    """What a pending job waits for, from Slurm's `ReqNodeNotAvail, Reserved for maintenance`.

    Empty for a reason that says enough itself, or is not known.
    """
    found = _find(reason)
    return found.text if found else ""


def never_starts(reason: str) -> bool:
    """Whether a job with this reason will not start, as things are, however long it waits."""
    found = _find(reason)
    return found.never if found else False


def rows() -> list[tuple[str, str]]:
    """For docs/reference/states-and-causes.md: Slurm's reason, and why the job waits."""
    return [(f"`{each.word}`", each.text) for each in REASONS]


def _find(reason: str) -> Reason | None:
    """Slurm may put its word in brackets, blanks as `_`, and more behind a comma or a bracket."""
    text = reason.strip().removeprefix("(").replace("_", " ")
    for pattern, each in _PATTERNS:
        match = pattern.match(text)
        if match and not re.match(r"\w", text[match.end() :]):
            return each
    return None
