"""How often slurm-nb queries Slurm, according to slurmctld."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.e2e import requests
from tests.e2e.scientist import Scientist

HERE = Path(__file__).parent
ONE_HOUR_S = 3600.0
# The allowed queries of `wait` at first, and how rare they are afterwards.
FIRST_S, EVERY_S, AT_FIRST = 60.0, 30.0, 4
TERMINALS = 10
COUNTING = """\
#!/bin/bash
echo {0} >>"$HOME/bin/asked"
exec /usr/bin/{0} "$@"
"""


def run_client(alice: Scientist, name: str, *words: str) -> dict[str, Any]:
    """Return the answer of a program that slurm-nb's own Python runs on the login node."""
    done = alice.cluster.login.run(
        ["/srv/venv/bin/python", "-", *words],
        user="alice",
        stdin_text=(HERE / name).read_text(encoding="utf-8"),
        timeout_s=180,
    )
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def pending(alice: Scientist, count: int) -> list[str]:
    """Submit sessions whose jobs wait for ever, and return their ids."""
    words = ("submit", "--json", "--no-wait", "-p", "closed")
    ids = [json.loads(alice.slurm_nb(*words).stdout)["job_id"] for _ in range(count)]
    return [str(job_id) for job_id in ids]


def most_within(times: list[float], seconds: float) -> int:
    """Return the largest number of `times` in any half-open span of so many seconds."""
    return max(
        (sum(begin <= each < begin + seconds for each in times) for begin in times), default=0
    )


def of_one_squeue(alice: Scientist, *words: str) -> int:
    """Return how many requests one squeue sends."""
    requests.count_anew(alice.cluster)
    alice.cluster.login.run(["squeue", "-h", "-t", "all", *words], user="alice")
    return requests.count(alice.cluster).of_user


def test_an_hour_of_waiting(alice: Scientist) -> None:
    """One terminal that waits an hour queries once in 30 s after the first minute."""
    (job_id,) = pending(alice, 1)
    each = of_one_squeue(alice, "-j", job_id)
    requests.count_anew(alice.cluster)

    answer = run_client(alice, "waiting_client.py", str(ONE_HOUR_S), job_id)

    counted = requests.count(alice.cluster)
    asked_at = answer["asked_at"]
    print(f"an hour of waiting: {len(asked_at)} questions, {counted}")  # noqa: T201
    later = [at for at in asked_at if at > FIRST_S]
    assert answer["waited_s"] == pytest.approx(ONE_HOUR_S, abs=1)
    assert len(asked_at) - len(later) <= AT_FIRST
    assert most_within(later, EVERY_S) == 1
    assert len(later) >= (ONE_HOUR_S - FIRST_S) / EVERY_S - 2, "it has not waited for real"
    assert counted.of_user <= each * len(asked_at)


def test_ten_terminals_share_their_answers(alice: Scientist) -> None:
    """Ten that wait for ten jobs query no more than one would, once all have been opened."""
    job_ids = pending(alice, TERMINALS)
    each = of_one_squeue(alice, "--me")
    requests.count_anew(alice.cluster)

    answer = run_client(alice, "waiting_client.py", str(ONE_HOUR_S), *job_ids)

    counted = requests.count(alice.cluster)
    asked_at = answer["asked_at"]
    opened_s = answer["waited_s"] - ONE_HOUR_S
    print(f"{TERMINALS} terminals, an hour: {len(asked_at)} questions, {counted}")  # noqa: T201
    later = [at for at in asked_at if opened_s + FIRST_S < at <= ONE_HOUR_S]
    at_first = [at for at in asked_at if at <= opened_s + FIRST_S]
    print(f"  while they are opened and a minute after: {at_first}")  # noqa: T201
    assert most_within(later, EVERY_S) == 1
    assert len(at_first) <= AT_FIRST * TERMINALS
    assert counted.of_user <= each * len(asked_at)


WHICH_CLUSTER = 2
"""Requests of `scontrol show config`."""
GONE_AT_ONCE = 2 * 10
"""Requests of `scontrol show job`, two for each of the ten jobs that squeue does not show."""


@pytest.mark.parametrize("count", [1, 100, 1000])
def test_a_list_queries_once_however_long_it_is(alice: Scientist, count: int) -> None:
    """It runs one squeue and at most one sacct, for waiting, ended and removed jobs together. If
    jobs are gone, one scontrol checks whether this is their cluster at all, and ten at most whether
    it has them.
    """
    waiting = min(5, count)
    job_ids = pending(alice, waiting)
    made = run_client(alice, "sessions_client.py", str(count - waiting))
    env = {}
    for name in ("squeue", "sacct"):
        env = alice.program(name, COUNTING.format(name))
    each = of_one_squeue(alice, *(["-j", job_ids[0]] if count == 1 else ["--me"]))
    asked = alice.home / "bin/asked"

    for turn in ("first", "second"):
        asked.unlink(missing_ok=True)
        requests.count_anew(alice.cluster)
        said = alice.slurm_nb("list", "--json", env=env)
        counted = requests.count(alice.cluster)

        listed = json.loads(said.stdout)["sessions"]
        programs = asked.read_text().split()
        print(f"list of {count} ({made}), {turn}: {programs}, {counted}")  # noqa: T201
        assert len(listed) == count
        assert [each["state"] for each in listed[:waiting]] == ["PENDING"] * waiting
        assert {each["state"] for each in listed[waiting:]} <= {"TIMEOUT", "ENDED", "UNKNOWN"}
        assert programs.count("squeue") == 1
        assert programs.count("sacct") <= 1
        assert counted.of_user <= each + (WHICH_CLUSTER + GONE_AT_ONCE if count > waiting else 0)
