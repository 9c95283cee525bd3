"""Files may contain anything when read back: no hang, no traceback, and no more than 100 MiB.

A crash, a full disk, an editor, a notebook, a wrapper of the site's or another version may have
written them. The only errors are those that the program reports on one line. All of it takes less
than a minute; the examples are the same in each run.
"""

from __future__ import annotations

import json
import os
import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import wraps
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from slurm_nb.config.layers import load
from slurm_nb.connection.login import find_login
from slurm_nb.diagnosis.explain import explain
from slurm_nb.errors import SlurmNbError
from slurm_nb.job.spec import JobSpec
from slurm_nb.joblog.events import MARK
from slurm_nb.joblog.reader import JobLog
from slurm_nb.joblog.tail import lines_of, tail_of
from slurm_nb.operations.listing import find_entry, list_sessions
from slurm_nb.operations.prune import clean_up
from slurm_nb.paths import state_dir
from slurm_nb.scheduler import accounts, slurm
from slurm_nb.scheduler.environment import job_environment, sbatch_environment
from slurm_nb.scheduler.job import Job, JobState
from slurm_nb.scheduler.job import Phase as JobPhase
from slurm_nb.scheduler.parse import (
    parse_place,
    parse_sacct,
    parse_scontrol,
    parse_squeue,
    unreadable_line,
)
from slurm_nb.scheduler.run import Result
from slurm_nb.scheduler.slurm import Slurm
from slurm_nb.session.store import Store
from slurm_nb.times import duration, seconds_since, seconds_until, time_limit_s
from tests.conftest import NONCE
from tests.fakes import READY, SEVEN, TOKEN, WHO, told

_MOST_BYTES = 100 << 20
_LONGEST_S = 5.0

fuzz = settings(
    max_examples=25,
    deadline=None,  # measured below, without the time that generation takes
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)

texts = st.text(max_size=200)
words = st.sampled_from(
    [
        "7", "hpc", "RUNNING", "FAILED", "COMPLETED", "N/A", "None", "(null)", "|", "=", "\n", "\r",
        "\x1b[31m", "\0", "\u2028", "\u202e", "JobId=", "   JobState=", "   Command=/", " Reason=",
        "   UserId=root(0) GroupId=", "   StartTime=", "2026-11-23T14:00:00", "9" * 30, "-1",
        "Invalid job id specified", "CLUSTER: x", "slurm-nb ready: ", "slurm-nb ended: ", "{", "}",
        "[", '"', "PartitionName=", "AllowGroups=", NONCE,
    ]
)  # fmt: skip
answers = st.lists(st.one_of(words, texts), max_size=40).map("".join)
json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), texts, st.just(2**70)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.one_of(words, texts), inner, max_size=4)
    ),
    max_leaves=12,
)


@pytest.fixture(scope="module", autouse=True)
def _hypothesis_is_ready() -> None:
    """Its first values need tables, such as one of all characters, which takes 200 MiB once."""

    @given(texts, answers, json_values)
    @fuzz
    def first(_text: str, _answer: str, _value: object) -> None:
        pass

    first()


