"""The tests on each Slurm release, and the table of what came out.

`python -m tests.matrix` is `make test`: everything on Slurm 22.05, on the newer ones the main job.
`--all` is `make test-all`: every end-to-end test on every release, without and with an accounting
database. Two runs go on at a time, for most of a test is waiting; what a run prints is shown when
it has ended.
"""

# ruff: noqa: T201  printing is what it is for

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from tests.cluster import RELEASES

ROOT = Path(__file__).resolve().parents[1]
ROUTES = {"jump": "port", "direct": "direct", "socket": "socket"}
"""Column: the route of test_routes.py that it shows."""
_ROUTE_TEST = "test_each_route_leads_to_a_kernel_on_the_node"
_MAIN_JOB = (
    "tests/e2e/test_main_job.py::test_the_printed_lines_lead_to_a_cell_on_the_compute_node",
    "tests/e2e/test_main_job.py::test_cancel_ends_the_job_and_leaves_no_secret_behind",
    f"tests/e2e/test_routes.py::{_ROUTE_TEST}",
)
_E2E = ("tests/e2e",)
_RUN_S = 3600.0
_AT_A_TIME = 2


@dataclass(frozen=True)
class Run:
    """One run of pytest on one cluster."""

    release: str
    accounting: bool
    tests: Sequence[str]
    """Arguments of pytest that choose the tests."""

    def __str__(self) -> str:
        accounting = ", accounting" if self.accounting else ""
        return f"{self.release}{accounting}: {' '.join(self.tests)}"


@dataclass(frozen=True)
class Outcome:
    """What came out of a run."""

    slurm: str
    """`22.05.8`; `?` when no cluster came up."""
    python: str
    routes: tuple[str, ...]
    """Of each of ROUTES: ok, FAILED, skipped or `-` (not run)."""
    total: str
    """`12 ok, 1 FAILED`."""


_WHOLE = ("tests", "--ignore=tests/faults")
_FAULTS = ("tests/faults",)
# The longest first.
SOME = (
    Run(RELEASES[0], accounting=False, tests=_WHOLE),
    Run(RELEASES[0], accounting=False, tests=_FAULTS),
    Run("trixie", accounting=False, tests=_MAIN_JOB),
    Run("sid", accounting=True, tests=(*_MAIN_JOB, "tests/e2e/test_accounting.py")),
)
ALL = tuple(
    Run(release, accounting, tests)
    for release in RELEASES
    for accounting in (False, True)
    for tests in (_WHOLE if (release, accounting) == (RELEASES[0], False) else _E2E, _FAULTS)
)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.matrix", description=__doc__)
    parser.add_argument("--all", action="store_true", help="all end-to-end tests on every release")
    runs = ALL if parser.parse_args().all else SOME
    with ThreadPoolExecutor(_AT_A_TIME) as pool:
        ends = list(pool.map(_run, runs))
    print("\n" + "\n".join(table(runs, [read_report(end.report) for end in ends])))
    return 1 if any(end.code for end in ends) else 0


@dataclass(frozen=True)
class End:
    """How a run ended."""

    code: int
    """Of pytest."""
    report: str
    """In JUnit's XML; empty when there is none."""


def _run(run: Run) -> End:
    began = time.monotonic()
    print(f"=== begun: {run}", flush=True)
    with tempfile.TemporaryDirectory() as folder, (Path(folder) / "output").open("w+b") as output:
        end = _test(run, Path(folder) / "report.xml", output)
        output.seek(0)
        text = output.read().decode(errors="replace")
    print(
        f"\n=== {run}\n\n{text}\n=== {time.monotonic() - began:.0f} s, exit code {end.code}",
        flush=True,
    )
    return end


def _test(run: Run, report: Path, output: IO[bytes]) -> End:
    command = [sys.executable, "-m", "pytest", f"--junitxml={report}", "--release", run.release]
    command += ["--accounting"] if run.accounting else []
    try:
        done = subprocess.run(
            [*command, *run.tests],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            timeout=_RUN_S,
            check=False,
        )
        code = done.returncode
    except subprocess.TimeoutExpired:
        code = 1
    return End(code, report.read_text("utf-8") if report.exists() else "")


def read_report(text: str) -> Outcome:
    """From a JUnit report of pytest; of an empty one, that nothing ran."""
    if not text:
        return Outcome("?", "?", tuple("-" for _ in ROUTES), "nothing ran")
    suite = next(ET.fromstring(text).iter("testsuite"))  # noqa: S314  pytest's own, just written
    told = {each.get("name"): each.get("value", "?") for each in suite.iter("property")}
    results = {case.get("name"): _result(case) for case in suite.iter("testcase")}
    ends = [_result(case) for case in suite.iter("testcase")]
    return Outcome(
        told.get("slurm", "?"),
        told.get("python", "?"),
        tuple(results.get(f"{_ROUTE_TEST}[{route}]", "-") for route in ROUTES.values()),
        ", ".join(f"{ends.count(end)} {end}" for end in ("ok", "FAILED", "skipped") if end in ends),
    )


def _result(case: ET.Element) -> str:
    if case.find("failure") is not None or case.find("error") is not None:
        return "FAILED"
    return "ok" if case.find("skipped") is None else "skipped"


def table(runs: Sequence[Run], outcomes: Sequence[Outcome]) -> list[str]:
    """The lines of the table, in columns."""
    rows = [("Debian", "Slurm", "Python", "accounting", *ROUTES, "tests")]
    rows += [
        (
            run.release,
            outcome.slurm,
            outcome.python,
            "slurmdbd" if run.accounting else "none",
            *outcome.routes,
            outcome.total,
        )
        for run, outcome in zip(runs, outcomes, strict=True)
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(word.ljust(width) for word, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


if __name__ == "__main__":
    sys.exit(main())
