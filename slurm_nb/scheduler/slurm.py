"""Jobs in Slurm: submitted with sbatch, watched with squeue and sacct, ended with scancel.

Facts about Slurm's commands were seen on 22.05.8 unless a man page is named.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from slurm_nb.errors import AnswerLost, SchedulerError
from slurm_nb.private import user_name
from slurm_nb.scheduler import JobState, Phase
from slurm_nb.scheduler.command import QUERY_TIMEOUT_S, ask
from slurm_nb.scheduler.crossing import clusters_asked_for, environ_for_sbatch
from slurm_nb.session import Session, Store
from slurm_nb.spec import JobSpec

# squeue(1) and sacct(1), "JOB STATE CODES"; a word that is not here is UNKNOWN. A job that is
# COMPLETING may be on its way back into the queue (requeue), so it has not ended yet.
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

# A job whose answer was lost: a controller that hung may need a moment to show it.
_LOOKS = 4
_LOOK_AGAIN_S = 2.0
_LOOK_TIMEOUT_S = 10.0


class Slurm:
    """The cluster whose commands are on PATH."""

    def cluster(self) -> str:
        """ClusterName of this login node's Slurm, which its jobs see as SLURM_CLUSTER_NAME."""
        if shutil.which("sbatch") is None:
            raise SchedulerError(
                "sbatch is not on PATH, so there is no Slurm here",
                hint="log in to a login node of your cluster, or run Jupyter on this machine"
                " with `slurm-nb submit --cluster local`",
            )
        try:
            answer = ask(["scontrol", "show", "config"], timeout_s=QUERY_TIMEOUT_S)
        except SchedulerError as error:
            raise SchedulerError(str(error), hint="nothing was submitted; try later") from error
        match = re.search(r"^ClusterName\s*=\s*([\w.-]+)\s*$", answer.stdout, re.MULTILINE)
        if answer.exit_code or match is None:
            raise SchedulerError(
                f"Slurm can't be reached: {answer.words}", hint="nothing was submitted; try later"
            )
        return match[1]

    def submit(
        self,
        script: str,
        spec: JobSpec,
        store: Store,
        *,
        cluster: str,
        tell: Callable[[list[str]], None],
    ) -> Session:
        """Submit `script` with sbatch, to the clusters that -M names, else to `cluster`.

        Raises `SchedulerError`, with sbatch's own words, when there is no job, and
        `AnswerLost` when there may be one.
        """
        from slurm_nb.scheduler.sbatch import Sbatch  # noqa: PLC0415  submitit takes its time

        options = [*spec.sbatch_options, *spec.directives()]
        if spec.job_name == JobSpec.job_name:  # not asked for: SBATCH_JOB_NAME may say another
            options.remove(f"--job-name={spec.job_name}")
        path = shutil.which("sbatch")
        submission = Sbatch(
            store.folder / "jobs",
            script,
            environ=environ_for_sbatch(
                os.environ, options, commands=str(Path(path).parent) if path else None
            ),
            clusters=clusters_asked_for(os.environ, options),
        )
        submitted = submission.submit_script()
        tell(submitted.words)
        return _session(
            submitted.job_id, submitted.cluster, str(submission.script_path), own=cluster
        )

    def recover(self, lost: AnswerLost, *, cluster: str) -> Session:
        """Find the job by the path of its script, which is unlike any other's."""
        for look in range(_LOOKS):
            if look:
                time.sleep(_LOOK_AGAIN_S)
            with contextlib.suppress(SchedulerError):
                where = ["-M", lost.clusters] if lost.clusters else []
                answer = ask(
                    ["squeue", *where, "--me", "-t", "all", "-o", "%i|%o"],
                    timeout_s=_LOOK_TIMEOUT_S,
                )
                named = ""
                for line in answer.stdout.splitlines():
                    job_id, _, command = line.strip().partition("|")
                    # A title that squeue writes above the jobs of each cluster of -M.
                    named = (
                        line.partition(": ")[2].strip() if line.startswith("CLUSTER: ") else named
                    )
                    if command == lost.script and job_id.isdigit():
                        return _session(job_id, named, lost.script, own=cluster)
        raise lost

    def states(self, sessions: Iterable[Session]) -> dict[str, JobState]:
        """One squeue for all, then one sacct for those that squeue no longer knows."""
        known = list(sessions)
        by_cluster: dict[str | None, list[str]] = {}
        for session in known:
            cluster = session.cluster if session.other_cluster else None
            by_cluster.setdefault(cluster, []).append(session.job_id)
        states: dict[str, JobState] = {}
        for cluster, job_ids in by_cluster.items():
            states |= _states(job_ids, ["-M", cluster] if cluster else [])
        return {session.job_id: _of(session, states[session.job_id]) for session in known}

    def cancel(self, session: Session) -> None:
        """Have Slurm end the job with scancel; one that is over is no error."""
        where = ["-M", session.cluster] if session.other_cluster else []
        answer = ask(["scancel", *where, session.job_id], timeout_s=QUERY_TIMEOUT_S)
        if answer.exit_code and "Invalid job id" not in answer.stderr:
            raise SchedulerError(
                f"scancel {session.job_id}: {answer.words}",
                hint=f"try again later: slurm-nb cancel {session.job_id}",
            )


