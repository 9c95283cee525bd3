"""Render a job script, and install the kit that it uses."""

from __future__ import annotations

import os

from slurm_nb.connection.addresses import login_addresses
from slurm_nb.errors import UserError
from slurm_nb.job import kit, script
from slurm_nb.job.spec import JobSpec
from slurm_nb.session.state_directory import StateDirectory


def render(
    spec: JobSpec, *, template: str | None = None, store: StateDirectory | None = None
) -> str:
    """Return the job script that `submit` passes to sbatch, and install its kit.

    Raises `UserError`.
    """
    return render_for("", spec, template, store or StateDirectory.of_user(os.environ))


def render_for(submission: str, spec: JobSpec, template: str | None, store: StateDirectory) -> str:
    """Return the job script of one submission, or of any number of them if it has no name."""
    if spec.auth == "password" and not store.password_path.exists():
        raise UserError(
            "--auth password: you have not set a password",
            hint="set one: slurm-nb password",
            options=("auth",),
        )
    text = script.render(
        spec,
        state_dir=store.folder,
        template=template,
        submission=submission,
        login_addresses=login_addresses(os.environ),
    )
    kit.install(store.kits)
    return text
