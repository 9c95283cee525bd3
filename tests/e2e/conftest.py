"""The real cluster, with the built wheel installed, for every test below this folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster import Cluster
from tests.e2e.scientist import Scientist


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.cluster)
    if not config.getoption("--accounting"):
        # Not skipped: tests/matrix.py runs them where there is a database.
        unasked = [item for item in items if item.get_closest_marker("accounting")]
        config.hook.pytest_deselected(items=unasked)
        items[:] = [item for item in items if item not in unasked]


@pytest.fixture
def alice(cluster: Cluster) -> Iterator[Scientist]:
    """Yield the owner, logged in from a laptop; the jobs and files are gone after the test."""
    scientist = Scientist(cluster)
    yield scientist
    scientist.clean_up()
    assert scientist.run_folders() == []
