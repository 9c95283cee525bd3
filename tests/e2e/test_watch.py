"""A session acts by itself: it ends when nobody uses it, and warns of time and memory."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from slurm_nb.joblog.events import Progress, Stopping, read_progress
from tests.cluster import ensure_tools
from tests.cluster.memory import can_limit, limited
from tests.e2e.scientist import Scientist

TERMINAL = Path(__file__).with_name("terminal_client.py").read_text(encoding="utf-8")
BROWSER = Path(__file__).with_name("notice_client.py").read_text(encoding="utf-8")
FETCH = """
import json, sys, urllib.error, urllib.request
url, token, method = sys.argv[1:]
headers = {"Authorization": "token " + token} if token else {}
request = urllib.request.Request(url, headers=headers, method=method)
try:
    with urllib.request.urlopen(request, timeout=20) as answer:
        print(json.dumps([answer.status, json.load(answer)]))
except urllib.error.HTTPError as error:
    print(json.dumps([error.code, None]))
"""
# Runs when the kernel is shut down, and not when it is killed.
AT_EXIT = """
import atexit, pathlib
atexit.register(lambda: pathlib.Path({path!r}).write_text("clean"))
print("ready")
"""
MEMORY = 900 << 20
SESSION = "slurm-nb/session"


def progress(alice: Scientist, job_id: str) -> Progress:
    """Return the progress that the job has reported."""
    nonce = (alice.state / "sessions/testbed" / job_id / "nonce").read_text()
    who = {"cluster": "testbed", "job_id": job_id, "nonce": nonce}
    return read_progress(alice.log(job_id).splitlines(), who=who)


def wait_until(true: Callable[[], object], timeout_s: float = 60) -> None:
    deadline = time.monotonic() + timeout_s
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def ending(alice: Scientist, job_id: str, timeout_s: float = 60) -> str:
    """Return the end state that Slurm reports, once the job has ended."""
    wait_until(lambda: job_id not in alice.squeue("%i"), timeout_s)
    asked = ["squeue", "-h", "-t", "all", "-j", job_id, "-o", "%T"]
    return alice.cluster.login.run(asked, user="alice").stdout.strip()


def activity(alice: Scientist, job_id: str) -> dict[str, Any]:
    path = alice.state / "sessions/testbed" / job_id / "activity.json"
    assert path.stat().st_mode & 0o777 == 0o600
    record: dict[str, Any] = json.loads(path.read_text())
    return record


def marked(alice: Scientist, name: str) -> Path:
    path = alice.home / name
    path.unlink(missing_ok=True)
    return path


def fetched(
    alice: Scientist, record: dict[str, Any], token: str, path: str, method: str = "GET"
) -> list[Any]:
    """Return status and answer, as the laptop gets them; the tunnel must be up."""
    url = f"http://127.0.0.1:{record['local_port']}/{path}"
    done = alice.cluster.laptop.run(["python3", "-c", FETCH, url, token, method], user="lea")
    answer: list[Any] = json.loads(done.stdout)
    return answer


def see(alice: Scientist, record: dict[str, Any]) -> list[str]:
    """Return the texts of slurm-nb that Chromium shows on the page; the tunnel must be up."""
    ensure_tools(alice.cluster)
    done = alice.cluster.laptop.run(
        ["/srv/tools/bin/python", "-"],
        user="lea",
        env={"NB_URL": record["url"], "NB_PICTURE": "/tmp/notice.png"},
        stdin_text=BROWSER,
        timeout_s=120,
    )
    shown: list[str] = json.loads(done.stdout)
    return shown


def test_a_session_that_nobody_uses_ends_itself(alice: Scientist) -> None:
    """Its kernels are shut down cleanly, the job is COMPLETED, and its output says why."""
    mark = marked(alice, "clean")
    record = alice.submit("--idle-timeout", "0:05")
    job_id = record["job_id"]
    wait_until((alice.state / "sessions/testbed" / job_id / "activity.json").exists)
    kept = activity(alice, job_id)
    with alice.tunnel(record["tunnel_command"]):
        alice.run_cell(record["url"], AT_EXIT.format(path="/home/alice/clean"))

    state = ending(alice, job_id)

    said = progress(alice, job_id)
    text = "nothing ran and nobody was connected for 5 seconds (--idle-timeout)"
    assert said.stopping == Stopping("idle", text)
    assert (state, said.exit_code, mark.read_text()) == ("COMPLETED", 0, "clean")
    assert f"slurm-nb: stopping: {text}" in alice.log(job_id)
    assert kept["kernels"] == 0
    assert kept["idle_stop_at"] == kept["active_at"] + 5
    assert abs(time.time() - kept["active_at"]) < 120
    assert not (alice.state / "sessions/testbed" / job_id / "activity.json").exists()


def test_a_session_with_running_code_is_never_idle(alice: Scientist) -> None:
    """A cell, and then a program in a terminal, run to their end with nobody connected."""
    cell, program = marked(alice, "cell"), marked(alice, "program")
    record = alice.submit("--idle-timeout", "0:03")
    code = "import pathlib, time; print(1, flush=True); time.sleep(7); pathlib.Path('cell').touch()"
    typed = {"NB_LINE": "sh -c 'echo be''gun; sleep 14; touch program'", "NB_SHOWN": "begun"}
    with alice.tunnel(record["tunnel_command"]):
        alice.run_cell(record["url"], code, leave_at="1")
        alice.cluster.laptop.run(
            ["/srv/venv/bin/python", "-"],
            user="lea",
            env={"NB_URL": record["url"], **typed},
            stdin_text=TERMINAL,
        )

    state = ending(alice, record["job_id"])

    assert cell.exists()
    assert program.exists()
    stopping = progress(alice, record["job_id"]).stopping
    assert (state, stopping.kind if stopping else None) == ("COMPLETED", "idle")


def test_the_end_of_the_time_limit_is_announced_and_clean(alice: Scientist) -> None:
    """The output and the page warn before the end; then idle kernels shut down as they should."""
    mark = marked(alice, "clean")
    record = alice.submit("--time", "1", "--ui", "lab")
    job_id = record["job_id"]
    with alice.tunnel(record["tunnel_command"]):
        code = AT_EXIT.format(path="/home/alice/clean")
        assert alice.run_cell(record["url"], code)["output"] == "ready\n"
        wait_until(lambda: progress(alice, job_id).warnings)
        strangers = [
            fetched(alice, record, "", f"{SESSION}{end}", method)
            for method, end in (("GET", ""), ("POST", "/extend"), ("GET", "/end"))
        ]
        before = fetched(alice, record, alice.token(job_id), "api/status")
        hers = fetched(alice, record, alice.token(job_id), SESSION)
        after = fetched(alice, record, alice.token(job_id), "api/status")

    state = ending(alice, job_id, 120)

    said = progress(alice, job_id)
    (warning,) = said.warnings
    assert warning.kind == "time"
    assert "this session ends in " in warning.text
    assert f"slurm-nb: {warning.text}" in alice.log(job_id)
    assert strangers == [[403, None]] * 3
    status, seen = hers
    (notice,) = seen["notices"]
    assert status == 200
    assert (notice["kind"], notice["text"]) == ("time", warning.text)
    assert (seen["job_id"], seen["ended"]) == (job_id, None)
    assert 0 <= seen["seconds_left"] <= 60
    assert before == after, "to ask for them is no activity"
    assert (state, mark.read_text()) == ("TIMEOUT", "clean")
    assert said.stopping == Stopping("time", "the time limit was reached")


def test_a_cancelled_session_is_clean_too_and_no_time_is_up(alice: Scientist) -> None:
    """Slurm's SIGTERM to every process does not keep kernels from what they do at their end."""
    mark = marked(alice, "clean")
    record = alice.submit()
    with alice.tunnel(record["tunnel_command"]):
        alice.run_cell(record["url"], AT_EXIT.format(path="/home/alice/clean"))

    alice.slurm_nb("cancel", record["job_id"])

    assert mark.read_text() == "clean"
    assert progress(alice, record["job_id"]).stopping is None
    assert alice.log(record["job_id"]).count("received signal 15, stopping") == 1


