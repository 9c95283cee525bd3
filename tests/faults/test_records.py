"""Broken or missing files of slurm-nb, and several slurm-nb at once: nothing is lost."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.cluster import Cluster
from tests.cluster.users import ALICE
from tests.e2e.scientist import Said
from tests.e2e.watched import await_that
from tests.faults.admin import age_witness
from tests.faults.shared_sessions import SharedSessions, rows, shared_sessions

# Slurm's commands are missing, so the answer is the saved one.
NO_SLURM = {"PATH": "/srv/venv/bin"}
Breakage = Callable[[Path], None]


@pytest.fixture(scope="module")
def shared(cluster: Cluster) -> Iterator[SharedSessions]:
    """Yield sessions; each test repairs what it has broken."""
    with shared_sessions(cluster) as shared:
        yield shared


@contextmanager
def broken(path: Path, breakage: Breakage) -> Iterator[None]:
    """Break a file while the block lasts."""
    kept = path.read_bytes() if path.exists() else None
    breakage(path)
    try:
        yield
    finally:
        if path.is_dir():
            path.rmdir()
        path.unlink(missing_ok=True)
        if kept is not None:
            write(path, kept)


def write(path: Path, data: bytes) -> None:
    """Write like alice, in one step."""
    fresh = path.with_name(f"{path.name}.test")
    fresh.write_bytes(data)
    fresh.chmod(0o600)
    os.chown(fresh, ALICE.uid, ALICE.uid)
    fresh.replace(path)


def half(path: Path) -> None:
    text = path.read_bytes() if path.exists() else b'{"version": 1, "job_id"'
    write(path, text[: len(text) // 2])


def empty(path: Path) -> None:
    write(path, b"")


def binary(path: Path) -> None:
    write(path, bytes(range(256)))


def nested(path: Path) -> None:
    write(path, b"[" * 200_000)


def a_list(path: Path) -> None:
    write(path, b"[1, 2]")


def directory(path: Path) -> None:
    path.unlink(missing_ok=True)
    path.mkdir(mode=0o700)
    os.chown(path, ALICE.uid, ALICE.uid)


def gigabyte(path: Path) -> None:
    write(path, b"{")
    os.truncate(path, 1 << 30)


def of_a_newer_version(path: Path) -> None:
    record = json.loads(path.read_text())
    write(path, json.dumps({**record, "version": 2, "more": True}).encode())


def of_another_session(path: Path) -> None:
    record = json.loads(path.read_text())
    write(path, json.dumps({**record, "job_id": "999999"}).encode())


def with_numbers_for_texts(path: Path) -> None:
    """Replace every text with a number, even in nested values, except in `version`."""

    def turned(value: object) -> object:
        if isinstance(value, dict):
            return {key: turned(each) for key, each in value.items()}
        return 7 if isinstance(value, str) else value

    write(path, json.dumps(turned(json.loads(path.read_text()))).encode())


ANY: tuple[Breakage, ...] = (half, empty, binary, nested, a_list, directory, gigabyte)


@pytest.mark.parametrize(
    "breakage", [*ANY, of_a_newer_version, of_another_session, with_numbers_for_texts]
)
def test_a_broken_session_file_hides_no_other_session(
    shared: SharedSessions, breakage: Breakage
) -> None:
    """session.json is broken: list (0) shows the others and one line about this one, which names
    the file and the scancel; status, tunnel-cmd and cancel end with 1 and the same line; the job
    runs.
    """
    path = shared.folder(shared.job_id) / "session.json"

    with broken(path, breakage):
        listed = shared.run("list")
        refused = [shared.run(name, shared.job_id) for name in ("status", "tunnel-cmd", "cancel")]

    assert set(rows(listed)) == {shared.waiting, shared.ended}
    for said in (listed, *refused):
        assert said.stderr.count(f"sessions/testbed/{shared.job_id}/session.json: ") == 1, said
        assert f"cancel the job with `scancel {shared.job_id}`, then remove " in said.stderr
    assert [said.exit_code for said in refused] == [1, 1, 1]
    shared.check()


def test_the_cure_for_a_broken_session_works(shared: SharedSessions) -> None:
    """After scancel and removal of the folder list (0) is quiet, and no job is left."""
    job_id = shared.pending()
    empty(shared.folder(job_id) / "session.json")
    told = shared.run("list").stderr

    hint = f"cancel the job with `scancel {job_id}`, then remove "
    folder = next(line for line in told.splitlines() if hint in line).partition("remove ")[2]
    shared.alice.cluster.login.run(["scancel", job_id], user="alice")
    shared.alice.cluster.login.run(["rm", "-r", folder], user="alice")

    assert shared.run("list").stderr == ""
    assert job_id not in shared.alice.squeue("%i")
    shared.check()


def test_a_session_file_of_an_older_version_is_read(shared: SharedSessions) -> None:
    """Fields that came later are missing: list, status and tunnel-cmd work (0)."""

    def of_an_older_version(path: Path) -> None:
        record = json.loads(path.read_text())
        old = ("version", "job_id", "cluster", "login_host", "local_port", "ready")
        write(path, json.dumps({name: record[name] for name in old}).encode())

    with broken(shared.folder(shared.job_id) / "session.json", of_an_older_version):
        listed = shared.run("list")
        status = shared.run("status", shared.job_id)
        tunnel = shared.run("tunnel-cmd", shared.job_id)

    assert rows(listed)[shared.job_id] == "RUNNING"
    assert status.exit_code == 0
    assert tunnel.stdout == shared.running["tunnel_command"] + "\n"


def test_a_session_without_its_session_file_still_works(shared: SharedSessions) -> None:
    """session.json is removed: list and tunnel-cmd (0) use the job's files, and cancel works."""
    job_id = shared.pending()
    (shared.folder(job_id) / "session.json").unlink()
    with broken(shared.folder(shared.job_id) / "session.json", Path.unlink):
        listed = rows(shared.run("list"))
        tunnel = shared.run("tunnel-cmd", "--login-host", "10.97.0.1", shared.job_id)
    cancel = shared.run("cancel", job_id)

    assert (listed[shared.job_id], listed[job_id]) == ("RUNNING", "PENDING")
    assert tunnel.stdout == shared.running["tunnel_command"] + "\n"
    assert (cancel.exit_code, job_id in shared.alice.squeue("%i")) == (0, False)
    shutil.rmtree(shared.folder(job_id))


