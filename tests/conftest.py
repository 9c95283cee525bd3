"""What the tests share: recorded answers of Slurm, a state directory, the real cluster."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from slurm_nb.job.spec import JobSpec
from slurm_nb.session.store import Store
from tests.cluster import RELEASES, Cluster, ensure_environment, missing

ROOT = Path(__file__).resolve().parents[1]
DATA = Path(__file__).parent / "data"
NONCE = "5f" * 16
"""What the lines of the job in the tests carry."""

AddProgram = Callable[[str, str], Path]


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("the real cluster")
    group.addoption("--release", choices=RELEASES, help="whose Slurm and Python; else own")
    group.addoption("--accounting", action="store_true", help="with slurmdbd on a MariaDB")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "slow: takes seconds, and a package index to build from")


def recorded(name: str) -> list[str]:
    """The lines of a recording in tests/data, without the first one, which says what it is."""
    return (DATA / name).read_text(encoding="utf-8").splitlines()[1:]


def recorded_json(name: str) -> list[Any]:
    """The same for recordings with one JSON array per line."""
    return [json.loads(line) for line in recorded(name)]


@pytest.fixture
def spec() -> JobSpec:
    """A job that asks for nothing in particular."""
    return JobSpec(notebook_dir=Path("/"), python=Path("/usr/bin/true"))


@pytest.fixture
def clean_environ(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """No variable of a Slurm, a session or an ssh login that the tests happen to run in."""
    for name in list(os.environ):
        if name.startswith(
            ("SLURM", "SBATCH_", "SQUEUE_", "SACCT_", "SCANCEL_", "SSH_", "JUPYTER_")
        ):
            monkeypatch.delenv(name)
    return monkeypatch


@pytest.fixture
def store(tmp_path: Path, clean_environ: pytest.MonkeyPatch) -> Store:
    """The state directory of this test, as SLURM_NB_HOME names it; no config file is there."""
    clean_environ.setenv("SLURM_NB_HOME", str(tmp_path / "state"))
    clean_environ.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return Store.of_user(os.environ)


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AddProgram:
    """Put a shell script of the given name and body in front of everything on PATH."""
    folder = tmp_path / "programs"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")

    def add(name: str, body: str) -> Path:
        path = folder / name
        path.write_text(f"#!/bin/bash\n{body}\n", encoding="utf-8")
        path.chmod(0o755)
        return path

    return add


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this checkout: SLURM_NB_WHEEL, else built here."""
    if "SLURM_NB_WHEEL" in os.environ:
        return Path(os.environ["SLURM_NB_WHEEL"])
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--outdir", str(folder), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True, timeout=600)
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="session")
def cluster(
    wheel: Path,
    pytestconfig: pytest.Config,
    record_testsuite_property: Callable[[str, object], None],
) -> Iterator[Cluster]:
    """A real Slurm on hosts of its own; without one the tests are skipped, in CI they fail."""
    release: str | None = pytestconfig.getoption("--release")
    accounting: bool = pytestconfig.getoption("--accounting")
    lacking = missing(release, accounting=accounting)
    if lacking:
        words = "no real cluster: " + " ".join(lacking)
        if os.environ.get("CI"):
            pytest.fail(words)
        pytest.skip(words)
    with Cluster.start("tests", release=release, accounting=accounting) as running:
        environment = ensure_environment(running, wheel)
        for name, command in (("slurm", "sbatch"), ("python", environment.python)):
            said = running.login.run([command, "--version"]).stdout
            record_testsuite_property(name, said.split()[-1])
        yield running


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Skips are loud: the last thing that is seen."""
    skipped = terminalreporter.stats.get("skipped", [])
    if skipped:
        terminalreporter.section(f"{len(skipped)} TESTS WERE SKIPPED", sep="!", red=True)
        for reason in sorted({str(report.longrepr[2]) for report in skipped}):
            terminalreporter.line(reason)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """In CI, a skipped test is a failed one."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    skipped = reporter.stats.get("skipped", []) if reporter else []
    if os.environ.get("CI") and skipped and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
