"""Jupyter releases with published vulnerabilities are recognised."""

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
def test_old_versions_are_recognised(found: dict[str, str], old: list[str]) -> None:
    """Numbers are compared as numbers, and anything else counts as old."""
    assert [text.partition(" has")[0] for text in versions.old(found)] == old


def test_the_installed_versions_can_be_read() -> None:
    """This interpreter has Jupyter."""
    assert set(versions.installed()) == set(versions.MINIMUM)
    assert versions.old() == []