def test_without_slurm_the_end_is_announced_too(alice: Scientist) -> None:
    """A local session knows its end from the start."""
    record = alice.submit("--local", "--time", "0:20")
    job_id = record["job_id"]
    session = alice.state / "sessions/local" / job_id
    nonce = (session / "nonce").read_text()

    wait_until(lambda: "slurm-nb ended" in alice.log(job_id))

    who = {"cluster": "local", "job_id": job_id, "nonce": nonce}
    said = read_progress(alice.log(job_id).splitlines(), who=who)
    assert [each.kind for each in said.warnings] == ["time"]
    assert "seconds, at " in said.warnings[0].text
    assert said.stopping == Stopping("time", "the time limit was reached")


@pytest.mark.parametrize("ui", ["lab", "notebook"])
def test_the_page_shows_the_warning(alice: Scientist, ui: str) -> None:
    """A real browser, which no extension was built for, shows what the job's output says."""
    record = alice.submit("--time", "10", "--ui", ui)
    # As Slurm does by itself, within half a minute.
    alice.cluster.login.run(["scancel", "--batch", "--signal=USR1", record["job_id"]], user="alice")
    wait_until(lambda: progress(alice, record["job_id"]).warnings)
    with alice.tunnel(record["tunnel_command"]):
        shown = see(alice, record)

    (warning,) = progress(alice, record["job_id"]).warnings
    assert shown == [f"slurm-nb: {warning.text}"]