def _session(job_id: str, named: str, script: str, *, own: str) -> Session:
    """The session of a job on the cluster `named` (empty: where none was named, `own`)."""
    return Session(
        job_id=job_id, cluster=named or own, other_cluster=named not in {"", own}, script=script
    )


def _of(session: Session, state: JobState) -> JobState:
    """`state`, or that the job is over: Slurm gives an id to another job in time."""
    if state.user in {None, user_name()} and (
        state.script is None
        or session.script is None
        or f"|{state.reason}|{state.script}".endswith(f"|{session.script}")
    ):
        return state
    reason = f"{session.job_id} is the id of another job now"
    return JobState(Phase.ENDED, "ENDED", reason, foreign=True)


def _states(job_ids: list[str], where: list[str]) -> dict[str, JobState]:
    unknown = dict.fromkeys(job_ids, JobState(Phase.UNKNOWN, "UNKNOWN", "Slurm does not answer"))
    try:
        # -t all: also jobs that ended within MinJobAge (slurm.conf(5)).
        answer = ask(
            [
                "squeue",
                *where,
                "-h",
                "-t",
                "all",
                "-j",
                ",".join(job_ids),
                "-o",
                "%i|%u|%T|%e|%B|%r|%o",
            ],
            timeout_s=QUERY_TIMEOUT_S,
        )
        if answer.exit_code and "Invalid job id" not in answer.stderr:
            reason = answer.words
            return dict.fromkeys(job_ids, JobState(Phase.UNKNOWN, "UNKNOWN", reason))
        found = parse_squeue(answer.stdout)
        gone = [job_id for job_id in job_ids if job_id not in found]
        return unknown | found | (_ended(gone, where) if gone else {})
    except SchedulerError as error:
        return dict.fromkeys(job_ids, JobState(Phase.UNKNOWN, "UNKNOWN", str(error)))


def parse_squeue(text: str) -> dict[str, JobState]:
    """From lines of `squeue -o '%i|%u|%T|%e|%B|%r|%o'`.

    `7|alice|RUNNING|2026-11-23T14:00:00|c1|None|/home/alice/job.sh`
    """
    states = {}
    for line in text.splitlines():
        job_id, *values = line.strip().split("|", 5)
        if job_id.isascii() and job_id.isdigit() and len(values) == 5:
            user, word, end_time, node, rest = values
            reason, _, script = rest.rpartition("|")  # an admin's reason may hold a bar
            states[job_id] = JobState(
                PHASES.get(word, Phase.UNKNOWN),
                word,
                "" if reason == "None" else reason,
                script,
                user,
                None if node in {"", "n/a", "(null)"} else node,
                end_time if end_time[:1].isdigit() else None,
            )
    return states


def parse_sacct(text: str) -> dict[str, JobState]:
    """From lines of `sacct -n -P -X -o JobID,State`: `7|CANCELLED by 1000`."""
    states = {}
    for line in text.splitlines():
        job_id, _, state = line.strip().partition("|")
        word = state.partition(" ")[0]
        if job_id.isascii() and job_id.isdigit() and word:
            states[job_id] = JobState(PHASES.get(word, Phase.UNKNOWN), word)
    return states


def _ended(job_ids: list[str], where: list[str]) -> dict[str, JobState]:
    """How jobs ended that squeue no longer knows; without accounting, only that they did."""
    states = dict.fromkeys(job_ids, JobState(Phase.ENDED, "ENDED", "no longer known to Slurm"))
    with contextlib.suppress(SchedulerError):
        answer = ask(
            ["sacct", *where, "-n", "-P", "-X", "-o", "JobID,State", "-j", ",".join(job_ids)],
            timeout_s=QUERY_TIMEOUT_S,
        )
        states |= parse_sacct(answer.stdout)
    return states
