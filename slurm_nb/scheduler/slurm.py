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
from typing import TYPE_CHECKING

from slurm_nb.errors import SchedulerError, SubmissionUnknown
from slurm_nb.files import user_name
from slurm_nb.scheduler.environment import clusters_asked_for, sbatch_environment
from slurm_nb.scheduler.job import Job, JobFiles, JobState, Phase, Resources
from slurm_nb.scheduler.parse import (
    RESOURCES_FORMAT,
    SACCT_COLUMNS,
    SQUEUE_FORMAT,
    parse_place,
    parse_resources,
    parse_sacct,
    parse_scontrol,
    parse_squeue,
    unreadable_line,
)
from slurm_nb.scheduler.run import QUERY_TIMEOUT_S, cluster_option, run

if TYPE_CHECKING:  # only `submit` needs it
    from slurm_nb.job.spec import JobSpec

# After a lost answer: a controller that hung may need a moment to show the job.
_LOOKS = 4
_LOOK_AGAIN_S = 2.0
_LOOK_TIMEOUT_S = 10.0
_SHOWN_CHARS = 60
# Each costs the controller a request; the other jobs have their turn at the next query.
_SCONTROL_ASKS = 10
# Parts of squeue's message when it cannot reach the controller (seen on 22.05), and of `run`'s.
_OUT_OF_REACH = ("contact", "timed out", "did not answer", "not on PATH")


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
                " with `slurm-nb submit --local`",
            )
        try:
            answer = run(["scontrol", "show", "config"], timeout_s=QUERY_TIMEOUT_S)
        except SchedulerError as error:
            raise SchedulerError(
                str(error), hint=error.hint or "nothing was submitted; try again later"
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
        if spec.job_name == type(spec).job_name:  # the default must not override SBATCH_JOB_NAME
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
            from slurm_nb.scheduler.choices import explained  # noqa: PLC0415  rarely needed

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
        """Run one squeue for all jobs, then sacct and scontrol for those that it does not show.

        A job that none of them shows is UNKNOWN and `missing`.
        """
        known = list(jobs)
        if not known:
            return {}
        states = _ask_squeue(known)
        states |= self._confirm(
            [job for job in known if states[job.job_id].phase is Phase.ENDED], states
        )
        if unexplained is None:
            unexplained = {each for each, state in states.items() if state.phase is not Phase.ENDED}
        wanting = [job for job in known if job.job_id in unexplained and _is_wanting(job, states)]
        if wanting:
            states |= self._ask_others(wanting, states)
        lost = {job_id for job_id, state in states.items() if state.missing or state.id_reused}
        if any(states[each].id_reused or each in unexplained for each in lost):
            strange = self._elsewhere(known[0])
            if strange:
                return dict.fromkeys(states, replace(_unknown(strange), id_reused=True))
            if strange is None:  # another cluster's controller may have answered
                states |= {job_id: replace(states[job_id], denied=False) for job_id in lost}
        return states

    def _confirm(self, ended: list[Job], states: Mapping[str, JobState]) -> dict[str, JobState]:
        """Return the states of ended jobs with the controller's word where squeue would prove it.

        This costs one request for each session that ended without its own last line.
        """
        doubted = [job for job in ended if self._files.needs_second_witness(job)]
        found: dict[str, JobState] = {}
        for job in doubted:
            shown = _ask_scontrol(job) if len(found) < _SCONTROL_ASKS else None
            state = states[job.job_id]
            if shown is None:
                state = replace(state, repeated=True)
            elif shown.phase in {Phase.PENDING, Phase.RUNNING}:
                state = shown
            found[job.job_id] = state
        return found

    def _ask_others(self, jobs: list[Job], states: Mapping[str, JobState]) -> dict[str, JobState]:
        """Return the states, from accounting and the controller, of jobs not running in squeue.

        The controller takes precedence: accounting may be behind, or have an earlier job with the
        same id.
        """
        said = _accounting([job.job_id for job in jobs], cluster_option(jobs[0]))
        found = {}
        asks = _SCONTROL_ASKS
        for job in sorted(jobs, key=lambda each: each.job_id in said):
            state, accounted = states[job.job_id], said.get(job.job_id)
            if state.phase is Phase.ENDED:  # squeue has reported it for this very job
                found[job.job_id] = _with(state, accounted)
                continue
            shown = _ask_scontrol(job) if asks else None
            asks = asks - 1 if shown else 0  # there is no answer, or slurm-nb cannot parse it
            if accounted and (shown is None or (shown.missing and accounted.phase is Phase.ENDED)):
                shown = replace(accounted, denied=shown is not None and shown.denied)
            found[job.job_id] = shown or state
        return found

    def _elsewhere(self, job: Job) -> str | None:
        """Return that Slurm's commands reach another cluster now; empty if it is the same.

        Modules may have set a different SLURM_CONF since the submission. None: unknown.
        """
        if job.needs_cluster_option:
            return ""
        try:
            here = self.cluster()
        except SchedulerError:
            return None
        if here == job.cluster:
            return ""
        return (
            f"Slurm's commands are for the cluster {here}, but the session is on {job.cluster};"
            " load the same module or set the same SLURM_CONF as for submit"
        )

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
    if state.user in {None, *_own_names()} and (
        state.script is None
        or job.script is None
        or f"|{state.reason}|{state.script}".endswith(f"|{job.script}")
    ):
        return state
    if job.script and state.script and job.script.startswith(state.script):
        return replace(_missing(job.job_id), reason="Slurm's answer is truncated")
    reason = f"{job.job_id} is the id of another job now"
    return JobState(Phase.ENDED, "ENDED", reason, id_reused=True)


def _own_names() -> set[str]:
    """Return the names that Slurm may show for this user: `4321` or `nobody` if it knows none."""
    name, uid = user_name(), os.geteuid()
    return {str(uid), "nobody"} if name == f"user {uid}" else {name}


def _is_wanting(job: Job, states: Mapping[str, JobState]) -> bool:
    """Return whether another command than squeue may know more about a job."""
    state = states[job.job_id]
    if state.slurm_state == "UNKNOWN":  # squeue shows whether the controller responds
        return state.missing or not any(word in state.reason for word in _OUT_OF_REACH)
    return state.phase is Phase.ENDED and not state.id_reused


def _lacks(state: JobState) -> bool:
    """Return whether accounting may know more about the end of a job."""
    return state.exit_code is None and state.slurm_state not in {"ENDED", "UNKNOWN"}


def _with(state: JobState, said: JobState | None) -> JobState:
    """Return `state` with the details from accounting, unless it is behind."""
    if said is None or said.slurm_state != state.slurm_state:
        return state
    return replace(state, exit_code=said.exit_code, by_uid=said.by_uid)


def _ask_squeue(jobs: list[Job]) -> dict[str, JobState]:
    """Return the state of each job; `missing` if squeue does not show it.

    If slurm-nb cannot parse a line of the answer (from a site's wrapper, for example), it believes
    only a pending or running job with this very script.
    """
    job_ids = [job.job_id for job in jobs]
    # For a list of ids the controller sends all of its jobs; for --me only this user's jobs.
    which = ["-j", job_ids[0]] if len(job_ids) == 1 else ["--me"]
    # -t all: includes jobs that ended within MinJobAge (slurm.conf(5)).
    argv = ["squeue", *cluster_option(jobs[0]), "-h", "-t", "all", *which, "-o", SQUEUE_FORMAT]
    try:
        answer = run(argv, timeout_s=QUERY_TIMEOUT_S)
    except SchedulerError as error:
        return dict.fromkeys(job_ids, _unknown(str(error)))
    if answer.exit_code and "Invalid job id" not in answer.stderr:
        by = "squeue: " if answer.exit_code < 0 else ""
        return dict.fromkeys(job_ids, _unknown(f"{by}{answer.words}"))
    found, strange = parse_squeue(answer.stdout), unreadable_line(answer.stdout)
    states = {
        job.job_id: _of(job, found[job.job_id]) if job.job_id in found else _missing(job.job_id)
        for job in jobs
    }
    # Only the controller's own answer proves that an id is another job's: wrappers truncate paths.
    states |= {
        job_id: replace(_missing(job_id), reason=state.reason, id_reused=True)
        for job_id, state in states.items()
        if state.id_reused
    }
    if strange is None:
        return states
    unknown = _unknown(f"cannot parse the output of squeue: {strange[:_SHOWN_CHARS]!r}")
    return {
        job.job_id: state
        if state.phase in {Phase.PENDING, Phase.RUNNING} and job.script in {None, state.script}
        else unknown
        for job in jobs
        if (state := states[job.job_id])
    }


def _ask_scontrol(job: Job) -> JobState | None:
    """Return the controller's answer about one job; None if slurm-nb cannot parse it."""
    argv = ["scontrol", *cluster_option(job), "show", "job", job.job_id]
    try:
        answer = run(argv, timeout_s=QUERY_TIMEOUT_S)
    except SchedulerError:
        return None
    if answer.exit_code and "Invalid job id" in answer.stderr and not answer.stdout.strip():
        return replace(_missing(job.job_id), denied=True)
    state = None if answer.exit_code else parse_scontrol(answer.stdout, job.job_id)
    return _of(job, state) if state else None


def _unknown(reason: str) -> JobState:
    return JobState(Phase.UNKNOWN, "UNKNOWN", reason)


def _missing(job_id: str) -> JobState:
    return replace(_unknown(f"Slurm does not show job {job_id}"), missing=True)


def _accounting(job_ids: list[str], where: list[str]) -> dict[str, JobState]:
    """Return the states from sacct; empty without accounting or a response."""
    with contextlib.suppress(SchedulerError):
        answer = run(
            ["sacct", *where, "-n", "-P", "-X", "-o", SACCT_COLUMNS, "-j", ",".join(job_ids)],
            timeout_s=QUERY_TIMEOUT_S,
        )
        return parse_sacct(answer.stdout)
    return {}
