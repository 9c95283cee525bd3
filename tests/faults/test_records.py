"""Files of slurm-nb's that are broken or gone, and several slurm-nb at once: nothing is lost."""

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
from tests.faults.desk import Desk, laid, rows

# Slurm's commands are not there: the answer is what was saved.
NO_SLURM = {"PATH": "/srv/venv/bin"}
Breakage = Callable[[Path], None]


@pytest.fixture(scope="module")
def desk(cluster: Cluster) -> Iterator[Desk]:
    """Shared: each test puts back what it has broken."""
    with laid(cluster) as desk:
        yield desk


@contextmanager
def broken(path: Path, breakage: Breakage) -> Iterator[None]:
    """While the block lasts."""
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
    """As alice does it: in one step."""
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
    """Also in what is nested, but for `version`."""

    def turned(value: object) -> object:
        if isinstance(value, dict):
            return {key: turned(each) for key, each in value.items()}
        return 7 if isinstance(value, str) else value

    write(path, json.dumps(turned(json.loads(path.read_text()))).encode())


ANY: tuple[Breakage, ...] = (half, empty, binary, nested, a_list, directory, gigabyte)


@pytest.mark.parametrize(
    "breakage", [*ANY, of_a_newer_version, of_another_session, with_numbers_for_texts]
)
def test_a_broken_session_file_hides_no_other_session(desk: Desk, breakage: Breakage) -> None:
    """session.json is broken: list (0) has the others and one line on this one, which names the
    file and the scancel; status, tunnel-cmd and cancel end with 1 and the same; the job runs."""
    path = desk.folder(desk.job_id) / "session.json"

    with broken(path, breakage):
        listed = desk.run("list")
        refused = [desk.run(name, desk.job_id) for name in ("status", "tunnel-cmd", "cancel")]

    assert set(rows(listed)) == {desk.waiting, desk.ended}
    for said in (listed, *refused):
        assert said.stderr.count(f"sessions/testbed/{desk.job_id}/session.json: ") == 1, said
        assert f"cancel the job with `scancel {desk.job_id}`, then remove " in said.stderr
    assert [said.exit_code for said in refused] == [1, 1, 1]
    desk.check()


def test_what_the_line_on_a_broken_session_says_works(desk: Desk) -> None:
    """Scancel and removal of the folder, as it says: list (0) is quiet, and no job is left."""
    job_id = desk.pending()
    empty(desk.folder(job_id) / "session.json")
    told = desk.run("list").stderr

    hint = f"cancel the job with `scancel {job_id}`, then remove "
    folder = next(line for line in told.splitlines() if hint in line).partition("remove ")[2]
    desk.alice.cluster.login.run(["scancel", job_id], user="alice")
    desk.alice.cluster.login.run(["rm", "-r", folder], user="alice")

    assert desk.run("list").stderr == ""
    assert job_id not in desk.alice.squeue("%i")
    desk.check()


def test_a_session_file_of_an_older_version_is_read(desk: Desk) -> None:
    """Fields are missing that came later: list, status and tunnel-cmd work (0)."""

    def of_an_older_version(path: Path) -> None:
        record = json.loads(path.read_text())
        old = ("version", "job_id", "cluster", "login_host", "local_port", "ready")
        write(path, json.dumps({name: record[name] for name in old}).encode())

    with broken(desk.folder(desk.job_id) / "session.json", of_an_older_version):
        listed = desk.run("list")
        status = desk.run("status", desk.job_id)
        tunnel = desk.run("tunnel-cmd", desk.job_id)

    assert rows(listed)[desk.job_id] == "RUNNING"
    assert status.exit_code == 0
    assert tunnel.stdout == desk.running["tunnel_command"] + "\n"


def test_a_session_file_that_is_gone_leaves_the_session(desk: Desk) -> None:
    """session.json is removed: list, tunnel-cmd (0) go by the job's own files, and cancel works."""
    job_id = desk.pending()
    (desk.folder(job_id) / "session.json").unlink()
    with broken(desk.folder(desk.job_id) / "session.json", Path.unlink):
        listed = rows(desk.run("list"))
        tunnel = desk.run("tunnel-cmd", "--login-host", "10.97.0.1", desk.job_id)
    cancel = desk.run("cancel", job_id)

    assert (listed[desk.job_id], listed[job_id]) == ("RUNNING", "PENDING")
    assert tunnel.stdout == desk.running["tunnel_command"] + "\n"
    assert (cancel.exit_code, job_id in desk.alice.squeue("%i")) == (0, False)
    shutil.rmtree(desk.folder(job_id))


