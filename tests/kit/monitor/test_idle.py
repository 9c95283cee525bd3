"""A session is idle when nothing has run and nobody has been connected for a given time."""

from __future__ import annotations

import os
import pty
import subprocess
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from slurm_nb.kit.monitor.idle import Activity, Changes, Idle, activity


class Clock:
    """A clock that moves when the test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


UNUSED = Activity(in_use=False, kernels=1, marks=["a"])
USED = Activity(in_use=True, kernels=1, marks=["a"])


def pass_by(idle: Idle, clock: Clock, seconds: float, found: Activity = UNUSED) -> list[bool]:
    """Look as often as the kit does; return what each look says."""
    said = []
    for _ in range(round(seconds / idle.period_s)):
        clock.now += idle.period_s
        said.append(idle.look(found))
    return said


def test_an_unused_session_is_over_at_the_timeout(clock: Clock) -> None:
    """It does not end earlier, and at most one look later."""
    idle = Idle(600, clock)
    idle.look(UNUSED)

    assert not any(pass_by(idle, clock, 595))
    assert pass_by(idle, clock, 5) == [True]


def test_a_session_in_use_is_never_idle(clock: Clock) -> None:
    """A cell can run for days; the timeout starts when the cell has ended."""
    idle = Idle(600, clock)

    assert not any(pass_by(idle, clock, 100_000, USED))
    assert not any(pass_by(idle, clock, 595))
    assert any(pass_by(idle, clock, 10))


def test_activity_between_two_looks_is_noticed(clock: Clock) -> None:
    """A short cell changes the kernel's mark and restarts the timeout."""
    idle = Idle(600, clock)
    pass_by(idle, clock, 595)

    clock.now += 5
    assert not idle.look(Activity(in_use=False, kernels=1, marks=["b"]))
    assert idle.idle_s == 0
    assert not idle.in_use


def test_a_suspended_job_was_not_idle(clock: Clock) -> None:
    """After hours of suspension the user still has time to come back."""
    idle = Idle(600, clock)
    idle.look(UNUSED)
    clock.now += 50_000

    assert not idle.look(UNUSED)
    assert idle.idle_s == 15


def test_without_a_timeout_a_session_never_ends(clock: Clock) -> None:
    """The kit still knows how long it has been idle."""
    idle = Idle(None, clock)
    idle.look(UNUSED)

    assert not any(pass_by(idle, clock, 100_000))
    assert idle.idle_s == 100_000


@pytest.mark.parametrize(
    ("timeout_s", "period_s"), [(None, 5), (3600, 5), (60, 5), (20, 2), (5, 0.5), (1, 0.5)]
)
def test_the_kit_looks_often_if_the_timeout_is_short(
    timeout_s: int | None, period_s: float
) -> None:
    """A look is cheap, but looking more often would tell nothing new."""
    assert Idle(timeout_s).period_s == period_s


# --- activity that the kit sees ---


def server(terminals: Any = None, **kernels: Any) -> Any:
    """Return the parts of a ServerApp that the kit reads."""
    models = {
        name: {
            "id": name,
            "last_activity": "1",
            "execution_state": "idle",
            "connections": 0,
            **more,
        }
        for name, more in kernels.items()
    }
    settings: dict[str, Any] = {"log_function": None}
    if terminals is not None:
        settings["terminal_manager"] = SimpleNamespace(terminals=terminals)
    return SimpleNamespace(
        kernel_manager=SimpleNamespace(
            list_kernel_ids=lambda: list(models), kernel_model=models.get
        ),
        web_app=SimpleNamespace(settings=settings),
    )


def test_without_kernels_and_terminals_nothing_is_in_use() -> None:
    """The same is true without the terminals extension."""
    assert activity(server()) == Activity(in_use=False, kernels=0, marks=[])


@pytest.mark.parametrize(
    ("state", "in_use"), [("busy", True), ("idle", False), ("starting", False), ("dead", False)]
)
def test_a_running_cell_is_use(state: str, in_use: bool) -> None:  # noqa: FBT001  a column
    """One busy kernel among idle ones is enough."""
    found = activity(server(a={}, b={"execution_state": state}))

    assert (found.in_use, found.kernels) == (in_use, 2)


def test_an_open_page_is_use() -> None:
    """A websocket to a kernel means that a notebook is open somewhere."""
    assert activity(server(a={"connections": 1})).in_use


def test_the_marks_follow_the_kernels() -> None:
    """They change when a kernel's last activity changes, or when a kernel starts or ends."""
    marks = [
        activity(app).marks
        for app in (server(), server(a={}), server(a={"last_activity": "2"}), server(b={}))
    ]

    assert all(one != other for i, one in enumerate(marks) for other in marks[:i])


@pytest.fixture
def shell() -> Iterator[tuple[int, int]]:
    """Start a shell as terminado does, as leader of its own session; yield its pid and terminal."""
    master, slave = pty.openpty()
    process = subprocess.Popen(
        ["bash", "--norc", "-i"], stdin=slave, stdout=slave, stderr=slave, start_new_session=True
    )
    yield process.pid, master
    process.kill()
    process.wait()
    os.close(master)
    os.close(slave)


def terminal(pid: int, *, clients: int = 0, last_activity: str = "1") -> Any:
    return SimpleNamespace(
        ptyproc=SimpleNamespace(pid=pid), clients=[None] * clients, last_activity=last_activity
    )


def test_a_waiting_shell_is_not_use(shell: tuple[int, int]) -> None:
    """A forgotten terminal does not keep a session alive for ever."""
    found = activity(server({"1": terminal(shell[0])}))

    assert not found.in_use
    assert found.marks == [("1", "1")]


def test_a_connected_terminal_is_use(shell: tuple[int, int]) -> None:
    """Somebody is looking at it."""
    assert activity(server({"1": terminal(shell[0], clients=1)})).in_use


@pytest.mark.parametrize("line", ["sleep 300", "sleep 300 &"])
def test_a_program_in_a_terminal_is_use(shell: tuple[int, int], line: str) -> None:
    """It may run in the foreground or in the background."""
    app = server({"1": terminal(shell[0])})
    os.write(shell[1], f"{line}\n".encode())

    deadline = time.monotonic() + 10
    while not activity(app).in_use:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    while activity(app).in_use:  # a Ctrl-C is lost on a program that just begins
        os.write(shell[1], b"\x03" if line == "sleep 300" else b"kill %1\n")
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize(
    ("method", "status", "count"),
    [("PUT", 200, 1), ("POST", 201, 1), ("DELETE", 204, 1), ("PATCH", 200, 1), ("GET", 200, 0),
     ("HEAD", 200, 0), ("OPTIONS", 204, 0), ("PUT", 403, 0), ("POST", 500, 0)],
)  # fmt: skip
def test_saving_a_file_is_use(method: str, status: int, count: int) -> None:
    """Read requests, which an open page makes by itself, are not, and neither are refused ones."""
    app = server()
    logged: list[Any] = []
    app.web_app.settings["log_function"] = logged.append
    changes = Changes(app)
    handler = SimpleNamespace(request=SimpleNamespace(method=method), get_status=lambda: status)

    app.web_app.settings["log_function"](handler)

    assert changes.count == count
    assert logged == [handler]