@pytest.mark.parametrize("breakage", [*ANY, with_numbers_for_texts])
def test_a_broken_record_of_an_ending_is_replaced(
    shared: SharedSessions, breakage: Breakage
) -> None:
    """ended.json is broken: list and status (0) say how it ended; they query Slurm again."""
    with broken(shared.folder(shared.ended) / "ended.json", breakage):
        listed = shared.run("list")
        status = shared.run("status", shared.ended)

    assert rows(listed)[shared.ended] == "CANCELLED"
    assert listed.stderr == ""
    assert status.exit_code == 0
    assert "the job was cancelled before it started" in status.stdout


def test_a_record_of_an_ending_does_not_end_a_job_that_runs(shared: SharedSessions) -> None:
    """Another session's ended.json is in a running one: it is RUNNING (0), its token stays."""
    text = (shared.folder(shared.ended) / "ended.json").read_bytes()

    with broken(shared.folder(shared.job_id) / "ended.json", lambda path: write(path, text)):
        listed = shared.run("list")
        tunnel = shared.run("tunnel-cmd", shared.job_id)

    assert rows(listed)[shared.job_id] == "RUNNING"
    assert tunnel.stdout == shared.running["tunnel_command"] + "\n"


def out_of_time(path: Path) -> None:
    """Write times that no calendar has."""
    write(path, b'{"active_at": 1, "idle_stop_at": 1e300, "memory_fraction": 1e999}')
    write(path, path.read_bytes().replace(b"1e300", b"1" + b"0" * 30))