@pytest.mark.parametrize("breakage", [*ANY, with_numbers_for_texts])
def test_a_broken_record_of_an_ending_is_found_out_anew(desk: Desk, breakage: Breakage) -> None:
    """ended.json is broken: list and status (0) say how it ended, for Slurm is asked again."""
    with broken(desk.folder(desk.ended) / "ended.json", breakage):
        listed = desk.run("list")
        status = desk.run("status", desk.ended)

    assert rows(listed)[desk.ended] == "CANCELLED"
    assert listed.stderr == ""
    assert status.exit_code == 0
    assert "the job was cancelled before it started" in status.stdout


def test_a_record_of_an_ending_does_not_end_a_job_that_runs(desk: Desk) -> None:
    """Another session's ended.json is beside a running one: it is RUNNING (0), its token stays."""
    text = (desk.folder(desk.ended) / "ended.json").read_bytes()

    with broken(desk.folder(desk.job_id) / "ended.json", lambda path: write(path, text)):
        listed = desk.run("list")
        tunnel = desk.run("tunnel-cmd", desk.job_id)

    assert rows(listed)[desk.job_id] == "RUNNING"
    assert tunnel.stdout == desk.running["tunnel_command"] + "\n"


def out_of_time(path: Path) -> None:
    """Times that no calendar has."""
    write(path, b'{"active_at": 1, "idle_stop_at": 1e300, "memory_fraction": 1e999}')
    write(path, path.read_bytes().replace(b"1e300", b"1" + b"0" * 30))


@pytest.mark.parametrize("breakage", [*ANY, out_of_time])
def test_a_broken_note_of_activity_is_no_activity(desk: Desk, breakage: Breakage) -> None:
    """activity.json is broken: list and status (0) know all but how idle it is."""
    with broken(desk.folder(desk.job_id) / "activity.json", breakage):
        listed = desk.run("list")
        status = desk.run("status", "--json", desk.job_id)

    assert rows(listed)[desk.job_id] == "RUNNING"
    assert (status.exit_code, json.loads(status.stdout)["state"]) == (0, "RUNNING")


@pytest.mark.parametrize("breakage", [*ANY, with_numbers_for_texts])
def test_broken_answers_are_no_answers(desk: Desk, breakage: Breakage) -> None:
    """answers/CLUSTER.json is broken: without Slurm list (0) says that nothing is known, and has
    how the ended one ended; with Slurm all is as ever."""
    with broken(desk.alice.state / "answers/testbed.json", breakage):
        without = desk.run("list", env=NO_SLURM)
        status = desk.run("status", desk.job_id, env=NO_SLURM)
        desk.check()

    states = rows(without)
    assert (states[desk.job_id], states[desk.ended]) == ("UNKNOWN", "CANCELLED")
    assert "squeue is not on PATH" in without.stderr
    assert "what became of the sessions there is not known" in without.stderr
    assert status.exit_code == 0
    assert (desk.folder(desk.job_id) / "token").exists()


def test_answers_from_the_future_are_told_as_that(desk: Desk) -> None:
    """The clock was set back by a day: without Slurm list (0) says so; with Slurm it asks anew."""

    def tomorrow(path: Path) -> None:
        record = json.loads(path.read_text())
        for seen in record["jobs"].values():
            seen["at"] += 86400
        write(path, json.dumps(record).encode())

    desk.check()  # an answer is saved
    with broken(desk.alice.state / "answers/testbed.json", tomorrow):
        without = desk.run("list", env=NO_SLURM)
        desk.check()

    assert rows(without)[desk.job_id] == "RUNNING"
    assert "; the clock has been set back since" in without.stderr


@pytest.mark.parametrize("breakage", [half, empty, binary, nested, a_list, directory, gigabyte])
def test_a_broken_note_of_a_submission_is_told_of(desk: Desk, breakage: Breakage) -> None:
    """submitting/X.json is broken: list (0) has all sessions and one line on it, which says how to
    look for its job, and what to remove."""
    with broken(desk.alice.state / "submitting/feed.json", breakage):
        listed = desk.run("list")
        desk.check()

    assert desk.job_id in rows(listed)
    assert listed.stderr.count("submitting/feed.json: is no note of a submission") == 1
    assert "squeue --me -o '%i %o'" in listed.stderr
    assert "then remove that file" in listed.stderr
    assert desk.run("list").stderr == ""


