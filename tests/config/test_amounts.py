"""Amounts with units, for comparison with a site's maxima."""

from __future__ import annotations

import math

import pytest

from slurm_nb.config.amounts import amount, gpus_of_gres
from slurm_nb.errors import UserError


@pytest.mark.parametrize(
    ("key", "less", "more"),
    [
        ("time", "90", "1:30:01"),
        ("time", "2-00", "49:00:00"),
        ("time", "365-00:00:00", "UNLIMITED"),
        ("time", "60", "0"),
        ("mem", "4095", "4G"),
        ("mem", "1000M", "1GB"),
        ("mem", "1023G", "1t"),
        ("mem", "900K", "1"),
        ("mem", "1T", "0"),
        ("cpus-per-task", "9", "10"),
        ("gpus", "a100:3", "4"),
        ("gpus", "2", "a100:2,v100:1"),
    ],
)
def test_amounts_compare_by_value(key: str, less: str, more: str) -> None:
    """Units are converted; no time limit, and all of a node's memory, are more than any number."""
    assert amount(key, less) < amount(key, more) <= math.inf


@pytest.mark.parametrize(
    ("key", "text"),
    [("time", "2h"), ("mem", "lots"), ("mem", "-4"), ("cpus-per-task", "a:4"), ("gpus", "a100:")],
)
def test_an_invalid_amount_is_rejected_with_its_option(key: str, text: str) -> None:
    """It never passes as a small amount."""
    with pytest.raises(UserError, match=f"--{key}"):
        amount(key, text)


@pytest.mark.parametrize(
    ("gres", "gpus"),
    [
        ("gpu:2", "2"),
        ("gpu", "1"),
        ("gpu:a100:2,license:9", "a100:2"),
        ("gpu:a100", "a100:1"),
        ("gpu:a100:1(S:0),gpu:v100:2", "a100:1,v100:2"),
        ("license:3", ""),
        ("gpux:3", ""),
    ],
)
def test_gpus_are_found_among_generic_resources(gres: str, gpus: str) -> None:
    """A --gres may request GPUs too, one if it gives no number."""
    assert gpus_of_gres(gres) == gpus