@pytest.fixture
def small_node(alice: Scientist) -> Iterator[None]:
    """Give c2 a slurmd that holds its jobs to 900 MiB, like ConstrainRAMSpace."""
    if not can_limit():
        pytest.skip("no control group with a memory limit can be made here")
    slurmd = alice.cluster.hosts["c2"].run(["cat", "/run/slurmd.pid"]).stdout
    with limited(f"slurm-nb-test-{os.getpid()}", [_outside(alice, int(slurmd))], MEMORY):
        yield
        alice.cluster.cancel_jobs()


def _outside(alice: Scientist, pid: int) -> int:
    """Return the pid on this machine of a process of c2."""
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            text = status.read_text()
            same = (status.parent / "ns/pid").samefile(
                f"/proc/{alice.cluster.hosts['c2'].init_pid}/ns/pid"
            )
        except OSError:
            continue
        if same and f"\nNSpid:\t{status.parent.name}\t{pid}\n" in text:
            return int(status.parent.name)
    raise LookupError(pid)


@pytest.mark.usefixtures("small_node")
def test_the_session_warns_of_memory_and_names_a_killed_kernel(alice: Scientist) -> None:
    """The kernel's own killer kills it; the session continues, and says what would help."""
    record = alice.submit("-w", "c2")
    job_id = record["job_id"]
    with alice.tunnel(record["tunnel_command"]):
        code = (
            "import time; keep = bytearray(640 << 20); keep[::4096] = b'x' * len(keep[::4096])\n"
            "time.sleep(12); print('more', flush=True); time.sleep(1); more = bytearray(900 << 20)"
        )
        alice.run_cell(record["url"], code, notebook="work/<b>big</b>.ipynb", leave_at="more")
        wait_until(lambda: "was killed" in str(progress(alice, job_id).warnings))
        page = fetched(alice, record, alice.token(job_id), SESSION)
        shown = see(alice, record)

    warnings = progress(alice, job_id).warnings
    assert {each.kind for each in warnings} == {"memory"}
    assert sum("was killed" in each.text for each in warnings) == 1
    assert "of this session's memory is in use" in warnings[0].text
    assert warnings[-1].text == (
        "the kernel of work/<b>big</b>.ipynb was killed: out of memory (900 MiB);"
        f" more: slurm-nb submit --again {job_id} --mem 2G"
    )
    assert f"slurm-nb: {warnings[-1].text}" in shown, "as text, whatever is in it"
    # The warning before it has gone with the memory that is free again.
    assert page[1]["notices"][-1]["text"] == warnings[-1].text
    assert page[1]["memory"]["limit"] == MEMORY
    assert 0 < page[1]["memory"]["used"] < MEMORY
    assert alice.squeue("%i %T") == [f"{job_id} RUNNING"]
