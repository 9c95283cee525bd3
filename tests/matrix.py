"""The tests on each Slurm release, and the table of what came out.

`python -m tests.matrix` is `make test`: everything on Slurm 22.05, on the newer ones the main job.
`--all` is `make test-all`: every end-to-end test on every release, without and with an accounting
database. Four runs work at a time, because a test mostly waits. A failure is printed with its
reason when it happens, and every run says at least twice a minute where it is.
"""

# ruff: noqa: T201  printing is what it is for

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from tests.cluster import RELEASES
from tests.e2e import test_routes

ROOT = Path(__file__).resolve().parents[1]
_ROUTE_TEST = test_routes.test_each_route_leads_to_a_kernel_on_the_node.__name__
ON_CLUSTER = ("attacks", "e2e", "faults")
"""The folders of tests that need the cluster."""
_MAIN_JOB = (
    "tests/e2e/test_main_job.py::test_the_printed_lines_lead_to_a_cell_on_the_compute_node",
    "tests/e2e/test_main_job.py::test_cancel_ends_the_job_and_leaves_no_secret_behind",
    f"tests/e2e/test_routes.py::{_ROUTE_TEST}",
)
_RUN_S = 3600.0
_AT_A_TIME = 4  # they wait more than they compute: two cores serve four
_SILENT_S = 30.0
"""A run that has printed nothing for this long says where it is."""
_LOOK_S = 0.5
_LAST_WORDS_S = 60.0
"""Of a run that is cut: for removing its cluster."""
_SLOWEST = 20


@dataclass(frozen=True)
class Run:
    """One run of pytest on one cluster."""

    release: str
    what: str
    """`faults`; with release and accounting it is the run's name."""
    tests: Sequence[str]
    """Arguments of pytest that choose the tests."""
    accounting: bool = False

    def __str__(self) -> str:
        return f"{self.release} {'accounting ' if self.accounting else ''}{self.what}"

    @property
    def command(self) -> list[str]:
        """The command that starts it, without the file for its events."""
        quiet = ["-q", "--no-header", "-rN"]  # each failure is printed at once
        accounting = ["--accounting"] if self.accounting else []
        pytest = [sys.executable, "-m", "pytest", *quiet]
        return [*pytest, "--release", self.release, *accounting, *self.tests]


_FAULTS = ("tests/faults",)
_E2E = ("tests/e2e",)


def _e2e_files(first: str, last: str) -> tuple[str, ...]:
    """Return the end-to-end tests whose subject begins with one of these characters."""
    files = sorted(str(path.relative_to(ROOT)) for path in ROOT.glob("tests/e2e/test_*.py"))
    return tuple(
        path for path in files if first <= Path(path).name.removeprefix("test_")[0] <= last
    )


# The longest first; together, all tests there are.
_WHOLE = (
    Run(RELEASES[0], "unit", ("tests", *(f"--ignore=tests/{each}" for each in ON_CLUSTER))),
    Run(RELEASES[0], "e2e q-z", _e2e_files("q", "z")),
    Run(RELEASES[0], "e2e p", _e2e_files("p", "p")),
    Run(RELEASES[0], "faults", _FAULTS),
    Run(RELEASES[0], "e2e a-h", _e2e_files("a", "h")),
    Run(RELEASES[0], "attacks", ("tests/attacks",)),
    Run(RELEASES[0], "e2e i-o", _e2e_files("i", "o")),
)
SOME = (
    *_WHOLE,
    Run("trixie", "main job", _MAIN_JOB),
    Run("sid", "main job", (*_MAIN_JOB, "tests/e2e/test_accounting.py"), accounting=True),
)


def _all() -> Iterator[Run]:
    yield from _WHOLE
    for release in RELEASES:
        for accounting in (False, True):
            if (release, accounting) != (RELEASES[0], False):
                yield Run(release, "e2e", _E2E, accounting=accounting)
                yield Run(release, "faults", _FAULTS, accounting=accounting)


