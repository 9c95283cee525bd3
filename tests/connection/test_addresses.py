"""The login node's addresses, for jobs that cannot resolve its name."""

from __future__ import annotations

import pytest

from slurm_nb.connection.addresses import login_addresses


def test_the_address_of_the_ssh_connection_comes_last() -> None:
    """That one may be of an outer network; none is the loopback."""
    found = login_addresses({"SSH_CONNECTION": "203.0.113.9 50000 203.0.113.5 22"})

    assert found[-1] == "203.0.113.5"
    assert not [address for address in found if address.startswith("127.")]


@pytest.mark.parametrize("address", ["UNKNOWN", "fe80::1%eth0", "10.1.2", "10.1.2.300", "\udcff"])
def test_other_text_than_an_ipv4_address_is_left_out(address: str) -> None:
    """sshd writes UNKNOWN if it is not TCP, and the job script takes IPv4 only."""
    found = login_addresses({"SSH_CONNECTION": f"203.0.113.9 50000 {address} 22"})

    assert address not in found
