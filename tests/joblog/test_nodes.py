"""Which text can be the name of a node."""

from __future__ import annotations

import pytest

from slurm_nb.joblog.nodes import is_node


@pytest.mark.parametrize("name", ["c1", "node-17.cluster.hpc.edu", "gpu_03", "10.1.2.3", "C1", "1"])
def test_names_that_hosts_have(name: str) -> None:
    """Host names, also with underscores, and IPv4 addresses are nodes."""
    assert is_node(name)


@pytest.mark.parametrize(
    "name", ["", "-c1", ".c1", "c1-", "c1.", "c 1", "c1\n", "fe80::1", "a" * 255]
)
def test_names_that_hosts_do_not_have(name: str) -> None:
    """A leading dash or dot, a blank or a colon makes no node."""
    assert not is_node(name)
