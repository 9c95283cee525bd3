"""The kit as jobs find it."""

from __future__ import annotations

from pathlib import Path

import pytest

from slurm_nb.job.kit import install


@pytest.fixture(scope="session")
def kit_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the directory that the job script changes to; it holds `slurm_nb_kit`."""
    return install(tmp_path_factory.mktemp("kits"))