def test_without_its_token_a_session_has_no_way_in(desk: Desk) -> None:
    """The token is removed: tunnel-cmd and url end with 5 and what to do; the job is RUNNING."""
    with broken(desk.folder(desk.job_id) / "token", Path.unlink):
        tunnel = desk.run("tunnel-cmd", desk.job_id)
        url = desk.run("url", desk.job_id)
        listed = desk.run("list")

    for said in (tunnel, url):
        assert (said.exit_code, said.stdout) == (5, "")
        assert f"job {desk.job_id} runs, but its token has not appeared in " in said.stderr
        assert f"slurm-nb cancel {desk.job_id}, and submit anew" in said.stderr
    assert rows(listed)[desk.job_id] == "RUNNING"
    assert desk.run("tunnel-cmd", desk.job_id).exit_code == 0


def test_a_token_that_is_none_is_not_printed(desk: Desk) -> None:
    """The token file holds something else: tunnel-cmd and url end with 1 and name the file."""
    with broken(desk.folder(desk.job_id) / "token", lambda path: write(path, b"$(id)")):
        said = [desk.run(name, desk.job_id) for name in ("tunnel-cmd", "url")]

    for each in said:
        assert (each.exit_code, each.stdout) == (1, "")
        assert "/token: does not hold a token of slurm-nb" in each.stderr
        assert "$(id)" not in each.stderr


def test_without_its_nonce_the_last_known_way_in_is_printed(desk: Desk) -> None:
    """The nonce is removed: tunnel-cmd (0) prints what was saved at first; list says RUNNING."""
    with broken(desk.folder(desk.job_id) / "nonce", Path.unlink):
        tunnel = desk.run("tunnel-cmd", desk.job_id)
        listed = desk.run("list")

    assert tunnel.exit_code == 0, tunnel
    assert tunnel.stdout == desk.running["tunnel_command"] + "\n"
    assert rows(listed)[desk.job_id] == "RUNNING"


@contextmanager
def away(path: Path) -> Iterator[None]:
    """It is gone while the block lasts; what was made in its place goes."""
    aside = path.parent.parent / "aside"
    path.rename(aside)
    try:
        yield
    finally:
        shutil.rmtree(path, ignore_errors=True)
        aside.rename(path)


def test_a_session_folder_that_is_gone_leaves_the_job(desk: Desk) -> None:
    """The folder is removed: cancel ends with 1 and the scancel that works; list (0) has the rest;
    the notebook runs on."""
    folder = desk.folder(desk.job_id)
    with away(folder):
        listed = rows(desk.run("list"))
        cancel = desk.run("cancel", desk.job_id)
        with desk.alice.tunnel(desk.running["tunnel_command"]):
            reached = desk.alice.run_cell(desk.running["url"], "print(6 * 7)")

    assert set(listed) == {desk.waiting, desk.ended}
    assert cancel.exit_code == 1
    assert f"to cancel it all the same: scancel {desk.job_id}" in cancel.stderr
    assert reached["output"] == "42\n"
    desk.check()


def test_a_state_directory_that_is_gone_leaves_the_jobs(desk: Desk) -> None:
    """rm -rf of it all while sessions run: list (0) has no session, cancel ends with 1 and the
    scancel; a new session works, and can be cancelled; the notebook runs on."""
    with away(desk.alice.state):
        listed = desk.run("list")
        cancel = desk.run("cancel", desk.job_id)
        anew = desk.pending()
        after = rows(desk.run("list"))
        assert desk.run("cancel", anew).exit_code == 0
        with desk.alice.tunnel(desk.running["tunnel_command"]):
            reached = desk.alice.run_cell(desk.running["url"], "print(6 * 7)")

    assert (listed.exit_code, listed.stdout) == (0, "")
    assert "no sessions" in listed.stderr
    assert cancel.exit_code == 1
    assert f"scancel {desk.job_id}" in cancel.stderr
    assert after == {anew: "PENDING"}
    assert reached["output"] == "42\n"
    desk.check()


