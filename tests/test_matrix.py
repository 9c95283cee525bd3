"""`make test`: the output while it runs, and at its end."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.test_routes import ROUTES
from tests.matrix import ROOT, Run, Story, duration, run_all, slowest, table

TESTS = """
import time

def test_well(): pass

def test_badly():
    print("what it had printed")
    assert "spam" == "ham"

def test_long(): time.sleep({long})
"""


@pytest.fixture
def own_run(tmp_path: Path) -> Run:
    """Return a run of three tests: one passes, one fails, one lasts for half a minute."""
    path = tmp_path / "test_three.py"
    path.write_text(TESTS.format(long=30))
    return Run("bookworm", "three", ("-p", "tests.conftest", str(path)))


def ended(test: str, outcome: str = "passed", part: str = "call", seconds: float = 0.1) -> Story:
    """Return a story with one test."""
    story = Story(Run("sid", "main job", (), accounting=True))
    story.take(
        {"kind": "end", "test": test, "part": part, "outcome": outcome, "seconds": seconds,
         "reason": "assert 1 == 2"}
    )  # fmt: skip
    return story


def test_an_interrupted_run_has_reported_its_failures_and_its_progress(
    own_run: Run, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """First come the reasons; then, at least every half minute (here: second), the progress; then
    the interruption with the running test.
    """
    monkeypatch.setattr("tests.matrix._SILENT_S", 1)

    code = run_all([own_run], 10, "make test")

    out = capsys.readouterr().out
    assert code == 1
    failure, cut, row = (
        out.index(text)
        for text in (
            "::test_badly (call, 0 s)",
            "CUT after 10 s; 2 of 3 tests after 0:10, 1 FAILED; now ",
            "three: 1 ok, 1 FAILED, CUT after 10 s",
        )
    )
    assert failure < cut < row
    for line in ('>       assert "spam" == "ham"', "what it had printed"):
        assert failure < out.index(f"[bookworm three]     {line}\n") < cut
    assert re.search(r"BROKEN OFF \S+::test_long, after \d+ s", out)
    where = r"2 of 3 tests after 0:0\d, 1 FAILED; now \S+::test_long, for \d s"
    assert len(re.findall(where, out)) >= 2


def test_a_test_over_its_time_limit_fails_and_the_run_continues(tmp_path: Path) -> None:
    """It fails even if it has reset the alarm clock and its clean-up hangs too."""
    path = tmp_path / "test_slow.py"
    path.write_text(
        "import signal, threading, time\n"
        "def test_hangs():\n"
        "    signal.setitimer(signal.ITIMER_REAL, 0)\n"
        "    try:\n"
        "        time.sleep(50)\n"
        "    finally:\n"
        "        threading.Event().wait(50)\n"
        "def test_next(): pass\n"
    )
    options = ["-p", "tests.conftest", "--timeout", "0.5", str(path)]
    impatient = (
        "import sys, pytest, tests.time_limits;"
        "tests.time_limits._AGAIN_S = 0.5; sys.exit(pytest.main(sys.argv[1:]))"
    )

    said = subprocess.run(
        [sys.executable, "-c", impatient, *options], cwd=ROOT, capture_output=True, text=True,
        timeout=40, check=False,
    ).stdout  # fmt: skip

    assert "time limit: call took longer than 0.5 s" in said
    assert "1 failed, 1 passed" in said


def test_programs_of_a_test_start_with_default_signals(tmp_path: Path) -> None:
    """They do so under `make test &` in a script, nohup and cron, which ignore some."""
    path = tmp_path / "test_signals.py"
    path.write_text(
        "import os, signal, subprocess, pytest\n"
        "def test_ignored():\n"
        "    said = subprocess.check_output(['grep', 'SigIgn', '/proc/self/status'], text=True)\n"
        "    ignored = int(said.split()[1], 16)\n"
        "    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):\n"
        "        assert not ignored & 1 << number - 1, number\n"
        "    with pytest.raises(KeyboardInterrupt):\n"
        "        os.kill(os.getpid(), signal.SIGINT)\n"
        "    os.kill(os.getpid(), signal.SIGHUP)\n"
    )
    pytest_ = f"exec '{sys.executable}' -m pytest -q -p tests.conftest '{path}'"

    said = subprocess.run(
        ["bash", "-c", f"trap '' INT QUIT HUP; {pytest_}"], cwd=ROOT, capture_output=True,
        text=True, timeout=40, check=False,
    )  # fmt: skip

    assert said.returncode == 0, said.stdout


def test_an_interrupt_ends_the_runs_and_reports_what_had_run(own_run: Run) -> None:
    """The exit code is 130; the runs, in their own sessions, end too."""
    code = (
        "import sys; from tests.matrix import Run, run_all;"
        "sys.exit(run_all([Run('bookworm', 'three', sys.argv[1:])], 60, 'make test'))"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, *own_run.tests], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    said = ""
    while "::test_badly" not in said:
        said += process.stdout.readline()
    process.send_signal(signal.SIGINT)
    said += process.communicate(timeout=40)[0]

    assert process.returncode == 130
    assert "three: 1 ok, 1 FAILED, interrupted" in said


def test_the_table_shows_versions_routes_and_totals() -> None:
    """A route that was not tried is not a success."""
    story = ended("tests/e2e/test_routes.py::test_each_route_leads_to_a_kernel_on_the_node[port]")
    story.take({"kind": "fact", "name": "slurm", "value": "26.05.2"})
    story.take({"kind": "fact", "name": "python", "value": "3.14.0"})

    head, row = table([story])

    assert head.split() == ["Debian", "Slurm", "Python", "accounting", *ROUTES, "time", "tests"]
    routes = ["ok" if route == "port" else "-" for route in ROUTES]
    assert row.split() == [
        "sid", "26.05.2", "3.14.0", "slurmdbd", *routes, "0:00", "main", "job:", "1", "ok",
    ]  # fmt: skip


def test_a_run_without_a_test_is_seen_in_the_table() -> None:
    """A run that did not start has a row of its own, with nothing in it that looks well."""
    _, row = table([Story(Run("sid", "all", ()))])

    routes = ["-" for _ in ROUTES]
    assert row.split() == ["sid", "?", "?", "none", *routes, "0:00", "all:", "nothing", "ran"]


def test_an_error_around_a_test_that_passed_is_a_failure() -> None:
    """For example an error in a teardown."""
    story = ended("a")
    story.take(
        {"kind": "end", "test": "a", "part": "teardown", "outcome": "failed", "seconds": 1,
         "reason": "assert 1 == 2"}
    )  # fmt: skip

    assert story.total() == "1 FAILED"


def test_a_run_that_stopped_in_a_test_says_so() -> None:
    """A test started and did not end, as when the interpreter crashes."""
    story = ended("a")
    story.take({"kind": "start", "test": "b"})

    assert story.total() == "1 ok, broken off"


def test_the_slowest_parts_of_all_runs_are_named() -> None:
    """Each has seconds, part, run and test, the slowest first."""
    stories = [ended("quick", seconds=1), ended("slow", part="setup", seconds=12.34)]

    assert [line.split() for line in slowest(stories)] == [
        ["12.3", "s", "setup", "sid", "accounting", "main", "job", "slow"],
        ["1.0", "s", "call", "sid", "accounting", "main", "job", "quick"],
    ]


def test_the_last_line_can_be_copied_into_the_documentation() -> None:
    """The whole time, the cores, and each run's time."""
    story = ended("a")
    story.seconds = 61
    cores = len(os.sched_getaffinity(0))

    assert duration("make test", 754, [story]) == (
        f"`make test` took 12:34 minutes on {cores} cores: sid accounting main job 1:01."
    )
