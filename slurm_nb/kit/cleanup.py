"""Runs inside the Jupyter server: removes the node-local directory where the job script can't.

A script that was killed (SIGKILL) has cleaned nothing up. The token is left to slurm-nb on the
login node: the job may run elsewhere already, with a token of its own in that file.
"""

import atexit
import os
import shutil


def clean_up_in_place_of_the_script(run_dir: str) -> None:
    """Have this process, when it ends without its parent, remove `run_dir`."""
    atexit.register(_clean_up, os.getpid(), os.getppid(), run_dir)


def _clean_up(server: int, script: int, run_dir: str) -> None:
    """`server`: a fork inherits what is registered, and is not meant."""
    if os.getpid() == server and os.getppid() != script:
        shutil.rmtree(run_dir, ignore_errors=True)
