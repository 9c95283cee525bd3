"""A job's output is followed as it grows, whatever it holds."""

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


def test_a_log_that_is_missing_has_not_appeared_yet(log: JobLog, path: Path) -> None:
    """NFS may show a log late: until then nothing is known, and then everything is."""
    assert log.read() == Progress()
    assert log.tail() == []

    append(path, STARTED + READY)

    assert log.read().ready == WHERE


def test_a_log_whose_folder_is_missing_has_not_appeared_yet(tmp_path: Path) -> None:
    """Neither is a missing folder an error."""
    log = JobLog(tmp_path / "no" / "log", cluster="hpc", job_id="7", nonce=lambda: NONCE)

    assert log.read() == Progress()


def test_a_nonce_that_comes_late_is_waited_for(path: Path) -> None:
    """Until the job's nonce can be read none of its lines is believed, and then all are."""
    nonces: list[str | None] = [None, None, NONCE]
    log = JobLog(path, cluster="hpc", job_id="7", nonce=lambda: nonces.pop(0))
    append(path, STARTED)
    first = log.read()
    append(path, READY)

    assert first == log.read() == Progress()
    assert log.read() == Progress(started=True, ready=WHERE)


def test_a_line_that_does_not_know_the_nonce_is_not_the_jobs(log: JobLog, path: Path) -> None:
    """What a notebook prints into the job's output can't send the user elsewhere."""
    forged = READY.replace(b"c1", b"evil")
    append(path, STARTED + READY)
    append(path, forged.replace(NONCE.encode(), b"00" * 16))
    append(path, forged.replace(f', "nonce": "{NONCE}"'.encode(), b""))

    assert log.read().ready == WHERE


def test_a_log_that_cannot_be_read_says_nothing(log: JobLog, path: Path) -> None:
    """A directory in the log's place breaks nothing."""
    path.mkdir()

    assert log.read() == Progress()


def test_a_log_is_read_as_it_grows(log: JobLog, path: Path) -> None:
    """Each call takes in what came since the last one."""
    append(path, b"chatter\n" + STARTED)
    assert log.read() == Progress(started=True)
    assert log.read() == Progress(started=True)

    append(path, b"more chatter\n" + READY)
    assert log.read() == Progress(started=True, ready=WHERE)

    append(path, ENDED)
    assert log.read() == Progress(started=True, exit_code=1)


def test_a_line_may_come_byte_by_byte(log: JobLog, path: Path) -> None:
    """A ready line counts when it is complete, and not before."""
    for byte in READY[:-1]:
        append(path, bytes([byte]))
        assert log.read().ready is None

    append(path, b"\n")

    assert log.read().ready == WHERE


def test_what_was_read_is_not_read_again(log: JobLog, path: Path) -> None:
    """What stood in the log before the last call has no say any more."""
    append(path, STARTED + READY)
    log.read()
    path.write_bytes(b"#" * len(STARTED + READY) + ENDED)

    assert log.read() == Progress(started=True, exit_code=1)


def test_a_truncated_log_is_read_from_its_beginning(log: JobLog, path: Path) -> None:
    """A run that began the file anew is followed, and the old run's lines are forgotten."""
    append(path, b"old words\n" * 50 + STARTED + READY + b"half a li")
    log.read()

    path.write_bytes(STARTED + b"new words\n")

    assert log.read() == Progress(started=True)
    assert log.tail() == ["new words"]


def test_a_truncated_log_that_is_empty_knows_nothing(log: JobLog, path: Path) -> None:
    """Between two runs the old run's port is not held for the new one's."""
    append(path, STARTED + READY)
    log.read()

    path.write_bytes(b"")

    assert log.read().ready is None


@pytest.mark.parametrize("length", [4095, 4096, 4097, (1 << 20) - 1, 1 << 20, 3_000_000])
def test_a_long_line_hides_nothing(log: JobLog, path: Path, length: int) -> None:
    """Whatever the length of a line, the line after it is found."""
    append(path, b"x" * length + b"\n" + READY)

    assert log.read().ready == WHERE


def test_a_line_that_never_ends_costs_no_memory(log: JobLog, path: Path) -> None:
    """Megabytes without a newline are read past, in pieces, and only a beginning is kept."""
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
def test_a_ready_line_inside_a_long_line_is_not_one(log: JobLog, path: Path, length: int) -> None:
    """What a notebook prints without a newline before it is not at the beginning of a line."""
    append(path, b"z" * length)
    log.read()
    append(path, READY)

    assert log.read().ready is None


def test_bytes_that_are_not_utf_8_are_passed_over(log: JobLog, path: Path) -> None:
    """Output in another encoding breaks nothing, and is shown as far as it can be."""
    append(path, b"caf\xe9 \xff\xfe\x80\n" + READY)

    assert log.read().ready == WHERE
    assert log.tail() == ["caf\ufffd \ufffd\ufffd\ufffd"]


def test_a_character_cut_in_two_is_put_together(log: JobLog, path: Path) -> None:
    """A log read in the middle of a character shows that character in the end."""
    append(path, "caf\u00e9".encode()[:-1])
    log.read()
    append(path, "caf\u00e9\n".encode()[-2:])
    log.read()

    assert log.tail() == ["café"]


def test_the_tail_is_what_others_wrote_last(log: JobLog, path: Path) -> None:
    """The last lines, without slurm-nb's own and empty ones, with the one still being written."""
    lines = b"".join(b"line %d\n" % number for number in range(100))
    append(path, STARTED + lines + b"\n  \n" + ENDED + b"half a line")
    log.read()

    tail = log.tail()

    assert tail[-3:] == ["line 98", "line 99", "half a line"]
    assert 5 <= len(tail) <= 30


def test_slurm_nbs_own_lines_do_not_push_others_out_of_the_tail(log: JobLog, path: Path) -> None:
    """However much the job says of itself, the reason that it failed is still shown."""
    append(path, STARTED + b"the reason\n" + (b"\n" + READY + b"\n" + ENDED) * 20)
    log.read()

    assert log.tail() == ["the reason"]


def test_the_tail_is_of_the_current_run(log: JobLog, path: Path) -> None:
    """What ended a run that was requeued is not taken for what ended the next one."""
    append(path, STARTED + b"slurmstepd: error: *** JOB 7 ON c1 CANCELLED ...\n")
    log.read()

    append(path, STARTED + b"[I ServerApp] Shutting down\n")
    log.read()

    assert log.tail() == ["[I ServerApp] Shutting down"]


def test_no_file_is_left_open(log: JobLog, path: Path) -> None:
    """A wait of days holds no file open, so that it can be removed on any file system."""
    append(path, STARTED)
    before = len(list(Path("/proc/self/fd").iterdir()))

    for _ in range(20):
        log.read()

    assert len(list(Path("/proc/self/fd").iterdir())) == before
