"""A held relay follows its session, connects again, gives up in time, and ends with its ssh."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Self

import pytest

from slurm_nb.connection.connection import Connection
from slurm_nb.connection.login import Login
from slurm_nb.connection.relay_end import held, holder
from slurm_nb.errors import JobEnded, SchedulerError, UserError
from slurm_nb.files import write_private
from slurm_nb.joblog.events import Progress, Ready, SessionWarning
from slurm_nb.operations import relay as subject
from slurm_nb.scheduler.job import Job, JobState, Phase
from slurm_nb.session.session import Session
from slurm_nb.session.store import Store
from tests.conftest import NONCE

SESSION = Session(job=Job("7", "hpc"))
C1, C2 = Ready("c1", 40123, "/tree"), Ready("c2", 40999, "/tree")
RUNNING = JobState(Phase.RUNNING, "RUNNING")


@dataclass
class World:
    """A job, its page and its relays, moved on by the clock of the loop."""

    store: Store
    ready: list[Ready] = field(default_factory=lambda: [C1])
    """The job's server."""
    lives: list[int] = field(default_factory=lambda: [3])
    """How many looks each relay lives; 0: it never answers."""
    words: str = ""
    told: list[str] = field(default_factory=list)
    slept: list[float] = field(default_factory=list)
    started: int = 0
    looks: int = 0
    orphaned_at: float = float("inf")
    """After so many calls of the clock."""
    warnings: tuple[SessionWarning, ...] = ()
    meanwhile: Callable[[], None] = lambda: None
    """Changes the world while the relay sleeps."""

    # The display.

    def wait(self, _state: JobState | None, _waited_s: float) -> None:
        self.told.append("waits")

    def ready_(self, reached: Connection) -> None:
        self.told.append(f"ready on {reached.ready.node}: {reached.tunnel.url.partition('?')[0]}")

    def watch(self, _reached: Connection) -> None:
        self.told.append("watches")

    def note(self, text: str) -> None:
        self.told.append(text)

    def orphaned(self) -> bool:
        return len(self.slept) >= self.orphaned_at

    # Slurm, the job's output and the page.

    def wait_until_ready(self, session: Session, **more: Any) -> Connection:
        more["show"](None, 0.0)
        if not self.ready:
            raise JobEnded("job 7 has ended")
        return Connection(session, self.ready[0], RUNNING, None, ())  # type: ignore[arg-type]

    def read(self) -> Progress:
        return Progress(ready=self.ready[0] if self.ready else None, warnings=self.warnings)

    def answers(self, _path: Path, _ready: Ready) -> bool:
        return self.looks > 0

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        if seconds == 1.0:
            self.looks -= 1
        self.meanwhile()


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    store = Store.of_user({"SLURM_NB_HOME": str(tmp_path / "s")})
    store.save(SESSION)
    for name, secret in (("token", "ab" * 32), ("nonce", NONCE)):
        write_private(store.session_folder("hpc", "7") / name, secret)
    world = World(store)

    class Relay:
        def __init__(self, _config: Path, _host: str, path: Path, *, lock: int | None) -> None:
            assert (lock is None) == (path.name != "socket")
            world.looks = world.lives[min(world.started, len(world.lives) - 1)]
            world.started += 1
            path.touch()

        def __enter__(self) -> Self:
            return self

        def __exit__(self, *_: object) -> None:
            with suppress(FileNotFoundError):
                (store.relays / "socket").unlink()

        def is_running(self) -> bool:
            return world.looks > 0

        def words(self) -> str:
            return world.words

    class Log:
        read = staticmethod(world.read)

    monkeypatch.setattr(subject, "wait_until_ready", world.wait_until_ready)
    monkeypatch.setattr(subject, "answers", world.answers)
    monkeypatch.setattr(subject, "RelayProcess", Relay)
    # Not time.sleep itself, which waiting for ssh-keygen needs.
    clock = SimpleNamespace(sleep=world.sleep, monotonic=time.monotonic)
    monkeypatch.setattr(subject, "time", clock)
    monkeypatch.setattr(Store, "log", lambda *_: Log)
    return world


