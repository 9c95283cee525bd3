"""Faults on the real cluster: one thing breaks, and the user loses nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.conftest import alice

__all__ = ["alice"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.cluster)
