"""The state directory: how a later process finds a job, its output and its token.

STATE/                           0700; SLURM_NB_HOME, else $XDG_STATE_HOME/slurm-nb,
                                 else ~/.local/state/slurm-nb
  jobs/7_submission.sh           the job script as submitted
  jobs/7_0_log.out               the job's output (names as submitit makes them)
  jobs/.sbatch_XXXX/             0700, what sbatch says during a submission
  submitting/                    0700, submissions without an answer yet: pending.py
  answers/CLUSTER.json           0600, the last states from Slurm: state_cache.py
  kits/HASH/                     0700, the programs of jobs on their node: job/kit.py
  password                       0600, the hash of the password, on one line
  sessions/CLUSTER/7/            0700, a session: store.py
  relay/                         0700, the socket of a relay: connection/relay_end.py
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from slurm_nb.files import check_above, check_directory_is_ours, check_home, make_private
from slurm_nb.paths import state_dir

_OURS = frozenset(
    {"jobs", "sessions", "submitting", "answers", "kits", "relay", "error.log", "password"}
)


@dataclass(frozen=True)
class StateDirectory:
    """The state directory of one user; `Store` also reads the sessions in it."""

    folder: Path

    @classmethod
    def of_user(cls, environ: Mapping[str, str]) -> Self:
        """Return the one that `environ` names, and create it if it does not exist.

        Raises `UserError` if that fails or the directory belongs to somebody else.
        """
        check_home()
        state = cls(state_dir(environ))
        check_directory_is_ours(state.folder, _OURS)
        make_private(state.folder)
        for name in ("jobs", "sessions", "submitting", "answers", "kits"):
            make_private(state.folder / name)
        check_above(state.folder)
        return state

    @property
    def jobs_folder(self) -> Path:
        """The folder of the jobs' scripts and outputs."""
        return self.folder / "jobs"

    def log_path(self, job_id: str) -> Path:
        """Return the path of the job's output."""
        return self.jobs_folder / f"{job_id}_0_log.out"

    def script_path(self, job_id: str) -> Path:
        """Return the path of the submitted job script."""
        return self.jobs_folder / f"{job_id}_submission.sh"

    def session_folder(self, cluster: str, job_id: str) -> Path:
        """Return the folder of one session, which may not exist."""
        return self.folder / "sessions" / cluster / job_id

    @property
    def kits(self) -> Path:
        """The folder of kits, each under its content hash."""
        return self.folder / "kits"

    @property
    def relays(self) -> Path:
        """The folder of the user's relay, which may not exist."""
        return self.folder / "relay"

    @property
    def password_path(self) -> Path:
        """The file with the hash of the password, on one line."""
        return self.folder / "password"