@dataclass
class Story:
    """The state of a run; it grows during the run."""

    run: Run
    planned: int = 0
    """How many tests pytest has collected."""
    facts: dict[str, str] = field(default_factory=dict)
    """`slurm`, `python`: the versions."""
    results: dict[str, str] = field(default_factory=dict)
    """Test: ok, FAILED or skipped."""
    parts: list[tuple[float, str, str]] = field(default_factory=list)
    """Seconds, part and name of everything that was timed."""
    now: str = ""
    """The test that runs, or that ran when the run broke off."""
    now_since: float = 0.0
    began: float = field(default_factory=time.monotonic)
    seconds: float = 0.0
    """How long the run took."""
    code: int = 1
    """Of pytest."""
    cut: str = ""
    """Why the run was not let to its end."""

    def take(self, event: dict[str, Any]) -> list[str]:
        """Note an event of tests/events.py; return the lines to print at once."""
        kind, test = event["kind"], event.get("test", "")
        if kind == "collected":
            self.planned = event["count"]
        elif kind == "fact":
            self.facts[event["name"]] = event["value"]
        elif kind == "start":
            self.now, self.now_since = test, time.monotonic()
        elif kind == "finish":
            self.now = ""
        elif kind == "end":
            return self._end(test, event)
        return []

    def _end(self, test: str, event: dict[str, Any]) -> list[str]:
        outcome, part, seconds = event["outcome"], event["part"], event["seconds"]
        self.parts.append((seconds, part, test))
        if outcome == "failed":
            self.results[test] = "FAILED"
            reason = [f"    {line}" for line in event["reason"].splitlines()]
            return [f"FAILED {test} ({part}, {seconds:.0f} s)", *reason]
        if outcome == "skipped":
            self.results[test] = "skipped"
        elif part == "call":
            self.results[test] = "ok"
        return []

    def progress(self) -> str:
        """Return where the run is."""
        now = time.monotonic()
        done = f"{len(self.results)} of {self.planned} tests after {_clock(now - self.began)}"
        if failed := list(self.results.values()).count("FAILED"):
            done += f", {failed} FAILED"
        return f"{done}; now {self.now}, for {now - self.now_since:.0f} s" if self.now else done

    def total(self) -> str:
        """`12 ok, 1 FAILED`, and the fate of the rest."""
        ends = list(self.results.values())
        words = [f"{ends.count(end)} {end}" for end in ("ok", "FAILED", "skipped") if end in ends]
        if self.cut:
            words.append(self.cut)
        elif self.now:
            words.append("broken off")
        return ", ".join(words) or "nothing ran"

    def routes(self) -> list[str]:
        """Return for each route of test_routes.py: ok, FAILED, skipped or `-` (not run)."""
        results = {test.rpartition("::")[2]: result for test, result in self.results.items()}
        return [results.get(f"{_ROUTE_TEST}[{route}]", "-") for route in test_routes.ROUTES]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.matrix", description=__doc__)
    parser.add_argument("--all", action="store_true", help="all end-to-end tests on every release")
    parser.add_argument("--limit", type=float, default=_RUN_S, help="seconds for each run")
    options = parser.parse_args()
    for number in (signal.SIGTERM, signal.SIGHUP):  # end the runs, as Ctrl-C does
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler)
    name = "make test-all" if options.all else "make test"
    return run_all(tuple(_all()) if options.all else SOME, options.limit, name)


def run_all(runs: Sequence[Run], limit_s: float, name: str) -> int:
    """Run them, several at a time, and print what came out; return the exit code."""
    began = time.monotonic()
    stop = threading.Event()
    with ThreadPoolExecutor(_AT_A_TIME) as pool:
        futures = [pool.submit(_run, run, limit_s, stop) for run in runs]
        try:
            stories = [future.result() for future in futures]
        except KeyboardInterrupt:
            stop.set()
            stories = [future.result() for future in futures]
    print("\n" + "\n".join(table(stories)))
    print(f"\nThe {_SLOWEST} slowest:\n" + "\n".join(slowest(stories)))
    print("\n" + duration(name, time.monotonic() - began, stories))
    if stop.is_set():
        return 128 + signal.SIGINT
    return 1 if any(story.code or story.cut for story in stories) else 0


