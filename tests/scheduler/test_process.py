"""A process is identified by more than its id."""

from __future__ import annotations

import os
import subprocess
from dataclasses import replace

from slurm_nb.scheduler.process import Process


def test_this_process_lives() -> None:
    """It is recognised on this host while it runs."""
    own = Process.here(os.getpid())

    assert own.alive()
    assert not own.elsewhere()


def test_a_process_that_ended_does_not_live() -> None:
    """This is true even for a zombie that its parent has not reaped."""
    child = subprocess.Popen(["true"])
    process = Process.here(child.pid)
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)

    assert not process.alive()
    child.wait()
    assert not process.alive()
    assert not Process.here(child.pid).alive()


def test_another_process_with_the_same_id_is_recognised() -> None:
    """It began at another time, after another boot, or on another host."""
    own = Process.here(os.getpid())

    assert not replace(own, start_ticks=own.start_ticks + 1).alive()
    assert not replace(own, boot_id="another").alive()
    assert replace(own, host="elsewhere").elsewhere()
