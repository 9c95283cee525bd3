"""The real cluster, with the built wheel installed, for every test below this folder."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster import Cluster, ensure_environment, missing
from tests.e2e.scientist import Scientist

ROOT = Path(__file__).resolve().parents[2]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.cluster)


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this checkout: SLURM_NB_WHEEL, else built here."""
    if "SLURM_NB_WHEEL" in os.environ:
        return Path(os.environ["SLURM_NB_WHEEL"])
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--outdir", str(folder), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True, timeout=600)
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="session")
def cluster(wheel: Path) -> Iterator[Cluster]:
    """A real Slurm on hosts of its own; without one the tests are skipped, in CI they fail."""
    lacking = missing()
    if lacking:
        words = "no real cluster: " + " ".join(lacking)
        if os.environ.get("CI"):
            pytest.fail(words)
        pytest.skip(words)
    with Cluster.start("e2e") as running:
        ensure_environment(running, wheel)
        yield running


@pytest.fixture
def alice(cluster: Cluster) -> Iterator[Scientist]:
    """The owner, logged in from her laptop; her jobs and files are gone after the test."""
    scientist = Scientist(cluster)
    yield scientist
    scientist.clean_up()
    assert scientist.run_folders() == []
