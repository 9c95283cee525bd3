"""The monitor reports its findings in the job's output, in the server's log and on the pages."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from slurm_nb.joblog.events import Progress, SessionWarning, Stopping, read_progress
from slurm_nb.kit.monitor import monitor
from slurm_nb.kit.monitor.idle import Activity
from slurm_nb.kit.monitor.memory import Usage
from slurm_nb.kit.monitor.notices import Notices
from slurm_nb.kit.monitor.page import Page
from tests.conftest import NONCE, AddProgram

KERNEL = Path(monitor.__file__).parents[1] / "kernel_launcher.py"
WHO = {"cluster": "hpc", "job_id": "7", "nonce": NONCE}
GIB = 1 << 30


class FakeMemory:
    """Memory that the test sets, in place of control groups."""

    def __init__(self) -> None:
        self.limit = 4 * GIB
        self.used: int | None = None
        self.count = 0

    def usage(self) -> Usage | None:
        return None if self.used is None else Usage(self.limit, self.used)

    def kills(self) -> int:
        return self.count


class Clock:
    """A clock that moves when the test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Server:
    """The parts of a ServerApp that the monitor uses, and the messages it received."""

    base_url = "/"

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.lines: list[str] = []
        self.logged: list[str] = []
        self.log = SimpleNamespace(warning=lambda text, *words: self.logged.append(text % words))
        self.io_loop = SimpleNamespace(
            call_later=self.later,
            add_callback=self.run,
            add_callback_from_signal=lambda call: call(),
        )
        self.handlers: list[Any] = []
        self.web_app = SimpleNamespace(
            settings={"log_function": None},
            add_handlers=lambda _host, handlers: self.handlers.extend(handlers),
        )
        self.kernels: list[str] = []
        self.callbacks: dict[tuple[str, str], Callable[[], None]] = {}
        self.kernel_manager = SimpleNamespace(
            list_kernel_ids=lambda: self.kernels,
            kernel_model=lambda name: {
                "id": name, "execution_state": "idle", "connections": 0, "last_activity": "1"
            },
            add_restart_callback=self.register,
            start_kernel=self.start_kernel,
            shutdown_all=self.shutdown_all,
            get_kernel=lambda _name: SimpleNamespace(kernel_name="python3"),
        )  # fmt: skip
        self.sessions: list[Any] = []
        self.session_manager = SimpleNamespace(list_sessions=self.list_sessions)
        self.next_look: Callable[[], None] | None = None
        self.stops = 0
        self.memory = FakeMemory()
        self.clock = Clock()

    def later(self, _delay: float, look: Callable[[], None]) -> None:
        self.next_look = look

    def run(self, call: Callable[..., Any], *arguments: object) -> None:
        asyncio.run(call(*arguments))

    async def start_kernel(self, name: str) -> str:
        self.kernels.append(name)
        return name

    def start(self, name: str) -> None:
        """Start a kernel as the pages do."""
        assert asyncio.run(self.kernel_manager.start_kernel(name)) == name

    def register(self, name: str, callback: Callable[[], None], event: str) -> None:
        self.callbacks[name, event] = callback

    async def list_sessions(self) -> list[Any]:
        return self.sessions

    async def shutdown_all(self) -> None:
        self.kernels.clear()

    def stop(self) -> None:
        self.stops += 1

    @property
    def page(self) -> Page:
        """Return the session as its pages see it."""
        ((_, _, values), *_) = self.handlers
        page: Page = values["page"]
        return page

    def tell(self, what: str, record: dict[str, Any]) -> None:
        self.lines.append(f"slurm-nb {what}: {json.dumps({**WHO, **record})}")

    def look(self, times: int = 1) -> None:
        """Look every 5 seconds, as the event loop does."""
        for _ in range(times):
            self.clock.now += 5
            assert self.next_look
            self.next_look()

    @property
    def said(self) -> Progress:
        return read_progress(self.lines, who=WHO)

    @property
    def warnings(self) -> tuple[SessionWarning, ...]:
        return self.said.warnings


