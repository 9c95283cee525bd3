"""The command audit, with fakes of Slurm's programs; its checks: tests/e2e/test_audit.py."""

from __future__ import annotations

import pytest

from slurm_nb.cli.commands import audit
from slurm_nb.session.store import Store
from tests.conftest import AddProgram
from tests.fakes import Run, running, shown


def test_an_audit_that_takes_long_says_what_it_waits_for(
    run: Run, store: Store, slurm: AddProgram, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server may be stopped, or its node."""
    monkeypatch.setattr(audit, "_SLOW_S", 0.1)
    running(store)
    slurm("squeue", shown("RUNNING"))
    slurm("srun", "sleep 1; exit 1")

    result = run("audit", "7")

    assert result.code != 0
    assert "Waiting for the node to respond...\n" in result.err
