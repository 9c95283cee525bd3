"""Jobs in Slurm: submitted with sbatch, watched with squeue and sacct, ended with scancel.

Facts about Slurm's commands were seen on 22.05.8 unless a man page is named.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import stat
import tempfile
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from slurm_nb.errors import SchedulerError, SubmissionUnknown
from slurm_nb.files import user_name
from slurm_nb.job.spec import JobSpec
from slurm_nb.scheduler.environment import clusters_asked_for, sbatch_environment
from slurm_nb.scheduler.job import Job, JobFiles, JobState, Phase
from slurm_nb.scheduler.parse import (
    SACCT_COLUMNS,
    SQUEUE_FORMAT,
    parse_place,
    parse_sacct,
    parse_scontrol,
    parse_squeue,
    unreadable_line,
)
from slurm_nb.scheduler.run import HEARD_PREFIX, QUERY_TIMEOUT_S, cluster_option, run

# A job whose answer was lost: a controller that hung may need a moment to show it.
_LOOKS = 4
_LOOK_AGAIN_S = 2.0
_LOOK_TIMEOUT_S = 10.0
_SHOWN_CHARS = 60
_HEARD_KEPT_S = 600
# One request to the controller each; the others have their turn at the next look.
_SCONTROL_ASKS = 10
# Of what squeue says where there is no controller, seen on 22.05; and of `run`.
_OUT_OF_REACH = ("contact", "timed out", "did not answer", "not on PATH")


class Slurm:
    """The cluster whose commands are on PATH."""

    def __init__(self, files: JobFiles) -> None:
        self._files = files

    def cluster(self) -> str:
        """ClusterName of this login node's Slurm, which its jobs see as SLURM_CLUSTER_NAME."""
        if shutil.which("sbatch") is None:
            raise SchedulerError(
                "sbatch is not on PATH, so there is no Slurm here",
                hint="log in to a login node of your cluster, or run Jupyter on this machine"
                " with `slurm-nb submit --cluster local`",
            )
        try:
            answer = run(["scontrol", "show", "config"], timeout_s=QUERY_TIMEOUT_S)
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
        *,
        cluster: str,
        before: Callable[[Path], None],
        tell: Callable[[list[str]], None],
    ) -> Job:
        """Submit `script` with sbatch, to the clusters that -M names, else to `cluster`.

        Raises `SchedulerError`, with sbatch's own words, when there is no job, and
        `SubmissionUnknown` when there may be one.
        """
        from slurm_nb.scheduler.sbatch import Sbatch  # noqa: PLC0415  submitit takes its time

        options = [*spec.sbatch_options, *spec.directives()]
        if spec.job_name == JobSpec.job_name:  # not asked for: SBATCH_JOB_NAME may say another
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
        )
        submitted = submission.submit_script()
        tell(submitted.words)
        return _job(submitted.job_id, submitted.cluster, str(submission.script_path), own=cluster)

    def recover(self, lost: SubmissionUnknown, *, cluster: str) -> Job:
        """Find the job by the path of its script, which is unlike any other's."""
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
        """One squeue for all; then sacct and scontrol about those that it does not show.

        A job that none of them shows is UNKNOWN and `missing`.
        """
        known = list(jobs)
        if not known:
            return {}
        states = _ask_squeue(known)
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
            if strange is None:  # whose controller it is that has no such job, nobody can say
                states |= {job_id: replace(states[job_id], denied=False) for job_id in lost}
        return states

    def _ask_others(self, jobs: list[Job], states: Mapping[str, JobState]) -> dict[str, JobState]:
        """What accounting and the controller know of jobs that squeue does not show running.

        The controller's word counts most: accounting may be behind, or have an earlier job of the
        same id.
        """
        said = _accounting([job.job_id for job in jobs], cluster_option(jobs[0]))
        found = {}
        asks = _SCONTROL_ASKS
        for job in sorted(jobs, key=lambda each: each.job_id in said):
            state, accounted = states[job.job_id], said.get(job.job_id)
            if state.phase is Phase.ENDED:  # squeue has said so, of this very job
                found[job.job_id] = _with(state, accounted)
                continue
            shown = _ask_scontrol(job) if asks else None
            asks = asks - 1 if shown else 0  # it does not answer, or nobody can read it
            if accounted and (shown is None or (shown.missing and accounted.phase is Phase.ENDED)):
                shown = replace(accounted, denied=shown is not None and shown.denied)
            found[job.job_id] = shown or state
        return found

    def _elsewhere(self, job: Job) -> str | None:
        """Return that Slurm's commands reach another cluster now; empty: it is the job's.

        Where SLURM_CONF is set by modules, it may be another than at submission. None: unknown.
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
            f"these commands are for the cluster {here}, and the session is on"
            f" {job.cluster}: load the module, or set the SLURM_CONF, of submission"
        )

    def how_ended(self, states: Mapping[str, JobState], job: Job) -> dict[str, JobState]:
        """One sacct for all; without accounting, what squeue has said."""
        asked = [job_id for job_id, state in states.items() if _lacks(state)]
        said = _accounting(asked, cluster_option(job)) if asked else {}
        return {job_id: _with(state, said.get(job_id)) for job_id, state in states.items()}

    def cancel(self, job: Job) -> None:
        """Have Slurm end the job with scancel; one that is over is no error."""
        answer = run(["scancel", *cluster_option(job), job.job_id], timeout_s=QUERY_TIMEOUT_S)
        if answer.exit_code and "Invalid job id" not in answer.stderr:
            raise SchedulerError(
                f"scancel {job.job_id}: {answer.words}",
                hint=f"try again later: slurm-nb cancel {job.job_id}",
            )


def sweep_heard() -> None:
    """Remove the directories that submissions which were killed have left on this host.

    Such a directory holds what sbatch has said; sbatch is given up after 90 s.
    """
    for folder in Path(tempfile.gettempdir()).glob(f"{HEARD_PREFIX}*"):
        with contextlib.suppress(OSError):
            status = folder.lstat()
            ours = stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid()
            if ours and time.time() - status.st_mtime > _HEARD_KEPT_S:
                for name in ("stdout", "stderr"):
                    (folder / name).unlink(missing_ok=True)
                folder.rmdir()  # refuses, if it holds anything else


def find_place(job: Job) -> tuple[int, int] | None:
    """Return which of how many waiting jobs of its partitions it is, by priority; None: not known.

    The controller looks through all of its jobs for this, so it is not for a loop.
    """
    where = cluster_option(job)
    with contextlib.suppress(SchedulerError):
        asked = ["squeue", *where, "-h", "-j", job.job_id, "-o", "%P"]
        partition = run(asked, timeout_s=QUERY_TIMEOUT_S).stdout.strip()
        if partition:
            queue = ["squeue", *where, "-h", "-t", "PENDING", "-p", partition, "-S", "-p"]
            answer = run([*queue, "-o", "%i"], timeout_s=QUERY_TIMEOUT_S)
            return parse_place(answer.stdout, job.job_id)
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
    """Return the job on the cluster `named` (empty: where none was named, `own`)."""
    return Job(job_id, named or own, needs_cluster_option=named not in {"", own}, script=script)


def _of(job: Job, state: JobState) -> JobState:
    """`state`, or that the job is over: Slurm gives an id to another job in time."""
    if state.user in {None, user_name()} and (
        state.script is None
        or job.script is None
        or f"|{state.reason}|{state.script}".endswith(f"|{job.script}")
    ):
        return state
    if job.script and state.script and job.script.startswith(state.script):
        return replace(_missing(job.job_id), reason="Slurm's answer is cut off")
    reason = f"{job.job_id} is the id of another job now"
    return JobState(Phase.ENDED, "ENDED", reason, id_reused=True)


def _is_wanting(job: Job, states: Mapping[str, JobState]) -> bool:
    """Whether others than squeue may know more of a job."""
    state = states[job.job_id]
    if state.slurm_state == "UNKNOWN":  # squeue has just learnt whether anybody answers
        return state.missing or not any(word in state.reason for word in _OUT_OF_REACH)
    return state.phase is Phase.ENDED and not state.id_reused


def _lacks(state: JobState) -> bool:
    """Whether accounting may know more of how a job ended, and was not asked already."""
    return state.exit_code is None and state.slurm_state not in {"ENDED", "UNKNOWN"}


def _with(state: JobState, said: JobState | None) -> JobState:
    """`state` with what accounting adds, unless it is behind."""
    if said is None or said.slurm_state != state.slurm_state:
        return state
    return replace(state, exit_code=said.exit_code, by_uid=said.by_uid)


def _ask_squeue(jobs: list[Job]) -> dict[str, JobState]:
    """The state of each job; `missing` where squeue's answer does not hold it.

    Of an answer that holds a line which cannot be read (of a wrapper of the site's, say) only that
    counts which can be no mistake: this very script in the queue, or running.
    """
    job_ids = [job.job_id for job in jobs]
    # A list of ids has the controller send all of its jobs; --me those of this user alone.
    which = ["-j", job_ids[0]] if len(job_ids) == 1 else ["--me"]
    # -t all: also jobs that ended within MinJobAge (slurm.conf(5)).
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
    # Only the controller itself is believed that an id is another job's: a wrapper may cut a path.
    states |= {
        job_id: replace(_missing(job_id), reason=state.reason, id_reused=True)
        for job_id, state in states.items()
        if state.id_reused
    }
    if strange is None:
        return states
    unknown = _unknown(f"squeue's answer can't be read: {strange[:_SHOWN_CHARS]!r}")
    return {
        job.job_id: state
        if state.phase in {Phase.PENDING, Phase.RUNNING} and job.script in {None, state.script}
        else unknown
        for job in jobs
        if (state := states[job.job_id])
    }


def _ask_scontrol(job: Job) -> JobState | None:
    """Return what the controller says of one job; None where it says nothing that can be read."""
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
    """What sacct says of jobs; nothing where there is no accounting, or it does not answer."""
    with contextlib.suppress(SchedulerError):
        answer = run(
            ["sacct", *where, "-n", "-P", "-X", "-o", SACCT_COLUMNS, "-j", ",".join(job_ids)],
            timeout_s=QUERY_TIMEOUT_S,
        )
        return parse_sacct(answer.stdout)
    return {}
