"""The events of a run of pytest, written as they happen: `--events FILE`, one JSON object a line.

tests/matrix.py reads the file during the run, so nothing is lost if the run is interrupted.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import IO

import pytest

_FILE = pytest.StashKey[IO[str]]()


def add_option(parser: pytest.Parser) -> None:
    """Add `--events`; tests/conftest.py calls it, which registers this module only later."""
    parser.addoption("--events", type=Path, help="write what happens to this file, as it happens")


def pytest_configure(config: pytest.Config) -> None:
    path: Path | None = config.getoption("--events")
    if path is not None:
        file = path.open("w", encoding="utf-8", buffering=1)
        config.stash[_FILE] = file
        config.pluginmanager.register(_Reporter(config))


def pytest_unconfigure(config: pytest.Config) -> None:
    if _FILE in config.stash:
        config.stash[_FILE].close()


def note(config: pytest.Config, kind: str, **facts: object) -> None:
    """Write an event, if they are written at all."""
    if _FILE in config.stash:
        config.stash[_FILE].write(json.dumps({"kind": kind, **facts}) + "\n")


class _Reporter:
    def __init__(self, config: pytest.Config) -> None:
        self._config = config

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self._end(report.nodeid, "collection", "failed", 0, report.longreprtext)

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        note(self._config, "collected", count=len(session.items))

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        note(self._config, "start", test=nodeid)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        reason = ""
        if report.failed:
            sections = [f"--- {title}\n{text.rstrip()}" for title, text in report.sections]
            reason = "\n".join([report.longreprtext, *sections])
        elif report.skipped and isinstance(report.longrepr, tuple):
            reason = str(report.longrepr[2])
        self._end(report.nodeid, report.when or "", report.outcome, report.duration, reason)

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        note(self._config, "finish", test=nodeid)

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self) -> None:
        """Keep the terminal from repeating the reasons, which were printed before."""
        self._config.option.tbstyle = "no"

    def _end(self, test: str, part: str, outcome: str, seconds: float, reason: str) -> None:
        note(
            self._config, "end", test=test, part=part, outcome=outcome, seconds=seconds,
            reason=reason,
        )  # fmt: skip