def _run(run: Run, limit_s: float, stop: threading.Event) -> Story:
    story = Story(run)
    if stop.is_set():
        story.cut = "not begun"
        return story
    _say(run, ["begun"])
    with (
        tempfile.TemporaryDirectory() as folder,
        (Path(folder) / "output").open("w+b") as output,
        (Path(folder) / "events").open("w+", encoding="utf-8") as events,
    ):
        # In its own session: signals from the terminal or the shell are for this program.
        process = subprocess.Popen(
            [*run.command, "--events", events.name],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            _follow(process, story, events, limit_s, stop)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            story.code = process.wait()
        story.seconds = time.monotonic() - story.began
        output.seek(0)
        text = output.read().decode(errors="replace")
    _say(run, [f"ended after {_clock(story.seconds)}, exit code {story.code}: {story.total()}"])
    if story.now:
        _say(run, [f"BROKEN OFF {story.now}, after {time.monotonic() - story.now_since:.0f} s"])
    with _printing:
        print(f"\n=== {run}\n\n{text}", flush=True)
    return story


def _follow(
    process: subprocess.Popen[bytes],
    story: Story,
    events: IO[str],
    limit_s: float,
    stop: threading.Event,
) -> None:
    """Print the news until the run has ended; interrupt it at its limit or when `stop` is set."""
    said = story.began
    deadline = story.began + limit_s
    going_on = True
    while going_on:
        going_on = process.poll() is None  # before the last look at what it has written
        lines = [line for event in _read(events) for line in story.take(event)]
        now = time.monotonic()
        if going_on and not story.cut and (stop.is_set() or now > deadline):
            story.cut = "interrupted" if stop.is_set() else f"CUT after {limit_s:.0f} s"
            lines += [f"{story.cut}; {story.progress()}"]
            deadline = now + _LAST_WORDS_S
            process.send_signal(signal.SIGINT)
        elif going_on and now > deadline:
            return
        if not lines and now > said + _SILENT_S:
            lines = [story.progress()]
        if lines:
            _say(story.run, lines)
            said = now
        if going_on:
            time.sleep(_LOOK_S)


def _read(events: IO[str]) -> Iterator[dict[str, Any]]:
    """Return the events that are new and complete."""
    while True:
        place = events.tell()
        line = events.readline()
        if not line.endswith("\n"):
            events.seek(place)
            return
        yield json.loads(line)


_printing = threading.Lock()


def _say(run: Run, lines: Sequence[str]) -> None:
    with _printing:
        print("\n".join(f"[{run}] {line}" for line in lines), flush=True)


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02}"


def table(stories: Sequence[Story]) -> list[str]:
    """Return the lines of the table, in columns."""
    rows = [("Debian", "Slurm", "Python", "accounting", *test_routes.ROUTES, "time", "tests")]
    rows += [
        (
            story.run.release,
            story.facts.get("slurm", "?"),
            story.facts.get("python", "?"),
            "slurmdbd" if story.run.accounting else "none",
            *story.routes(),
            _clock(story.seconds),
            f"{story.run.what}: {story.total()}",
        )
        for story in stories
    ]
    return _columns(rows)


def slowest(stories: Sequence[Story]) -> list[str]:
    """Return the slowest parts of all runs."""
    parts = [(*part, str(story.run)) for story in stories for part in story.parts]
    rows = [
        (f"{seconds:7.1f} s", part, run, test)
        for seconds, part, test, run in sorted(parts, reverse=True)[:_SLOWEST]
    ]
    return _columns(rows)


def duration(name: str, seconds: float, stories: Sequence[Story]) -> str:
    """Return the line for docs/contributing.md."""
    runs = ", ".join(f"{story.run} {_clock(story.seconds)}" for story in stories)
    cores = len(os.sched_getaffinity(0))
    return f"`{name}` took {_clock(seconds)} minutes on {cores} cores: {runs}."


def _columns(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(word.ljust(width) for word, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


if __name__ == "__main__":
    sys.exit(main())
