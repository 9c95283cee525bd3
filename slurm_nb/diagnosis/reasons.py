"""Why a job is pending, in plain words."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Reason:
    """One reason of Slurm, or several with similar names."""

    word: str
    """The name Slurm uses: `Priority`; `*` matches any characters: `QOSMax*PerUser*`."""
    text: str
    """The explanation: `other jobs have higher priority`."""
    never: bool = False
    """The job cannot start unless somebody changes its options or the limit."""


def _hopeless(word: str, text: str) -> Reason:
    return Reason(word, f"{text}; the job will never start", never=True)


# Sources: "Job Reason Codes" (job_reason_codes.html), the table of src/common/job_state_reason.c
# (job_reason_string() of slurm_protocol_defs.c before 23.11), and, for reasons of several words,
# the texts that slurmctld 22.05.8 writes into state_desc (the first two were seen there).
# The first row that matches wins.
REASONS = (
    Reason("launch failed requeued held", "the node failed to start the job, and Slurm holds it;"
           " to retry: scontrol release JOBID; if it happens again, contact your site"),
    Reason("job requeued in held state", "the job was requeued and held; to release it:"
           " scontrol release JOBID"),
    Reason("user env retrieval failed requeued held", "the node could not load your login"
           " environment, and Slurm holds the job; resubmit it without --get-user-env and"
           " --export=NAMES"),
    Reason("Nodes required for job are DOWN, DRAINED or reserved*", "the nodes that the job could"
           " use are down, drained, or reserved for jobs with higher priority"),
    Reason("burst buffer *", "its burst buffer request failed, and Slurm holds the job"),
    Reason("Resources", "the job is next in the queue and waits for free resources"),
    Reason("Priority", "other jobs have higher priority"),
    Reason("BeginTime", "the job starts at its --begin time, or about two minutes after Slurm"
           " requeued it"),
    Reason("Dependency", "the job waits for the jobs in its --dependency"),
    _hopeless("DependencyNeverSatisfied", "a job in its --dependency did not end as required"),
    Reason("JobHeldUser", "you hold the job; to release it: scontrol release JOBID"),
    Reason("JobHeldAdmin", "an admin holds the job; only an admin can release it"),
    Reason("JobHoldMaxRequeue", "the job was requeued too often, and Slurm holds it; to release it:"
           " scontrol release JOBID"),
    Reason("Reservation", "the job starts when its reservation begins"),
    _hopeless("ReservationDeleted", "its reservation was deleted"),
    _hopeless("ReservationInvalid", "the job cannot use the requested reservation"),
    Reason("ReqNodeNotAvail", "a requested node is not available now: it is in use, reserved, or"
           " down"),
    Reason("NodeDown", "a requested node is down"),
    Reason("PartitionDown", "its partition is not starting jobs now"),
    Reason("PartitionInactive", "its partition is not starting jobs now"),
    Reason("PartitionNodeLimit", "the job requests more nodes than its partition has, or some of"
           " them are down"),
    _hopeless("PartitionTimeLimit", "the job requests more time than its partition allows"),
    Reason("PartitionConfig", "the job violates a rule of its partition and may not be able to"
           " start"),
    _hopeless("BadConstraints", "no node has the requested features and resources"),
    Reason("Constraints", "no free node has the requested features and resources"),
    _hopeless("MaxMemPerLimit", "the job requests more memory per CPU or node than allowed"),
    _hopeless("DeadLine", "the job cannot finish before its --deadline"),
    Reason("Licenses", "the requested licenses are in use"),
    _hopeless("InvalidAccount", "its account is no longer valid"),
    _hopeless("InvalidQOS", "its QOS is no longer valid"),
    _hopeless("AccountNotAllowed", "its partition does not accept its account"),
    _hopeless("QOSNotAllowed", "its account or partition does not accept its QOS"),
    _hopeless("AssocMax*PerJob*", "the job requests more than your account may use per job"),
    _hopeless("AssocMax*PerNode", "the job requests more than your account may use per node"),
    Reason("Assoc*", "your account has reached a limit; the job starts when other jobs of the"
           " account end"),
    _hopeless("QOSMax*PerJob*", "the job requests more than its QOS allows per job"),
    _hopeless("QOSMax*PerNode", "the job requests more than its QOS allows per node"),
    _hopeless("QOSMin*", "the job requests less than its QOS requires"),
    Reason("QOSMax*PerUser*", "you have reached the limit per user in this QOS; the job starts when"
           " your other jobs end"),
    Reason("QOS*", "the QOS has reached a limit; the job starts when other jobs in this QOS end"),
    Reason("Max*PerAccount", "your account has reached its limit in this QOS"),
    Reason("Max*PerUser", "you have reached your limit in this QOS"),
    Reason("AccountingPolicy", "your account or QOS has reached a limit"),
    Reason("JobArrayTaskLimit", "its array has reached its limit of running jobs"),
    Reason("Prolog", "the prolog is preparing its node"),
    Reason("Cleaning", "Slurm is cleaning up after its previous run"),
    Reason("BurstBuffer*", "the job waits for the burst buffer"),
    Reason("PowerNotAvail", "the cluster does not have enough electric power now"),
    Reason("PowerReserved", "the electric power is reserved for other jobs"),
    Reason("MaxPoweredUpNodes", "the cluster has reached its limit of powered-up nodes"),
    Reason("MpiPortsBusy", "the ports that MPI needs are in use"),
    Reason("FedJobLock", "the clusters of the federation are choosing the one that starts the job"),
    Reason("FrontEndDown", "the front-end node that starts jobs is down"),
    Reason("SchedDefer", "the job requests an immediate start, and Slurm starts jobs at intervals"),
    Reason("SystemFailure", "Slurm or a node failed; contact your site"),
)  # fmt: skip

_PATTERNS = [
    (re.compile(r"\S*".join(map(re.escape, each.word.split("*"))), re.IGNORECASE), each)
    for each in REASONS
]


def in_words(reason: str) -> str:
    """Return the explanation of a reason such as `ReqNodeNotAvail, Reserved for maintenance`.

    Empty for an unknown reason.
    """
    found = _find(reason)
    return found.text if found else ""


def never_starts(reason: str) -> bool:
    """Return whether a job with this reason can never start, however long it waits."""
    found = _find(reason)
    return found.never if found else False


def rows() -> list[tuple[str, str]]:
    """Return reason and explanation for docs/reference/states-and-causes.md."""
    return [(f"`{each.word}`", each.text) for each in REASONS]


def _find(reason: str) -> Reason | None:
    """Find the row; Slurm may add brackets, write `_` for blanks, and append details."""
    text = reason.strip().removeprefix("(").replace("_", " ")
    for pattern, each in _PATTERNS:
        match = pattern.match(text)
        if match and not re.match(r"\w", text[match.end() :]):
            return each
    return None
