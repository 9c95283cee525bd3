"""A network that is gone is seen in the kernel's table of connections."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from slurm_nb.connection.ssh_connection import ends_of, is_retransmitting

HEADER = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid\n"
IN_IPV6 = "0000000000000000FFFF0000"
ENDS = ("0100610A:0016", "0200610A:C350")


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "ttyname", lambda _: "/dev/pts/7")


@pytest.mark.usefixtures("terminal")
@pytest.mark.parametrize(
    ("came_in", "ends"),
    [
        ("10.97.0.2 50000 10.97.0.1 22", ENDS),
        ("::ffff:10.97.0.2 50000 ::ffff:10.97.0.1 22", ENDS),
        (
            "fd00::2 50000 fd00::1%eth0 22",
            ("000000FD000000000000000001000000:0016", "000000FD000000000000000002000000:C350"),
        ),
        ("UNKNOWN 65535 UNKNOWN 65535", None),
        ("", None),
    ],
)
def test_the_connection_is_written_as_in_the_kernels_table(
    came_in: str, ends: tuple[str, str] | None
) -> None:
    assert ends_of({"SSH_TTY": "/dev/pts/7", "SSH_CONNECTION": came_in}) == ends


@pytest.mark.usefixtures("terminal")
def test_a_terminal_inside_tmux_is_not_the_connections() -> None:
    """It outlives the connection that it was started through."""
    came_in = "10.97.0.2 50000 10.97.0.1 22"

    assert ends_of({"SSH_TTY": "/dev/pts/1", "SSH_CONNECTION": came_in}) is None


@pytest.mark.parametrize(
    ("table", "row", "expected"),
    [
        ("tcp", "0: 0100610A:0016 0200610A:C350 01 00000020:00000000 01:000001F4 00000003 0", True),
        (
            "tcp",
            "0: 0100610A:0016 0200610A:C350 01 00000020:00000000 01:00000014 00000000 0",
            False,
        ),
        (
            "tcp",
            "0: 0100610A:0016 0200610A:C351 01 00000020:00000000 01:000001F4 00000003 0",
            False,
        ),
        (
            "tcp",
            "0: 0100610A:0016 0200610A:C350 01 00000020:00000000 04:000001F4 00000003 0",
            False,
        ),
        (
            "tcp6",
            f"0: {IN_IPV6}0100610A:0016 {IN_IPV6}0200610A:C350 01 0:0 01:000001F4 00000003 0",
            True,
        ),
    ],
    ids=["again", "sent once", "another connection", "a full window", "IPv4 in IPv6"],
)
def test_data_that_was_sent_again_shows_a_lost_network(
    tmp_path: Path,
    table: str,
    row: str,
    expected: bool,  # noqa: FBT001  a column
) -> None:
    (tmp_path / table).write_text(f"{HEADER}   {row}\n")

    assert is_retransmitting(ENDS, tmp_path) == expected


def test_without_the_table_nothing_is_lost(tmp_path: Path) -> None:
    assert not is_retransmitting(ENDS, tmp_path)