@dataclass
class Shown:
    """The display, whose `ready` is not the list of the world."""

    world: World

    def __getattr__(self, name: str) -> Callable[..., None]:
        found: Callable[..., None] = getattr(self.world, "ready_" if name == "ready" else name)
        return found


def hold(world: World, **more: Any) -> None:
    subject.hold_relay(
        SESSION,
        login=Login("login"),
        display=Shown(world),
        store=world.store,
        orphaned=world.orphaned,
        **more,
    )


def test_it_says_ready_after_the_page_has_answered(world: World) -> None:
    """Then it watches, until what started it is gone; the end is free again."""
    world.orphaned_at = 2

    hold(world)

    assert world.told[0] == "waits"
    assert world.told[1].startswith("ready on c1: http://127.0.0.1:")
    assert world.told[2] == "watches"
    assert holder(world.store) is None


def test_a_relay_that_breaks_off_comes_back_without_a_new_url(world: World) -> None:
    """The words of ssh, srun and sshd are shown."""
    world.words, world.orphaned_at = "srun: error: node failure", 8

    hold(world)

    assert "the relay broke off (srun: error: node failure); connecting again" in world.told
    assert "the relay works again" in world.told
    assert sum(each.startswith("ready on") for each in world.told) == 1


def test_it_gives_up_when_nothing_answers_for_long(world: World) -> None:
    """The pauses grow, and the session keeps running."""
    world.lives, world.words = [0], "Connection closed"

    with pytest.raises(SchedulerError, match="no relay to c1: Connection closed") as raised:
        hold(world)

    assert world.slept == [1.0, 2.0, 5.0, 10.0, 30.0]
    assert "the session keeps running" in raised.value.hint


def test_success_forgets_the_failures_before_it(world: World) -> None:
    world.lives, world.orphaned_at = [0, 0, 0, 3, 0, 0, 0, 3], 60

    with suppress(SchedulerError):
        hold(world)

    assert world.started > 8


def test_a_requeued_job_is_followed(world: World) -> None:
    """On the same port, with the URL of the new run."""
    world.orphaned_at = 4

    def requeued() -> None:
        world.ready = [C2]

    world.meanwhile = requeued

    hold(world)

    first, second = [each for each in world.told if each.startswith("ready on")]
    assert (first.split(": ")[1], second[:11]) == (second.split(": ")[1], "ready on c2")
    assert not any("broke off" in each for each in world.told)


def test_the_end_of_the_session_ends_it(world: World) -> None:
    world.meanwhile = world.ready.clear

    with pytest.raises(JobEnded):
        hold(world)


def test_warnings_of_the_job_are_shown_once(world: World) -> None:
    warning = SessionWarning("time", "this session ends in 5 minutes")
    world.orphaned_at = 3

    def warned() -> None:
        world.warnings = (warning,)

    world.meanwhile = warned

    hold(world)

    assert world.told.count(warning.text) == 1


def test_a_node_without_sshd_is_named_at_once(world: World) -> None:
    """Connecting again cannot help there."""
    world.lives, world.words = [0], "there is no sshd on c1"

    with pytest.raises(UserError, match="c1 has no sshd program"):
        hold(world)

    assert world.slept == []


def test_while_the_job_waits_the_end_of_ssh_is_noticed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.orphaned_at = 0
    monkeypatch.setattr(world, "ready", [])

    hold(world)

    assert world.told == []


def test_a_socket_of_ones_own_needs_no_lock(world: World) -> None:
    """Another relay may have the user's end."""
    world.orphaned_at = 1

    with held(world.store, SESSION):
        hold(world, socket=world.store.relays / "8", local_port=23456)

    assert world.told[1] == "ready on c1: http://127.0.0.1:23456/"


def test_the_second_relay_prints_its_own_line(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("slurm_nb.connection.relay_end._LOCK_S", 0.0)
    other = Session(job=Job("8", "hpc"))

    with held(world.store, other), pytest.raises(UserError, match="carries session 8") as raised:
        hold(world)

    assert "\nssh -t " in raised.value.hint
    assert " connect 7 --socket " in raised.value.hint
