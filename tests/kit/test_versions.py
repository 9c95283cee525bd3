"""Releases of Jupyter that have published holes are told from those that have none."""

from __future__ import annotations

import pytest

from slurm_nb.kit import versions


@pytest.mark.parametrize(
    ("found", "old"),
    [
        (versions.MINIMUM, []),
        ({"tornado": "6.6.1", "notebook": "8.0.0a1"}, []),
        ({"tornado": "6.5.9"}, ["tornado 6.5.9"]),
        ({"jupyter_server": "2.9.0"}, ["jupyter_server 2.9.0"]),
        ({"jupyterlab": "unknown"}, ["jupyterlab unknown"]),
        ({"other": "0.1"}, []),
    ],
)
def test_old_versions(found: dict[str, str], old: list[str]) -> None:
    """Numbers are compared as numbers, and what is no number counts as old."""
    assert [text.partition(" has")[0] for text in versions.old(found)] == old


def test_installed_versions() -> None:
    """Of this interpreter, which has Jupyter."""
    assert set(versions.installed()) == set(versions.MINIMUM)
    assert versions.old() == []
