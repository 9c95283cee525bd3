"""Why Slurm lets a job wait, in words that help.

Pure: no I/O, no clock.
"""

from __future__ import annotations

import re

# squeue(1), "JOB REASON CODES", and job_reason_string() of Slurm's src/common.
_WORDS = {
    "BadConstraints": "no node has what it asks for: it will never start",
    "BeginTime": "it starts at the time of --begin, or once Slurm has put it back in the queue",
    "Dependency": "it starts once the jobs of --dependency are as it says",
    "DependencyNeverSatisfied": "a job of --dependency has ended otherwise: it will never start",
    "InvalidAccount": "its account is not valid any more",
    "InvalidQOS": "its QOS is not valid any more",
    "JobHeldAdmin": "an admin holds it; only an admin can release it",
    "JobHeldUser": "you hold it; to release it: scontrol release JOBID",
    "Licenses": "the licenses that it asks for are in use",
    "MaxJobsPerUser": "you have as many jobs running as you may",
    "NodeDown": "a node that it asks for is down",
    "PartitionDown": "its partition takes jobs, but starts none",
    "PartitionInactive": "its partition takes jobs, but starts none",
    "PartitionNodeLimit": "it asks for more nodes than its partition has: it will never start",
    "PartitionTimeLimit": "it asks for more time than its partition allows: it will never start",
    "Priority": "other jobs come first",
    "ReqNodeNotAvail": "a node that it asks for is not available now",
    "Reservation": "it starts when its reservation begins",
    "Resources": "it is next, once there is room",
}
_BEGINNINGS = {
    "Assoc": "a limit of your account is reached",
    "QOS": "a limit of the QOS is reached",
}


def in_words(reason: str) -> str:
    """What a pending job waits for, from Slurm's `ReqNodeNotAvail, Reserved for maintenance`.

    Empty for a reason that says enough itself, or is not known.
    """
    word = next(iter(re.findall(r"[A-Za-z]+", reason)), "")
    if word in _WORDS:
        return _WORDS[word]
    return next((text for start, text in _BEGINNINGS.items() if word.startswith(start)), "")
