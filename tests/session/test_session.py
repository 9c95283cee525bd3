"""Facts about a session that do not come from its files."""

from __future__ import annotations

import pytest

from slurm_nb.scheduler.job import Job
from slurm_nb.session.session import Session, is_job_id, option_of

SEVEN = Session(job=Job("7", "hpc"), options=("--mem=4G", "--time=90", "--mem=8G"))


@pytest.mark.parametrize("job_id", ["0", "7", "4294967295", "local-1", "local-12345"])
def test_slurms_numbers_and_local_ids_are_job_ids(job_id: str) -> None:
    """They are used unchanged."""
    assert is_job_id(job_id)


@pytest.mark.parametrize(("name", "value"), [("mem", "8G"), ("time", "90"), ("qos", None)])
def test_an_option_is_found_among_the_arguments(name: str, value: str | None) -> None:
    """The last one applies, as it did at submission."""
    assert option_of(SEVEN, name) == value


def test_a_session_has_the_id_and_cluster_of_its_job() -> None:
    """They are stored once, in the job."""
    assert (SEVEN.job_id, SEVEN.cluster) == ("7", "hpc")