@pytest.mark.parametrize("breakage", [*ANY, out_of_time])
def test_a_broken_note_of_activity_is_ignored(shared: SharedSessions, breakage: Breakage) -> None:
    """activity.json is broken: list and status (0) show everything except how idle it is."""
    with broken(shared.folder(shared.job_id) / "activity.json", breakage):
        listed = shared.run("list")
        status = shared.run("status", "--json", shared.job_id)

    assert rows(listed)[shared.job_id] == "RUNNING"
    assert (status.exit_code, json.loads(status.stdout)["state"]) == (0, "RUNNING")


@pytest.mark.parametrize("breakage", [*ANY, with_numbers_for_texts])
def test_broken_answers_are_ignored(shared: SharedSessions, breakage: Breakage) -> None:
    """answers/CLUSTER.json is broken: without Slurm list (0) says that nothing is known, and shows
    how the ended session ended; with Slurm all is as usual.
    """
    with broken(shared.alice.state / "answers/testbed.json", breakage):
        without = shared.run("list", env=NO_SLURM)
        status = shared.run("status", shared.job_id, env=NO_SLURM)
        shared.check()

    states = rows(without)
    assert (states[shared.job_id], states[shared.ended]) == ("UNKNOWN", "CANCELLED")
    assert "squeue is not on PATH" in without.stderr
    assert "The states of its sessions are unknown." in without.stderr
    assert status.exit_code == 0
    assert (shared.folder(shared.job_id) / "token").exists()


def test_list_says_that_an_answer_is_from_the_future(shared: SharedSessions) -> None:
    """The clock was set back by a day: without Slurm list (0) says so; else it queries Slurm."""

    def tomorrow(path: Path) -> None:
        record = json.loads(path.read_text())
        for seen in record["jobs"].values():
            seen["at"] += 86400
        write(path, json.dumps(record).encode())

    shared.check()  # an answer is saved
    with broken(shared.alice.state / "answers/testbed.json", tomorrow):
        without = shared.run("list", env=NO_SLURM)
        shared.check()

    assert rows(without)[shared.job_id] == "RUNNING"
    assert "; the clock has been set back since" in without.stderr


@pytest.mark.parametrize("breakage", [half, empty, binary, nested, a_list, directory, gigabyte])
def test_list_reports_a_broken_note_of_a_submission(
    shared: SharedSessions, breakage: Breakage
) -> None:
    """submitting/X.json is broken: list (0) shows all sessions and one line about the note, which
    says how to find its job, and what to remove.
    """
    with broken(shared.alice.state / "submitting/feed.json", breakage):
        listed = shared.run("list")
        shared.check()

    assert shared.job_id in rows(listed)
    assert listed.stderr.count("submitting/feed.json: is not readable") == 1
    assert "squeue --me -o '%i %o'" in listed.stderr
    assert "then remove the file" in listed.stderr
    assert shared.run("list").stderr == ""


def test_without_its_token_a_session_has_no_connection(shared: SharedSessions) -> None:
    """The token is removed: tunnel-cmd and url end with 5 and what to do; the job is RUNNING."""
    token = shared.folder(shared.job_id) / "token"

    def without_token(*words: str) -> Said:
        for _ in range(5):  # the job writes the token again every now and then
            with broken(token, Path.unlink):
                said = shared.run(*words)
                if not token.exists():
                    return said
        raise AssertionError("the token was there again each time")

    tunnel, url = (without_token(name, shared.job_id) for name in ("tunnel-cmd", "url"))
    listed = without_token("list")

    for said in (tunnel, url):
        assert (said.exit_code, said.stdout) == (5, "")
        assert f"job {shared.job_id} is running, but its token has not appeared in " in said.stderr
        assert f"cancel the session: slurm-nb cancel {shared.job_id}" in said.stderr
    assert rows(listed)[shared.job_id] == "RUNNING"
    assert shared.run("tunnel-cmd", shared.job_id).exit_code == 0


def test_a_malformed_token_is_not_printed(shared: SharedSessions) -> None:
    """The token file contains something else: tunnel-cmd and url end with 1 and name the file."""
    with broken(shared.folder(shared.job_id) / "token", lambda path: write(path, b"$(id)")):
        said = [shared.run(name, shared.job_id) for name in ("tunnel-cmd", "url")]

    for each in said:
        assert (each.exit_code, each.stdout) == (1, "")
        assert "/token: does not contain a slurm-nb token" in each.stderr
        assert "$(id)" not in each.stderr


