"""Jobs in Slurm: submit with sbatch, query with squeue and sacct, cancel with scancel.

Facts about Slurm's commands were seen on 22.05.8 unless a man page is named.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from slurm_nb.errors import SchedulerError, SubmissionUnknown
from slurm_nb.files import user_name
from slurm_nb.job.spec import JobSpec
from slurm_nb.scheduler.choices import explained
from slurm_nb.scheduler.environment import clusters_asked_for, sbatch_environment
from slurm_nb.scheduler.job import Job, JobFiles, JobState, Phase, Resources
from slurm_nb.scheduler.parse import (
    RESOURCES_FORMAT,
    SACCT_COLUMNS,
    SQUEUE_FORMAT,
    parse_place,
    parse_resources,
    parse_sacct,
    parse_squeue,
    unreadable_line,
)
from slurm_nb.scheduler.run import QUERY_TIMEOUT_S, cluster_option, run

# After a lost answer: a controller that hung may need a moment to show the job.
_LOOKS = 4
_LOOK_AGAIN_S = 2.0
_LOOK_TIMEOUT_S = 10.0
_SHOWN_CHARS = 60
# For a job that neither squeue nor accounting knows.
_FORGOTTEN = JobState(Phase.ENDED, "ENDED", "no longer known to Slurm")


class Slurm:
    """The cluster that the commands on PATH belong to."""

    def __init__(self, files: JobFiles) -> None:
        self._files = files

    def cluster(self) -> str:
        """Return the ClusterName of this login node's Slurm, SLURM_CLUSTER_NAME in its jobs."""
        if shutil.which("sbatch") is None:
            raise SchedulerError(
                "sbatch is not on PATH, so there is no Slurm here",
                hint="log in to a login node of your cluster, or run Jupyter on this machine"
                " with `slurm-nb submit --cluster local`",
            )
        try:
            answer = run(["scontrol", "show", "config"], timeout_s=QUERY_TIMEOUT_S)
        except SchedulerError as error:
            raise SchedulerError(
                str(error), hint="nothing was submitted; try again later"
            ) from error
        match = re.search(r"^ClusterName\s*=\s*([\w.-]+)\s*$", answer.stdout, re.MULTILINE)
        if answer.exit_code or match is None:
            raise SchedulerError(
                f"cannot reach Slurm: {answer.words}", hint="nothing was submitted; try again later"
            )
        return match[1]

    def submit(  # noqa: PLR0913  all but the first two are by name
        self,
        script: str,
        spec: JobSpec,
        *,
        cluster: str,
        before: Callable[[Path], None],
        tell: Callable[[list[str]], None],
        say: Callable[[str], None] = lambda _: None,
    ) -> Job:
        """Submit `script` with sbatch to the clusters in -M, else to `cluster`.

        Raises `SchedulerError`, with the message of sbatch, if there is no job, and
        `SubmissionUnknown` if there may be one.
        """
        from slurm_nb.scheduler.sbatch import Sbatch  # noqa: PLC0415  submitit is slow to import

        options = [*spec.sbatch_options, *spec.directives()]
        if spec.job_name == JobSpec.job_name:  # the default must not override SBATCH_JOB_NAME
            options.remove(f"--job-name={spec.job_name}")
        path = shutil.which("sbatch")
        submission = Sbatch(
            self._files.jobs_folder,
            script,
            environ=sbatch_environment(
                os.environ, options, commands=str(Path(path).parent) if path else None
            ),
            clusters=clusters_asked_for(os.environ, options),
            before=before,
            say=say,
        )
        try:
            submitted = submission.submit_script()
        except SubmissionUnknown:
            raise
        except SchedulerError as error:
            raise explained(error, spec) from error
        tell(submitted.words)
        return _job(submitted.job_id, submitted.cluster, str(submission.script_path), own=cluster)

    def recover(self, lost: SubmissionUnknown, *, cluster: str) -> Job:
        """Find the job by the unique path of its script."""
        for look in range(_LOOKS):
            if look:
                time.sleep(_LOOK_AGAIN_S)
            with contextlib.suppress(SchedulerError):
                found = find_jobs({lost.script}, clusters=lost.clusters, own=cluster)
                if found:
                    return found[lost.script]
        raise lost

    def states(
        self, jobs: Iterable[Job], *, unexplained: Collection[str] | None = None
    ) -> dict[str, JobState]:
        """Run one squeue for all jobs, then at most one sacct."""
        known = list(jobs)
        job_ids = [job.job_id for job in known]
        asked = _states(job_ids, cluster_option(known[0]), unexplained) if known else {}
        states = {job.job_id: _of(job, asked[job.job_id]) for job in known}
        lost = {
            job_id
            for job_id, state in states.items()
            if state.phase is Phase.ENDED and (state.id_reused or state.script is None)
        }  # squeue does not show their script
        if lost if unexplained is None else lost.intersection(unexplained):
            strange = self._elsewhere(known[0])
            nobody_s = replace(_unknown(strange), id_reused=True)
            return dict.fromkeys(states, nobody_s) if strange else states
        return states

    def _elsewhere(self, job: Job) -> str:
        """Return that Slurm's commands reach another cluster now; empty if it is the same.

        Modules may have set a different SLURM_CONF since the submission.
        """
        if job.needs_cluster_option:
            return ""
        with contextlib.suppress(SchedulerError):
            here = self.cluster()
            if here != job.cluster:
                return (
                    f"Slurm's commands are for the cluster {here}, but the session is on"
                    f" {job.cluster}; load the same module or set the same SLURM_CONF as for submit"
                )
        return ""

    def how_ended(self, states: Mapping[str, JobState], job: Job) -> dict[str, JobState]:
        """Run one sacct for all; without accounting, return the states from squeue."""
        asked = [job_id for job_id, state in states.items() if _lacks(state)]
        said = _accounting(asked, cluster_option(job)) if asked else {}
        return {job_id: _with(state, said.get(job_id)) for job_id, state in states.items()}

    def hosts_of(self, job: Job, node: str) -> list[str]:
        """Return a node's host name and address, which may differ from its name in Slurm."""
        words = ["scontrol", *cluster_option(job), "-o", "show", "node", node]
        with contextlib.suppress(SchedulerError):
            said = run(words, timeout_s=QUERY_TIMEOUT_S).stdout
            return re.findall(r"\bNode(?:HostName|Addr)=(\S+)", said)
        return []

    def cancel(self, job: Job) -> None:
        """Cancel the job with scancel, unless it has ended."""
        answer = run(["scancel", *cluster_option(job), job.job_id], timeout_s=QUERY_TIMEOUT_S)
        if answer.exit_code and "Invalid job id" not in answer.stderr:
            raise SchedulerError(
                f"scancel {job.job_id}: {answer.words}",
                hint=f"try again later: slurm-nb cancel {job.job_id}",
            )


