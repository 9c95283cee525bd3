"""Removes the node-local directory from the Jupyter server when the job script cannot.

A script that was killed with SIGKILL does not clean up. This process leaves the token to slurm-nb
on the login node: the job may already run on another node and have written its own token there.
"""

import atexit
import os
import shutil


def clean_up_in_place_of_the_script(run_dir: str) -> None:
    """Have this process remove `run_dir` when it ends and its parent has already died."""
    atexit.register(_clean_up, os.getpid(), os.getppid(), run_dir)


def _clean_up(server: int, script: int, run_dir: str) -> None:
    """Do nothing in a fork of `server`, which inherits the registration."""
    if os.getpid() == server and os.getppid() != script:
        shutil.rmtree(run_dir, ignore_errors=True)