def test_without_its_nonce_the_last_known_connection_is_printed(shared: SharedSessions) -> None:
    """The nonce is removed: tunnel-cmd (0) prints the saved connection; list says RUNNING."""
    with broken(shared.folder(shared.job_id) / "nonce", Path.unlink):
        tunnel = shared.run("tunnel-cmd", shared.job_id)
        listed = shared.run("list")

    assert tunnel.exit_code == 0, tunnel
    assert tunnel.stdout == shared.running["tunnel_command"] + "\n"
    assert rows(listed)[shared.job_id] == "RUNNING"


@contextmanager
def away(path: Path) -> Iterator[None]:
    """Move a path away while the block lasts; remove what was made in its place."""
    aside = path.parent.parent / "aside"
    path.rename(aside)
    try:
        yield
    finally:
        shutil.rmtree(path, ignore_errors=True)
        aside.rename(path)


def test_removing_a_session_folder_leaves_the_job(shared: SharedSessions) -> None:
    """The folder is removed: cancel ends with 1 and the scancel that
    works; list (0) shows the rest; the notebook keeps running.
    """
    folder = shared.folder(shared.job_id)
    with away(folder):
        listed = rows(shared.run("list"))
        cancel = shared.run("cancel", shared.job_id)
        with shared.alice.tunnel(shared.running["tunnel_command"]):
            reached = shared.alice.run_cell(shared.running["url"], "print(6 * 7)")

    assert set(listed) == {shared.waiting, shared.ended}
    assert cancel.exit_code == 1
    assert f"cancel it with: scancel {shared.job_id}" in cancel.stderr
    assert reached["output"] == "42\n"
    shared.check()


def test_removing_the_state_directory_leaves_the_jobs(shared: SharedSessions) -> None:
    """rm -rf removes it while sessions run: list (0) shows no session, cancel ends with 1 and the
    scancel; a new session works, and can be cancelled; the notebook keeps running.
    """
    with away(shared.alice.state):
        listed = shared.run("list")
        cancel = shared.run("cancel", shared.job_id)
        anew = shared.pending()
        after = rows(shared.run("list"))
        assert shared.run("cancel", anew).exit_code == 0
        with shared.alice.tunnel(shared.running["tunnel_command"]):
            reached = shared.alice.run_cell(shared.running["url"], "print(6 * 7)")

    assert (listed.exit_code, listed.stdout) == (0, "")
    assert "no sessions" in listed.stderr
    assert cancel.exit_code == 1
    assert f"scancel {shared.job_id}" in cancel.stderr
    assert after == {anew: "PENDING"}
    assert reached["output"] == "42\n"
    shared.check()


def test_a_state_directory_that_is_read_only_can_be_read(shared: SharedSessions) -> None:
    """It is read-only on the login node: list, status, tunnel-cmd, wait and cancel work (0), even
    for a job that ended meanwhile, whose token cancel (1) names because it cannot be removed;
    submit ends with 1, and there is no job. Later queries remove the token.
    """
    job_id, other = shared.pending(), shared.pending()
    write(shared.folder(other) / "token", b"0" * 64)
    login, folder = shared.alice.cluster.login, "/home/alice/.local/state/slurm-nb"
    login.run(["mount", "--bind", folder, folder])
    try:
        login.run(["mount", "-o", "remount,bind,ro", folder])
        login.run(["scancel", other], user="alice")
        before = set(shared.alice.squeue("%i"))
        tunnel = shared.run("tunnel-cmd", shared.job_id)
        wait = shared.run("wait", shared.job_id)
        cancel = shared.run("cancel", job_id)
        listed = shared.run("list")
        pruned = shared.run("list", "--prune")
        status = shared.run("status", other)
        over = shared.run("cancel", other)
        submit = shared.run("submit", "-p", "closed", "--no-wait")
        after = set(shared.alice.squeue("%i"))
    finally:
        login.run(["umount", folder])

    assert tunnel.stdout == shared.running["tunnel_command"] + "\n"
    assert wait.exit_code == 0, wait
    assert shared.running["tunnel_command"] in wait.stdout
    assert cancel.exit_code == 0, cancel
    states = rows(listed)
    assert (states[shared.job_id], states[job_id], states[other]) == (
        "RUNNING",
        "CANCELLED",
        "CANCELLED",
    )
    assert f"/{other}/token: Read-only file system" in over.stderr
    assert over.exit_code == 1
    assert pruned.exit_code == 0
    assert "Removed 0 sessions." in pruned.stderr
    assert status.exit_code == 0
    assert "the job was cancelled before it started" in status.stdout
    assert submit.exit_code == 1
    assert "Read-only file system" in submit.stderr
    assert after == before - {job_id}
    shared.check()
    age_witness(shared.folder(other))
    assert shared.run("list").exit_code == 0
    assert not (shared.folder(other) / "token").exists()