def find_place(job: Job, partition: str) -> tuple[int, int] | None:
    """Return the job's place among the pending jobs of its partitions, by priority; None: unknown.

    Do not call it in a loop: the controller scans all of its jobs.
    """
    with contextlib.suppress(SchedulerError):
        queue = ["squeue", *cluster_option(job), "-h", "-t", "PENDING", "-p", partition, "-S", "-p"]
        answer = run([*queue, "-o", "%i"], timeout_s=QUERY_TIMEOUT_S)
        return parse_place(answer.stdout, job.job_id)
    return None


def find_resources(job: Job) -> Resources | None:
    """Return the job's resources, or those it requests; None: unknown."""
    with contextlib.suppress(SchedulerError):
        asked = ["squeue", *cluster_option(job), "-h", "-j", job.job_id, "-o", RESOURCES_FORMAT]
        return parse_resources(run(asked, timeout_s=QUERY_TIMEOUT_S).stdout)
    return None


def find_jobs(scripts: Collection[str], *, clusters: str, own: str) -> dict[str, Job]:
    """Return the jobs that run one of `scripts`, by script. Raises `SchedulerError`."""
    where = ["-M", clusters] if clusters else []
    answer = run(["squeue", *where, "--me", "-t", "all", "-o", "%i|%o"], timeout_s=_LOOK_TIMEOUT_S)
    if answer.exit_code:
        raise SchedulerError(f"squeue: {answer.words}")
    found, named = {}, ""
    for line in answer.stdout.splitlines():
        job_id, _, command = line.strip().partition("|")
        if line.startswith("CLUSTER: "):  # a title above the jobs of each cluster of -M
            named = line.partition(": ")[2].strip()
        elif command in scripts and job_id.isdigit():
            found[command] = _job(job_id, named, command, own=own)
    return found