@pytest.fixture(autouse=True)
def timers(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """Return the timers that were requested; in the tests' process none of them runs."""
    asked: list[tuple[Any, ...]] = []

    def timer(*words: Any) -> SimpleNamespace:
        asked.append(words)
        return SimpleNamespace(start=lambda: None)

    monkeypatch.setattr(threading, "Timer", timer)
    return asked


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Server:
    server = Server(tmp_path)
    monkeypatch.setattr(monitor, "Memory", lambda: server.memory)
    return server


def watched(
    server: Server,
    *,
    cluster: str = "hpc",
    timeout_s: int | None = 3600,
    job_id: str = "7",
    limit: int = 4 * GIB,
) -> Notices:
    folder = str(server.folder)
    server.memory.limit = limit
    job = monitor.Job(cluster, job_id, "c1", folder, folder, timeout_s)
    notices: Notices = monitor.start(server, job, server.tell, server.clock)
    return notices


def test_a_time_warning_appears_everywhere(server: Server) -> None:
    """It is in the job's output, in the server's log and in the answer to the pages."""
    notices = watched(server)
    (server.folder / "end-time").write_text(str(round(time.time()) + 600))

    server.look()
    server.look()

    (warning,) = server.warnings
    assert warning.kind == "time"
    assert warning.text.startswith("this session ends in 10 minutes, at ")
    assert server.logged == [f"slurm-nb: {warning.text}"]
    assert notices.current() == [{"id": 1, "kind": "time", "text": warning.text, "age_s": 5}]


def test_every_printable_base_url_has_the_session_page_below_it(server: Server) -> None:
    """A handler's path is a pattern; a plus sign in the URL must repeat nothing."""
    server.base_url = "/user/al+ice/"
    watched(server)

    paths = [
        f"/user/al+ice/slurm-nb/session{end}"
        for pattern, *_ in server.handlers
        for end in ("", "/extend", "/end")
        if re.fullmatch(pattern, f"/user/al+ice/slurm-nb/session{end}")
    ]

    assert paths == [f"/user/al+ice/slurm-nb/session{end}" for end in ("", "/extend", "/end")]


def test_memory_running_short_is_reported_before_it_is_used_up(server: Server) -> None:
    """The warning gives the numbers."""
    watched(server)
    for used in (3.0, 3.3, 3.35, 3.8):
        server.memory.used = int(used * GIB)
        server.look()

    assert [each.text for each in server.warnings] == [
        f"{use}; at the limit, Linux kills kernels: shut some down"
        for use in (
            "82 % of this session's memory is in use (3.3 GiB of 4 GiB)",
            "94 % of this session's memory is in use (3.8 GiB of 4 GiB)",
        )
    ]
    assert {each.kind for each in server.warnings} == {"memory"}


def kill(server: Server, name: str = "5f0c1d2e-8a") -> None:
    """Kill a kernel as the out-of-memory killer does; Jupyter then finds it dead."""
    server.memory.count += 1
    server.callbacks[name, "restart"]()


USED_UP = "was killed: out of memory (4 GiB)"


@pytest.mark.parametrize(
    ("path", "name"),
    [("work/analysis.ipynb", "work/analysis.ipynb"), ("a\nb\x1b[2J", "a b [2J"),
     (None, "python3 (5f0c1d2e)")],
)  # fmt: skip
def test_a_kernel_killed_for_memory_is_named(server: Server, path: str | None, name: str) -> None:
    """The warning names its notebook and the command that asks for more."""
    server.memory.used = GIB
    if path:
        server.sessions = [{"kernel": None, "path": "x"},
                           {"kernel": {"id": "5f0c1d2e-8a"}, "path": path}]  # fmt: skip
    watched(server)
    server.start("5f0c1d2e-8a")

    kill(server)

    expected = f"the kernel of {name} {USED_UP}; more: slurm-nb submit --again 7 --mem 8G"
    assert server.warnings == (SessionWarning("memory", expected),)


def test_the_message_about_a_killed_kernel_fits_into_a_notification(server: Server) -> None:
    """JupyterLab shows 140 characters; of a long path the end identifies the notebook."""
    server.memory.used = GIB
    path = "projects/2026/some long name/analysis of everything.ipynb"
    server.sessions = [{"kernel": {"id": "k1"}, "path": path}]
    watched(server, job_id="123456789", limit=1023 * GIB + GIB // 2)
    server.start("k1")

    kill(server, "k1")

    text = server.warnings[0].text
    assert len(f"slurm-nb: {text}") <= 140
    assert text.startswith("the kernel of ...s of everything.ipynb was killed: ")
    assert text.endswith("--again 123456789 --mem 2047G")


def test_a_kernel_that_cannot_report_its_death_still_starts(server: Server) -> None:
    """A site's own kernel manager may not support the callback."""
    server.kernel_manager.add_restart_callback = None
    watched(server)
    server.start("k1")
    server.start("k2")

    assert server.kernels == ["k1", "k2"]
    assert len(server.logged) == 1


def test_without_slurm_no_slurm_command_is_advised(server: Server) -> None:
    """`--mem` limits nothing there."""
    server.memory.used = GIB
    watched(server, cluster="local")
    server.start("5f0c1d2e-8a")

    kill(server)

    assert server.warnings[0].text.endswith(USED_UP)


def test_a_kernel_that_dies_for_another_reason_is_not_reported(server: Server) -> None:
    """Memory was not the cause, and Jupyter itself says that the kernel died."""
    watched(server)
    server.start("k1")
    server.callbacks["k1", "restart"]()
    server.look(20)

    assert server.warnings == ()


def test_a_killed_program_that_was_not_a_kernel_is_reported_later(server: Server) -> None:
    """It is reported once, if no kernel died in the meantime."""
    server.memory.used = GIB
    watched(server)
    server.memory.count += 1
    server.look(8)

    assert [each.text for each in server.warnings] == [
        f"a program of this session {USED_UP}; more: slurm-nb submit --again 7 --mem 8G"
    ]


def test_a_killed_kernel_is_not_reported_twice(server: Server) -> None:
    """If two die at once, both are named, and no other program is."""
    watched(server)
    server.start("k1")
    server.start("k2")
    kill(server, "k1")
    kill(server, "k2")
    server.look(8)

    assert [each.text.partition(" was ")[0] for each in server.warnings] == [
        "the kernel of python3 (k1)", "the kernel of python3 (k2)"
    ]  # fmt: skip


def test_an_unused_session_stops_its_server(server: Server, timers: list[tuple[Any, ...]]) -> None:
    """It stops once, like the shutdown button; if that hangs, the process ends anyway."""
    watched(server, timeout_s=120)
    server.look(26)

    text = "nothing ran and nobody was connected for 2 minutes (--idle-timeout)"
    assert server.said.stopping == Stopping("idle", text)
    assert server.logged == [f"slurm-nb: stopping: {text}"]
    assert server.stops == 1
    assert timers == [(60.0, os._exit, (0,))]


def test_the_sessions_directory_records_how_idle_the_session_is(server: Server) -> None:
    """`slurm-nb list` can read it from the first look on."""
    server.memory.used = GIB
    server.kernels.append("k1")
    watched(server)
    path = server.folder / "activity.json"
    while not path.exists():
        time.sleep(0.01)

    record = json.loads(path.read_text())

    assert abs(record["active_at"] - time.time()) < 60
    assert record == {
        "active_at": record["active_at"], "idle_stop_at": record["active_at"] + 3600,
        "memory_fraction": 0.25, "kernels": 1,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("in_use", "timeout_s", "known"),
    [(True, 3600, (False, False)), (True, None, (False, False)), (False, None, (True, False))],
)
def test_unknown_activity_is_null(
    in_use: bool,  # noqa: FBT001  a column of the table
    timeout_s: int | None,
    known: tuple[bool, bool],
    server: Server,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A session in use has no last use, and a session without a timeout has no stop."""
    monkeypatch.setattr(monitor, "activity", lambda _app: Activity(in_use, 0, []))
    watched(server, timeout_s=timeout_s)
    path = server.folder / "activity.json"
    while not path.exists():
        time.sleep(0.01)

    record = json.loads(path.read_text())

    assert (record["active_at"] is not None, record["idle_stop_at"] is not None) == known
    assert record["memory_fraction"] is None


def test_a_failing_look_is_logged_once_and_the_others_continue(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A session is never stopped because its activity cannot be read."""

    def fail(_app: object) -> None:
        raise AttributeError("no such thing")

    monkeypatch.setattr(monitor, "activity", fail)
    (server.folder / "end-time").write_text("soon")
    watched(server, timeout_s=60)
    server.look(100)
    server.memory.used = int(3.9 * GIB)
    server.look()

    assert server.stops == 0
    assert [text.partition(": ")[2].partition(":")[0] for text in server.logged] == [
        "_look_at_time", "_look_at_use", server.warnings[0].text.partition(":")[0]
    ]  # fmt: skip


def test_a_full_disk_does_not_keep_an_idle_session_alive(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The line cannot be written, and the server still stops."""

    def full(_what: str, _record: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(server, "tell", full)
    watched(server, timeout_s=60)
    server.look(20)

    assert server.stops == 1


@pytest.fixture
def handled() -> Iterator[list[int]]:
    """Yield the signals that Jupyter's own handler received."""
    numbers: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _frame: numbers.append(number))
    yield numbers
    signal.signal(signal.SIGTERM, before)


def test_the_server_is_stopped_once(server: Server, handled: list[int]) -> None:
    """Slurm and the job script may both signal it several times."""
    watched(server)
    for _ in range(3):
        signal.raise_signal(signal.SIGTERM)

    assert handled == [signal.SIGTERM]


# --- data for the pages ---


def test_the_page_knows_its_job(server: Server) -> None:
    """Node, job, time left and memory come from the monitor, not from Slurm."""
    server.memory.used = GIB
    (server.folder / "end-time").write_text(str(round(time.time()) + 7200))
    watched(server)
    server.start("k1")

    shown = server.page.describe()

    assert 7190 <= shown.pop("seconds_left") <= 7200
    assert shown == {
        "cluster": "hpc", "job_id": "7", "node": "c1",
        "memory": {"used": GIB, "limit": 4 * GIB}, "kernels": 1, "idle_timeout_s": 3600,
        "notices": [], "ended": None,
    }  # fmt: skip


def test_the_page_shows_no_unknown_limit(server: Server) -> None:
    """A job may have no time limit, and a node may not limit memory."""
    watched(server, timeout_s=None)

    shown = server.page.describe()

    assert (shown["seconds_left"], shown["memory"], shown["idle_timeout_s"]) == (None, None, None)


class Socket:
    """A page's websocket, as far as the monitor uses it."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.sent: list[str | None] = []
        page.sockets.add(self)  # type: ignore[arg-type]  # as much of one as is used

    def send_end(self) -> None:
        self.sent.append(self.page.ended)


@pytest.mark.parametrize(
    ("left_s", "cluster", "why"),
    [
        (-1, "hpc", "it reached its time limit"),
        (4, "hpc", "it reached its time limit"),
        (600, "hpc", "it was cancelled or preempted"),
        (None, "hpc", "it was cancelled or preempted"),
        (None, "local", "it was cancelled"),
        (2, "local", "it reached its time limit"),
    ],
)
def test_sigterm_tells_the_pages_why_before_jupyter_stops(
    left_s: int | None, cluster: str, why: str, server: Server, handled: list[int]
) -> None:
    """A page has seconds to hear about it; later nobody could tell it."""
    if left_s is not None:
        (server.folder / "end-time").write_text(str(round(time.time()) + left_s))
    watched(server, cluster=cluster)
    socket = Socket(server.page)

    signal.raise_signal(signal.SIGTERM)

    assert socket.sent == [why]
    assert server.page.describe()["ended"] == why
    assert handled == [signal.SIGTERM]


def test_an_idle_session_tells_its_pages_why_it_stops(server: Server) -> None:
    """A page in the background is not use, and can still show the reason."""
    watched(server, timeout_s=60)
    socket = Socket(server.page)

    server.look(20)

    assert socket.sent == ["it was idle for 60 seconds (--idle-timeout)"]


def test_a_session_shut_down_from_one_page_tells_the_others(server: Server) -> None:
    """Only then does Jupyter end all kernels; the first reason given stays."""
    watched(server)
    socket = Socket(server.page)

    asyncio.run(server.kernel_manager.shutdown_all())
    server.look(1000)

    assert socket.sent == ["it was shut down from its page"]


def test_a_closed_page_does_not_keep_the_server_from_stopping(server: Server) -> None:
    """Any exception from a websocket is logged, and Jupyter stops."""
    watched(server, timeout_s=60)
    socket = Socket(server.page)

    def fail() -> None:
        raise ConnectionResetError

    socket.send_end = fail  # type: ignore[method-assign]

    server.look(20)

    assert server.stops == 1
    assert "ConnectionResetError" in server.logged[-1]


def test_a_time_warning_disappears_when_it_is_over(server: Server) -> None:
    """The next warning replaces it, and an extended limit removes it."""
    notices = watched(server)
    end_time = server.folder / "end-time"
    shown = []
    for left_s in (800, 290, 3600):
        end_time.write_text(str(round(time.time()) + left_s))
        server.look()
        shown.append([each["text"].partition(", at ")[0] for each in notices.current()])

    assert shown == [["this session ends in 13 minutes"], ["this session ends in 5 minutes"], []]


def test_a_memory_warning_disappears_when_it_is_over(server: Server) -> None:
    """The sentence about a killed kernel stays, because it says what happened."""
    server.memory.used = int(3.3 * GIB)
    notices = watched(server)
    server.start("k1")
    kill(server, "k1")
    before = [each["kind"] for each in notices.current()]
    server.memory.used = GIB
    server.look()

    assert before == ["memory-in-use", "memory"]
    assert [each["kind"] for each in notices.current()] == ["memory"]


def test_a_flood_of_notices_is_limited() -> None:
    """The pages get the last twenty, each with its own number."""
    notices = Notices()
    for number in range(100):
        notices.add("notice", str(number))

    assert [each["id"] for each in notices.current()] == list(range(81, 101))


def test_pages_get_the_age_of_a_notice() -> None:
    """A page opened hours later does not repeat an old warning."""
    clock = Clock()
    notices = Notices(clock)
    notices.add("memory", "early")
    clock.now += 700
    notices.add("time", "late")

    assert [(each["text"], each["age_s"]) for each in notices.current()] == [
        ("early", 700), ("late", 0)
    ]  # fmt: skip


# --- extending the time limit ---


def extended(server: Server) -> dict[str, Any]:
    answer: dict[str, Any] = asyncio.run(server.page.extend())
    return answer


def test_slurm_extends_the_job(server: Server, program: AddProgram) -> None:
    """It adds an hour; page and warnings know the new end at once."""
    end = round(time.time()) + 7200
    asked = server.folder / "asked"
    program("scontrol", f'echo "$*" >>{asked}')
    program("squeue", f'[ "$SLURM_TIME_FORMAT" = %s ] && echo {end}')
    watched(server)

    answer = extended(server)
    server.look()

    at = time.strftime("%H:%M", time.localtime(end))
    assert answer == {"extended": True, "text": f"the session now ends at {at}"}
    assert asked.read_text() == "update JobId=7 TimeLimit=+60\n"
    assert (server.folder / "end-time").read_text() == f"{end}\n"
    assert server.page.describe()["seconds_left"] > 7100


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ("echo slurm_update error: Access/permission denied >&2; exit 1",
         "slurm_update error: Access/permission denied"),
        ("exit 3", "exit code 3"),
        ("printf 'a\\nb %s' \"$(printf '%0500d' 0)\" >&2; exit 1", "a b " + "0" * 196),
    ],
)  # fmt: skip
def test_the_page_shows_why_slurm_does_not_extend_the_job(
    body: str, text: str, server: Server, program: AddProgram
) -> None:
    """Most sites allow only operators to do so."""
    program("scontrol", body)
    watched(server)

    assert extended(server) == {"extended": False, "text": text}


def test_a_node_without_slurm_commands_says_so(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A container may not have them."""
    monkeypatch.setenv("PATH", str(server.folder))
    watched(server)

    text = "Jupyter's environment on this node has no scontrol"
    assert extended(server) == {"extended": False, "text": text}


def test_a_session_without_slurm_cannot_be_extended(server: Server) -> None:
    """Its end was fixed when it started."""
    watched(server, cluster="local")

    text = "a session without Slurm cannot be extended"
    assert extended(server) == {"extended": False, "text": text}


# --- the end of a kernel ---


def kernel(code: str) -> subprocess.Popen[str]:
    """Start a process that delays SIGTERM as kernels do and then runs `code`."""
    source = KERNEL.read_text(encoding="utf-8")
    hold = source[source.index("def _hold_term") : source.index('if __name__ == "__main__"')]
    text = f"import os, signal, sys, threading, time\n_HOLD_S = 1.0\n{hold}\n_hold_term()\n{code}"
    return subprocess.Popen([sys.executable, "-c", text], stdout=subprocess.PIPE, text=True)


def test_a_kernel_has_time_for_a_shutdown_request() -> None:
    """Without a request SIGTERM ends it too, a little later."""
    process = kernel("print('up', flush=True)\nwhile True: time.sleep(0.05)")
    assert process.stdout
    process.stdout.readline()
    began = time.monotonic()
    process.send_signal(signal.SIGTERM)

    assert process.wait(10) == -signal.SIGTERM
    assert time.monotonic() - began >= 1


def test_a_second_signal_ends_a_kernel_at_once() -> None:
    """The server sends it if its request got no answer."""
    process = kernel(
        "print('up', flush=True)\n"
        "while signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL: time.sleep(0.01)\n"
        "print('held', flush=True)\nwhile True: time.sleep(0.05)"
    )
    assert process.stdout
    process.stdout.readline()
    process.send_signal(signal.SIGTERM)
    assert process.stdout.readline() == "held\n"
    began = time.monotonic()
    process.send_signal(signal.SIGTERM)

    assert process.wait(10) == -signal.SIGTERM
    assert time.monotonic() - began < 0.9


@pytest.mark.parametrize(
    "child",
    [
        "pid = os.fork()\nif pid == 0: time.sleep(60)",
        "import subprocess; pid = subprocess.Popen(['sleep', '60']).pid",
    ],
    ids=["forked", "started"],
)
def test_children_of_a_kernel_end_at_once(child: str) -> None:
    """multiprocessing's Pool.terminate signals them, as do programs that start others."""
    end = "began = time.monotonic()\nos.kill(pid, 15)\nstatus = os.waitpid(pid, 0)[1]"
    process = kernel(f"{child}\n{end}\nprint(status, time.monotonic() - began < 0.9)")

    assert process.communicate(timeout=20)[0] == "15 True\n"
