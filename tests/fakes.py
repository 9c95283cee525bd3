"""A fake Slurm for tests: its programs as shell scripts, and sessions that they run."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from slurm_nb.__main__ import main
from slurm_nb.files import user_name, write_private
from slurm_nb.scheduler.job import Job, JobState, Phase
from slurm_nb.session.ending import Verdict
from slurm_nb.session.session import Session
from slurm_nb.session.settle import Settled, settle
from slurm_nb.session.store import Store
from tests.conftest import NONCE, AddProgram

TOKEN = "ab" * 32
SEVEN = Session(job=Job("7", "hpc"), login_host="login")
WHO = {"cluster": "hpc", "job_id": "7", "nonce": NONCE}


def told(what: str, **record: object) -> str:
    """Return a line that the job writes to its output."""
    return f"\nslurm-nb {what}: {json.dumps({**WHO, **record})}\n"


READY = told("ready", node="c1", port=40123, path="/tree")
OVER = READY + told("ended", exit_code=143)


@dataclass(frozen=True)
class Result:
    code: int
    out: str
    err: str

    @property
    def directives(self) -> list[str]:
        """The `#SBATCH` options of a dry run except those that each job has."""
        found = re.findall(r"^#SBATCH (.*)$", self.out, re.MULTILINE)
        return [each for each in found if not each.startswith(("--job-name", "--o", "--sig"))]


Run = Callable[..., Result]


@pytest.fixture
def run(store: Store, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run the program with arguments, as the entry point does."""
    monkeypatch.setenv("SLURM_NB_HOME", str(store.folder))

    def call(*arguments: str) -> Result:
        monkeypatch.setattr(sys, "argv", ["slurm-nb", *arguments])
        with pytest.raises(SystemExit) as caught:
            main()
        out, err = capfd.readouterr()
        code = caught.value.code
        return Result(code if isinstance(code, int) else 0, out, err)

    return call


def squeue_row(job_id: str, word: str, end: str = "N/A", reason: str = "None", **of: str) -> str:
    """Return a line of squeue in the columns that slurm-nb requests, `%i|%u|%T|%e|%S|%B|%r|%o`."""
    user, start = of.get("user", user_name()), of.get("start", "N/A")
    return f"{job_id}|{user}|{word}|{end}|{start}|{of.get('node', 'n/a')}|{reason}|{of['script']}"


def shown(word: str, end: str = "N/A", reason: str = "None", **of: str) -> str:
    """Return a command that prints a line of squeue; the job runs the script given to sbatch."""
    job_id, script = of.pop("job_id", "7"), '$(cat "${0%/*}/sbatch.script" 2>/dev/null)'
    node = of.pop("node", "n/a" if word == "PENDING" else "c1")
    return f'echo "{squeue_row(job_id, word, end, reason, node=node, script=script, **of)}"'


# Print what a job of this submission has written, if the test has written anything for it.
BEGUN = r"""
s=$(sed -n 's/^slurm_nb_submission=\([0-9a-f]*\) .*/\1/p' "${@: -1}")
if [ -s "$SLURM_NB_HOME/sessions/hpc/7/nonce" ]; then
  printf %s "$s" >"$SLURM_NB_HOME/sessions/hpc/7/submission"
  sed -i "s/\"nonce\"/\"submission\": \"$s\", &/" "$SLURM_NB_HOME/jobs/7_0_log.out"
fi
"""
GONE = 'grep -qs 7 "${0%/*}/scancel.calls" && w=CANCELLED || w=RUNNING; '
GONE_WHEN_CANCELLED = GONE + shown("$w")


@pytest.fixture
def slurm(program: AddProgram, monkeypatch: pytest.MonkeyPatch) -> AddProgram:
    """Return a Slurm of shell scripts that runs job 7 and must not get any other."""
    program("scontrol", "printf 'ClusterName             = hpc\\n'")
    # Like Slurm, it shows the script of a job.
    program("sbatch", f'echo called >>"$0.calls"; echo "${{@: -1}}" >"$0.script"{BEGUN}echo 7')
    program("squeue", shown("RUNNING", "2026-11-23T14:00:00"))
    program("sacct", "exit 1")
    program("scancel", 'echo "$@" >>"$0.calls"')
    monkeypatch.setattr("time.sleep", lambda _seconds: None)
    return program


def calls(program: AddProgram, name: str) -> list[str]:
    """Return the arguments of each call of a program of the fake Slurm."""
    path = program("unused", "").with_name(f"{name}.calls")
    return path.read_text(encoding="utf-8").splitlines() if path.exists() else []


def running(store: Store, session: Session = SEVEN, output: str = READY) -> Session:
    """Save and return a session whose Jupyter is ready."""
    store.save(session)
    folder = store.session_folder(session.cluster, session.job_id)
    write_private(folder / "token", TOKEN)
    write_private(folder / "nonce", NONCE)
    store.log_path(session.job_id).write_text(output, encoding="utf-8")
    return session


def settle_as_proven(store: Store, session: Session, state: JobState, **more: Any) -> Settled:
    """Settle like a command that has proof of the ending, except if the id was reused."""
    proven = state.phase is Phase.ENDED and not state.id_reused
    return settle(store, session, Verdict(state, proven=proven), **more)


def has_token(store: Store) -> bool:
    return (store.session_folder("hpc", "7") / "token").exists()


ADDRESS = "10.1.2.3"
FINGERPRINT = ":".join(["AB"] * 32)
DIRECT = told("ready", node="c1", port=40123, path="/lab", address=ADDRESS)
SECURED = told(
    "ready", node="c1", port=40123, path="/lab", address=ADDRESS, fingerprint=FINGERPRINT
)


PRIVATE = told("ready", node="c1", path="/lab", socket="/tmp/slurm-nb.x/jupyter.sock")
NAMED = Session(
    job=Job("7", "hpc"),
    login_host="login",
    job_name="analysis",
    submitted_at=1_795_000_000,
    options=("--notebook-dir=/home/alice",),
)


UNREACHABLE = "echo 'slurm_load_jobs error: Unable to contact slurm controller' >&2; exit 1"