def at_once(*runs: Callable[[], Said]) -> list[Said]:
    with ThreadPoolExecutor(len(runs)) as pool:
        return [each.result() for each in [pool.submit(run) for run in runs]]


def test_two_cancels_of_one_session_at_once(shared: SharedSessions) -> None:
    """Both end with 0 and say that it is cancelled, or was already; the session has ended once."""
    job_id = shared.pending()

    said = at_once(*[lambda: shared.run("cancel", job_id)] * 2, lambda: shared.run("list"))

    assert [each.exit_code for each in said] == [0, 0, 0], said
    for each in said[:2]:
        assert f"job {job_id}" in each.stderr.lower()
    assert rows(shared.run("list"))[job_id] == "CANCELLED"
    assert job_id not in shared.alice.squeue("%i")
    shared.check()


def test_two_prunes_at_once(shared: SharedSessions) -> None:
    """All end with 0 and print nothing else; ended sessions are removed, and the others stay. A
    session that others ended just now stays until that is proven.
    """
    ids = [shared.pending() for _ in range(3)]
    assert shared.run("cancel", *ids).exit_code == 0
    with away(shared.folder(shared.ended)):
        said = at_once(*[lambda: shared.run("list", "--prune")] * 3)
        left = rows(shared.run("list"))

    for each in said:
        assert each.exit_code == 0, each
        assert each.stderr.count("\n") == 1, each
        assert {shared.job_id, shared.waiting} <= set(rows(each))
    assert {shared.job_id, shared.waiting} <= set(left)
    assert not {*ids} & {*left}
    shared.check()


def test_list_while_others_submit(shared: SharedSessions) -> None:
    """Every list (0) shows the old sessions, without an error; afterwards the new ones too."""

    def submit() -> Said:
        return shared.run("submit", "-p", "closed", "--no-wait")

    def look() -> Said:
        return shared.run("list")

    said = at_once(submit, look, look, submit, look, look)

    new = [said[at].stderr.split()[2].rstrip(".") for at in (0, 3)]
    for each in (said[1], said[2], said[4], said[5]):
        assert each.exit_code == 0, each
        assert each.stderr == ""
        assert {shared.job_id, shared.waiting, shared.ended} <= set(rows(each))
    assert set(new) <= set(rows(shared.run("list")))
    assert shared.run("cancel", *new).exit_code == 0


def test_a_number_that_slurm_reuses_is_a_new_session(shared: SharedSessions) -> None:
    """Slurm reuses the ids of sessions that ended long ago: the new one is PENDING (0)."""
    job_id = shared.pending()
    ended = json.loads((shared.folder(shared.ended) / "ended.json").read_text())
    old = {**ended, "at": int(time.time()) - 30 * 86400, "cause": "time-limit"}
    write(shared.folder(job_id) / "ended.json", json.dumps(old).encode())

    listed = rows(shared.run("list"))
    status = shared.run("status", job_id)
    cancel = shared.run("cancel", job_id)

    assert listed[job_id].startswith("PENDING")
    assert "PENDING" in status.stdout
    assert cancel.exit_code == 0
    await_that(lambda: job_id not in shared.alice.squeue("%i"), f"{job_id} to be gone")