def _job(job_id: str, named: str, script: str, *, own: str) -> Job:
    """Return the job on the cluster `named`; if that is empty, on `own`."""
    return Job(job_id, named or own, needs_cluster_option=named not in {"", own}, script=script)


def _of(job: Job, state: JobState) -> JobState:
    """Return `state`, or that the job has ended: Slurm reuses ids."""
    if state.user in {None, user_name()} and (
        state.script is None
        or job.script is None
        or f"|{state.reason}|{state.script}".endswith(f"|{job.script}")
    ):
        return state
    reason = f"{job.job_id} is the id of another job now"
    return JobState(Phase.ENDED, "ENDED", reason, id_reused=True)


def _lacks(state: JobState) -> bool:
    """Return whether accounting may know more about the end of a job, and was not queried yet."""
    return state.exit_code is None and state.slurm_state != "ENDED"


def _with(state: JobState, said: JobState | None) -> JobState:
    """Return `state` with the details from accounting, unless it is behind."""
    if said is None or said.slurm_state != state.slurm_state:
        return state
    return replace(state, exit_code=said.exit_code, by_uid=said.by_uid)


def _states(
    job_ids: list[str], where: list[str], unexplained: Collection[str] | None
) -> dict[str, JobState]:
    # For a list of ids the controller sends all of its jobs; for --me only those of this user.
    which = ["-j", job_ids[0]] if len(job_ids) == 1 else ["--me"]
    try:
        # -t all: includes jobs that ended within MinJobAge (slurm.conf(5)).
        answer = run(
            ["squeue", *where, "-h", "-t", "all", *which, "-o", SQUEUE_FORMAT],
            timeout_s=QUERY_TIMEOUT_S,
        )
        if answer.exit_code and "Invalid job id" not in answer.stderr:
            by = "squeue: " if answer.exit_code < 0 else ""
            return dict.fromkeys(job_ids, _unknown(f"{by}{answer.words}"))
        found = parse_squeue(answer.stdout)
        gone = [job_id for job_id in job_ids if job_id not in found]
        strange = unreadable_line(answer.stdout)
        if gone and strange:  # from a site's wrapper, for example; it may describe a job
            unknown = _unknown(f"cannot parse the output of squeue: {strange[:_SHOWN_CHARS]!r}")
            return found | dict.fromkeys(gone, unknown) | _accounting(gone, where)
        over = [job_id for job_id, state in found.items() if state.phase is Phase.ENDED]
        asked = gone if unexplained is None else [*gone, *over]
        asked = [each for each in asked if unexplained is None or each in unexplained]
        said = _accounting(asked, where) if asked else {}
        return (
            found
            | {job_id: said.get(job_id, _FORGOTTEN) for job_id in gone}
            | {job_id: _with(found[job_id], said.get(job_id)) for job_id in over}
        )
    except SchedulerError as error:
        return dict.fromkeys(job_ids, _unknown(str(error)))


def _unknown(reason: str) -> JobState:
    return JobState(Phase.UNKNOWN, "UNKNOWN", reason)


def _accounting(job_ids: list[str], where: list[str]) -> dict[str, JobState]:
    """Return the states from sacct; empty without accounting or a response."""
    with contextlib.suppress(SchedulerError):
        answer = run(
            ["sacct", *where, "-n", "-P", "-X", "-o", SACCT_COLUMNS, "-j", ",".join(job_ids)],
            timeout_s=QUERY_TIMEOUT_S,
        )
        return parse_sacct(answer.stdout)
    return {}