def test_a_state_directory_that_is_read_only_can_be_read(desk: Desk) -> None:
    """It is read-only on the login node: list, status, tunnel-cmd, wait and cancel work (0), also
    for a job that ended meanwhile, whose token list names, for it can't be removed; submit ends
    with 1, and there is no job."""
    job_id, other = desk.pending(), desk.pending()
    write(desk.folder(other) / "token", b"0" * 64)
    login, folder = desk.alice.cluster.login, "/home/alice/.local/state/slurm-nb"
    login.run(["mount", "--bind", folder, folder])
    try:
        login.run(["mount", "-o", "remount,bind,ro", folder])
        login.run(["scancel", other], user="alice")
        before = set(desk.alice.squeue("%i"))
        tunnel = desk.run("tunnel-cmd", desk.job_id)
        wait = desk.run("wait", desk.job_id)
        cancel = desk.run("cancel", job_id)
        listed = desk.run("list")
        pruned = desk.run("list", "--prune")
        status = desk.run("status", other)
        submit = desk.run("submit", "-p", "closed", "--no-wait")
        after = set(desk.alice.squeue("%i"))
    finally:
        login.run(["umount", folder])

    assert tunnel.stdout == desk.running["tunnel_command"] + "\n"
    assert wait.exit_code == 0, wait
    assert desk.running["tunnel_command"] in wait.stdout
    assert cancel.exit_code == 0, cancel
    states = rows(listed)
    assert (states[desk.job_id], states[job_id], states[other]) == (
        "RUNNING",
        "CANCELLED",
        "CANCELLED",
    )
    assert f"{other}/token: can't be removed: Read-only file system" in listed.stderr
    assert pruned.exit_code == 0
    assert "forgot 0 sessions" in pruned.stderr
    assert status.exit_code == 0
    assert "the job was cancelled before it started" in status.stdout
    assert submit.exit_code == 1
    assert "Read-only file system" in submit.stderr
    assert after == before - {job_id}
    desk.check()
    assert not (desk.folder(other) / "token").exists()


def at_once(*runs: Callable[[], Said]) -> list[Said]:
    with ThreadPoolExecutor(len(runs)) as pool:
        return [each.result() for each in [pool.submit(run) for run in runs]]


def test_two_cancels_of_one_session_at_once(desk: Desk) -> None:
    """Both end with 0 and say that it is cancelled, or was already; the session has ended once."""
    job_id = desk.pending()

    said = at_once(*[lambda: desk.run("cancel", job_id)] * 2, lambda: desk.run("list"))

    assert [each.exit_code for each in said] == [0, 0, 0], said
    for each in said[:2]:
        assert f"job {job_id}" in each.stderr
    assert rows(desk.run("list"))[job_id] == "CANCELLED"
    assert job_id not in desk.alice.squeue("%i")
    desk.check()


def test_two_prunes_at_once(desk: Desk) -> None:
    """Both end with 0 without a complaint; what ended is forgotten, and the others are there."""
    ids = [desk.pending() for _ in range(3)]
    assert desk.run("cancel", *ids).exit_code == 0
    with away(desk.folder(desk.ended)):
        said = at_once(*[lambda: desk.run("list", "--prune")] * 3)
        left = rows(desk.run("list"))

    for each in said:
        assert each.exit_code == 0, each
        assert each.stderr.count("\n") == 1, each
        assert {desk.job_id, desk.waiting} <= set(rows(each))
    assert set(left) == {desk.job_id, desk.waiting}
    desk.check()


def test_list_while_others_submit(desk: Desk) -> None:
    """Every list (0) has the old sessions, without a complaint; afterwards it has the new too."""

    def submit() -> Said:
        return desk.run("submit", "-p", "closed", "--no-wait")

    def look() -> Said:
        return desk.run("list")

    said = at_once(submit, look, look, submit, look, look)

    new = [said[at].stderr.split()[2].rstrip(".") for at in (0, 3)]
    for each in (said[1], said[2], said[4], said[5]):
        assert each.exit_code == 0, each
        assert each.stderr == ""
        assert {desk.job_id, desk.waiting, desk.ended} <= set(rows(each))
    assert set(new) <= set(rows(desk.run("list")))
    assert desk.run("cancel", *new).exit_code == 0


def test_a_number_that_slurm_gives_again_is_a_new_session(desk: Desk) -> None:
    """Slurm has numbered anew, and long-ended sessions had the ids: the new one is PENDING (0)."""
    job_id = desk.pending()
    ended = json.loads((desk.folder(desk.ended) / "ended.json").read_text())
    old = {**ended, "at": int(time.time()) - 30 * 86400, "cause": "time-limit"}
    write(desk.folder(job_id) / "ended.json", json.dumps(old).encode())

    listed = rows(desk.run("list"))
    status = desk.run("status", job_id)
    cancel = desk.run("cancel", job_id)

    assert listed[job_id].startswith("PENDING")
    assert "PENDING" in status.stdout
    assert cancel.exit_code == 0
    await_that(lambda: job_id not in desk.alice.squeue("%i"), f"{job_id} to be gone")
