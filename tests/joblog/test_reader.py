"""A job's output is read as it grows, with any content."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import pytest

from slurm_nb.joblog.events import Progress, Ready
from slurm_nb.joblog.reader import JobLog
from tests.conftest import NONCE

WHO = f'{{"cluster": "hpc", "job_id": "7", "nonce": "{NONCE}"'.encode()
STARTED = b"slurm-nb started: " + WHO + b"}\n"
READY = b"slurm-nb ready: " + WHO + b', "node": "c1", "port": 40123, "path": "/tree"}\n'
ENDED = b"slurm-nb ended: " + WHO + b', "exit_code": 1}\n'
WHERE = Ready("c1", 40123, "/tree")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "7_0_log.out"


@pytest.fixture
def log(path: Path) -> JobLog:
    return JobLog(path, cluster="hpc", job_id="7", nonce=lambda: NONCE)


def append(path: Path, data: bytes) -> None:
    with path.open("ab") as file:
        file.write(data)


def test_a_missing_log_may_still_appear(log: JobLog, path: Path) -> None:
    """NFS may show a log late; nothing is lost by then."""
    assert log.read() == Progress()
    assert log.tail() == []

    append(path, STARTED + READY)

    assert log.read().ready == WHERE


def test_a_log_in_a_missing_folder_may_still_appear(tmp_path: Path) -> None:
    """A missing folder is not an error."""
    log = JobLog(tmp_path / "no" / "log", cluster="hpc", job_id="7", nonce=lambda: NONCE)

    assert log.read() == Progress()


def test_reading_waits_for_a_late_nonce(path: Path) -> None:
    """Until the nonce can be read, no line is trusted; afterwards all are."""
    nonces: list[str | None] = [None, None, NONCE]
    log = JobLog(path, cluster="hpc", job_id="7", nonce=lambda: nonces.pop(0))
    append(path, STARTED)
    first = log.read()
    append(path, READY)

    assert first == log.read() == Progress()
    assert log.read() == Progress(started=True, ready=WHERE)


def test_a_line_without_the_nonce_is_not_the_jobs(log: JobLog, path: Path) -> None:
    """A notebook's output cannot redirect the user."""
    forged = READY.replace(b"c1", b"evil")
    append(path, STARTED + READY)
    append(path, forged.replace(NONCE.encode(), b"00" * 16))
    append(path, forged.replace(f', "nonce": "{NONCE}"'.encode(), b""))

    assert log.read().ready == WHERE


def test_an_unreadable_log_says_nothing(log: JobLog, path: Path) -> None:
    """A directory in place of the log does no harm."""
    path.mkdir()

    assert log.read() == Progress()


def test_a_log_is_read_as_it_grows(log: JobLog, path: Path) -> None:
    """Each call reads everything since the last one."""
    append(path, b"chatter\n" + STARTED)
    assert log.read() == Progress(started=True)
    assert log.read() == Progress(started=True)

    append(path, b"more chatter\n" + READY)
    assert log.read() == Progress(started=True, ready=WHERE)

    append(path, ENDED)
    assert log.read() == Progress(started=True, exit_code=1)


def test_a_line_may_arrive_byte_by_byte(log: JobLog, path: Path) -> None:
    """The ready line is read once it is complete."""
    for byte in READY[:-1]:
        append(path, bytes([byte]))
        assert log.read().ready is None

    append(path, b"\n")

    assert log.read().ready == WHERE


def test_no_part_is_read_twice(log: JobLog, path: Path) -> None:
    """Changes before the last position have no effect."""
    append(path, STARTED + READY)
    log.read()
    path.write_bytes(b"#" * len(STARTED + READY) + ENDED)

    assert log.read() == Progress(started=True, exit_code=1)


def test_a_truncated_log_is_read_from_its_beginning(log: JobLog, path: Path) -> None:
    """The reader follows a run that restarted the file and drops the old run's lines."""
    append(path, b"old words\n" * 50 + STARTED + READY + b"half a li")
    log.read()

    path.write_bytes(STARTED + b"new words\n")

    assert log.read() == Progress(started=True)
    assert log.tail() == ["new words"]