@pytest.fixture(autouse=True)
def _little_memory(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Check how much memory each test adds to the program, and skip fsync."""
    monkeypatch.setattr(os, "fsync", lambda _: None)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 < _MOST_BYTES


def soon(call: Callable[..., object]) -> Callable[..., None]:
    """Fail when one example takes long; an error of slurm-nb is an answer."""

    @wraps(call)
    def timed(*args: Any, **more: Any) -> None:
        began = time.monotonic()
        with suppress(SlurmNbError):
            call(*args, **more)
        assert time.monotonic() - began < _LONGEST_S

    return timed


def full_store(folder: str) -> Store:
    """Return a state directory with session 7 and one of each file."""
    store = Store(Path(folder))
    for name in ("jobs", "sessions", "submitting", "answers", "kits"):
        (store.folder / name).mkdir(mode=0o700, exist_ok=True)
    store.save(SEVEN)
    for name, text in (("token", TOKEN), ("nonce", NONCE), ("submission", "")):
        path = store.session_folder("hpc", "7") / name
        path.write_text(text)
        path.chmod(0o600)
    store.log_path("7").write_text(told("started") + READY)
    return store


FILES = {
    "sessions/hpc/7/session.json": {"version": 1, "job_id": "7", "cluster": "hpc", "ready": None},
    "sessions/hpc/7/ended.json": {
        "slurm_state": "FAILED", "reason": "", "cause": "x", "text": "", "evidence": "", "cure": "",
        "at": 1,
    },
    "sessions/hpc/7/witness.json": {"at": 1},
    "sessions/hpc/7/activity.json": {"active_at": None},
    "answers/hpc.json": {"jobs": {"7": {"state": {"phase": "running", "word": "x"}, "at": 1.0}},
                         "failed_at": None, "failure": ""},
    "submitting/0a.json": {"script": "/x", "clusters": "", "began_at": 1.0,
                           "process": {"host": "x", "boot_id": "x", "pid": 1, "start_ticks": 1},
                           "session": {"version": 1, "job_id": "", "cluster": "hpc",
                                       "ready": None}},
}  # fmt: skip


def changed(record: Any, changes: list[tuple[int, Any]]) -> Any:
    """Return `record` with some of its values, however deep, replaced."""
    at = iter(range(10_000))
    by = dict(changes)

    def walk(value: Any) -> Any:
        number = next(at)
        if number in by:
            return by[number]
        if isinstance(value, dict):
            return {key: walk(each) for key, each in value.items()}
        return value

    return walk(record)


def look(store: Store, squeue: str = "", code: int = 0) -> None:
    """Run what list, status, wait and logs read."""
    answers = {"squeue": Result(code, squeue, ""), "sacct": Result(1, "", "")}

    def answer(argv: list[str], **_: object) -> Result:
        return answers.get(argv[0], Result(0, "ClusterName = hpc\n", ""))

    with patch.object(slurm, "run", answer):
        list_sessions(store)
        find_entry(store, SEVEN)
        store.token(SEVEN)
    clean_up(store)


@pytest.mark.parametrize("name", FILES)
@given(changes=st.lists(st.tuples(st.integers(0, 14), json_values), max_size=4))
@fuzz
def test_a_record_with_any_values(name: str, changes: list[tuple[int, Any]]) -> None:
    """It may have the right shape or not."""
    with tempfile.TemporaryDirectory() as folder:
        store = full_store(folder)
        path = store.folder / name
        path.write_text(json.dumps(changed(FILES[name], changes)))
        path.chmod(0o600)
        soon(look)(store)


@pytest.mark.parametrize("name", [*FILES, "sessions/hpc/7/token", "sessions/hpc/7/nonce"])
@given(data=st.binary(max_size=300), cut=st.integers(0, 60))
@fuzz
def test_a_file_with_any_bytes(name: str, data: bytes, cut: int) -> None:
    """It may begin with the expected content."""
    with tempfile.TemporaryDirectory() as folder:
        store = full_store(folder)
        path = store.folder / name
        path.write_bytes(json.dumps(FILES.get(name, "")).encode()[:cut] + data)
        path.chmod(0o600)
        soon(look)(store)


@given(squeue=answers, code=st.integers(-9, 255))
@fuzz
def test_an_answer_of_squeue(squeue: str, code: int) -> None:
    """list and status read it; the token of the session stays."""
    with tempfile.TemporaryDirectory() as folder:
        store = full_store(folder)
        soon(look)(store, squeue, code)
        assert store.token(SEVEN) == TOKEN


@given(text=answers)
@fuzz
def test_an_answer_of_any_slurm_command(text: str) -> None:
    """It is the text of squeue, sacct, scontrol, sinfo or sacctmgr, also about a job."""

    @soon
    def read() -> None:
        parse_squeue(text)
        unreadable_line(text)
        parse_sacct(text)
        parse_scontrol(text, "7")
        parse_place(text, "7")
        accounts.parse_associations(text)
        accounts.parse_partitions(text, text, accounts=("a",), groups=("g",))
        time_limit_s(text)

    @soon
    def ask() -> None:
        with patch.object(slurm, "run", lambda *_, **__: Result(0, text, text)):
            state = Slurm(Store(Path("/nonexistent"))).states([Job("7", "hpc", script="/x")])["7"]
        assert state.phase is not JobPhase.ENDED or state.id_reused or "7" in text

    read()
    ask()
    seconds_until(text, 0.0)
    seconds_since(text, 0.0)


@given(seconds=st.floats(0, 1e11))
@fuzz
def test_a_time(seconds: float) -> None:
    """It is a time of a record, as it is shown."""
    assert duration(seconds)


@given(
    lines=st.lists(
        st.one_of(
            texts,
            answers,
            st.tuples(
                st.sampled_from(["started", "notice", "ready", "warning", "stopping", "failed"]),
                st.dictionaries(
                    st.sampled_from(["node", "port", "path", "text", "kind", "cure", "began_at"]),
                    json_values,
                ),
            ).map(lambda each: f"{MARK}{each[0]}: {json.dumps({**WHO, **each[1]})}"),
        ),
        max_size=20,
    ),
    data=st.binary(max_size=500),
)
@fuzz
def test_a_jobs_output(lines: list[str], data: bytes) -> None:
    """It mixes the job's own lines with those that anything in it prints."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "log"
        path.write_bytes("\n".join(lines).encode(errors="replace") + data)

        @soon
        def read() -> None:
            log = JobLog(path, cluster="hpc", job_id="7", nonce=lambda: NONCE)
            progress = log.read()
            explain("7", JobState(JobPhase.ENDED, "FAILED"), progress, log.tail())
            list(lines_of(path, tail_of(path, 3)))

        read()


@given(
    toml=st.lists(
        st.one_of(
            words,
            texts,
            st.sampled_from(
                ["[profile.x]", "[", "]]", "a.b.c = 1", "time = 1:00", 'time = "', "locked = [",
                 "\n", "= =", "[[maximum]]", "[maximum]", 'mem = "4G"', "'''", '"""', "#", "\ufeff"]
            ),
        ),
        max_size=30,
    ).map("\n".join)
)  # fmt: skip
@fuzz
def test_a_config_file(toml: str) -> None:
    """It belongs to the user; the site's is read in the same way."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "slurm-nb" / "config.toml"
        path.parent.mkdir()
        path.write_text(toml, encoding="utf-8", errors="replace")
        path.chmod(0o600)
        environ = {"XDG_CONFIG_HOME": folder, "SLURM_NB_SITE_CONFIG": str(path)}
        soon(load)(environ, [])


names = st.sampled_from(
    ["HOME", "PATH", "SLURM_NB_HOME", "XDG_STATE_HOME", "SBATCH_EXPORT", "SSH_CONNECTION",
     "SLURM_CLUSTERS", "LANG", "SBATCH_CLUSTERS", "SLURM_JOB_ID", "TMPDIR"]
)  # fmt: skip


@given(
    environ=st.dictionaries(st.one_of(names, texts), st.one_of(words, texts)),
    options=st.lists(st.one_of(texts, st.sampled_from(["--export", "--export=ALL,", "-M", "-"]))),
)
@fuzz
def test_an_environment(environ: dict[str, str], options: list[str]) -> None:
    """It is combined with options of sbatch."""

    @soon
    def read() -> None:
        job_environment(environ, commands="/usr/bin")
        sbatch_environment(environ, options, commands=None)
        find_login(environ)
        state_dir(environ)

    read()
    soon(JobSpec)(notebook_dir=Path("/"), sbatch_options=tuple(options))


def test_a_huge_file_of_each_kind_costs_little() -> None:
    """A gigabyte of nothing in each place."""
    with tempfile.TemporaryDirectory() as folder:
        store = full_store(folder)
        for name in [*FILES, "sessions/hpc/7/token", "sessions/hpc/7/nonce"]:
            path = store.folder / name
            path.touch(mode=0o600)
            os.truncate(path, 1 << 30)
        soon(look)(store)