def test_an_empty_truncated_log_says_nothing(log: JobLog, path: Path) -> None:
    """Between two runs the old run's port is not valid."""
    append(path, STARTED + READY)
    log.read()

    path.write_bytes(b"")

    assert log.read().ready is None


@pytest.mark.parametrize("length", [4095, 4096, 4097, (1 << 20) - 1, 1 << 20, 3_000_000])
def test_a_long_line_hides_nothing(log: JobLog, path: Path, length: int) -> None:
    """The line after it is found at any length."""
    append(path, b"x" * length + b"\n" + READY)

    assert log.read().ready == WHERE


def test_a_line_that_never_ends_costs_no_memory(log: JobLog, path: Path) -> None:
    """Megabytes without a newline are read in pieces, and only a beginning is kept."""
    with path.open("ab") as file:
        for _ in range(32):
            file.write(b"y" * (1 << 20))
    tracemalloc.start()
    log.read()
    append(path, b"\n" + READY)
    progress = log.read()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert progress.ready == WHERE
    assert peak < 8 << 20
    assert sum(map(len, log.tail())) < 100_000


@pytest.mark.parametrize("length", [4096, (1 << 16) - 1, 1 << 16, 1 << 17])
def test_a_ready_line_inside_a_long_line_is_ignored(log: JobLog, path: Path, length: int) -> None:
    """A notebook's output without a newline does not make it a new line."""
    append(path, b"z" * length)
    log.read()
    append(path, READY)

    assert log.read().ready is None


def test_bytes_that_are_not_utf_8_do_no_harm(log: JobLog, path: Path) -> None:
    """Text in another encoding is shown as far as possible."""
    append(path, b"caf\xe9 \xff\xfe\x80\n" + READY)

    assert log.read().ready == WHERE
    assert log.tail() == ["caf\ufffd \ufffd\ufffd\ufffd"]


def test_a_character_split_over_two_reads_is_joined(log: JobLog, path: Path) -> None:
    """The tail shows it whole."""
    append(path, "caf\u00e9".encode()[:-1])
    log.read()
    append(path, "caf\u00e9\n".encode()[-2:])
    log.read()

    assert log.tail() == ["café"]


def test_the_tail_is_the_last_output_of_others(log: JobLog, path: Path) -> None:
    """It omits slurm-nb's own and empty lines, and has the unfinished last line."""
    lines = b"".join(b"line %d\n" % number for number in range(100))
    append(path, STARTED + lines + b"\n  \n" + ENDED + b"half a line")
    log.read()

    tail = log.tail()

    assert tail[-3:] == ["line 98", "line 99", "half a line"]
    assert 5 <= len(tail) <= 30


def test_slurm_nbs_own_lines_do_not_fill_the_tail(log: JobLog, path: Path) -> None:
    """The reason for a failure stays visible after any number of them."""
    append(path, STARTED + b"the reason\n" + (b"\n" + READY + b"\n" + ENDED) * 20)
    log.read()

    assert log.tail() == ["the reason"]


def test_the_tail_belongs_to_the_current_run(log: JobLog, path: Path) -> None:
    """The end of a requeued run is not the end of the next one."""
    append(path, STARTED + b"slurmstepd: error: *** JOB 7 ON c1 CANCELLED ...\n")
    log.read()

    append(path, STARTED + b"[I ServerApp] Shutting down\n")
    log.read()

    assert log.tail() == ["[I ServerApp] Shutting down"]


def test_no_file_stays_open(log: JobLog, path: Path) -> None:
    """During a wait of days the file can be removed on any file system."""
    append(path, STARTED)
    before = len(list(Path("/proc/self/fd").iterdir()))

    for _ in range(20):
        log.read()

    assert len(list(Path("/proc/self/fd").iterdir())) == before
