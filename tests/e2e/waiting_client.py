"""Wait for jobs on a clock that runs by itself; runs on the login node, from standard input.

`SECONDS JOBID...`: a terminal for each job, opened a few seconds after the one before, waits that
long by the clock. The queries to Slurm are real.
Print `{"asked_at": [1.0, 8.0], "waited_s": 3600.0}`.
"""

from __future__ import annotations

import heapq
import json
import os
import sys
import threading
from collections.abc import Callable, Collection, Iterable
from functools import partial

from slurm_nb.connection.wait import Clock, follow_until_ready
from slurm_nb.errors import NotReady
from slurm_nb.scheduler.job import Job, JobState
from slurm_nb.scheduler.slurm import Slurm
from slurm_nb.session.session import Session
from slurm_nb.session.state_cache import JobStateCache
from slurm_nb.session.store import Store

_NEXT_TERMINAL_S = 3.7
_START_S = 1_000_000.0


class Time:
    """One terminal runs at a time, until it sleeps; then the one that wakes first continues."""

    def __init__(self) -> None:
        self.now_s = _START_S
        self._handed_back = threading.Semaphore(0)
        self._own = threading.local()
        self._next: list[tuple[float, int, threading.Semaphore]] = []
        self._failed: list[BaseException] = []

    def add(self, begin_s: float, work: Callable[[], None]) -> None:
        turn = threading.Semaphore(0)
        heapq.heappush(self._next, (_START_S + begin_s, len(self._next), turn))

        def run() -> None:
            self._own.turn = turn
            turn.acquire()
            try:
                work()
            except BaseException as error:  # noqa: BLE001  told by `run`
                self._failed.append(error)
            self._handed_back.release()

        threading.Thread(target=run, daemon=True).start()

    def sleep(self, seconds: float) -> None:
        turn = self._own.turn
        heapq.heappush(self._next, (self.now_s + seconds, id(turn), turn))
        self._handed_back.release()
        turn.acquire()

    def run(self) -> None:
        while self._next and not self._failed:
            self.now_s, _, turn = heapq.heappop(self._next)
            turn.release()
            self._handed_back.acquire()
        if self._failed:
            raise self._failed[0]


class Counting(Slurm):
    """The real Slurm, and when it was asked."""

    def __init__(self, store: Store, time: Time) -> None:
        super().__init__(store)
        self._time = time
        self.asked_at: list[float] = []

    def states(
        self, jobs: Iterable[Job], *, unexplained: Collection[str] | None = None
    ) -> dict[str, JobState]:
        self.asked_at.append(round(self._time.now_s - _START_S, 2))
        return super().states(jobs, unexplained=unexplained)


def main(seconds: float, job_ids: list[str]) -> None:
    time = Time()
    store = Store.of_user(os.environ)
    jobs = Counting(store, time)
    clock = Clock(now=lambda: time.now_s, sleep=time.sleep)
    ended = []

    def wait(session: Session) -> None:
        shared = JobStateCache(store, jobs, session.cluster, now=clock.now)
        try:
            follow_until_ready(
                store.log(session),
                ask=lambda max_age_s: shared.state(session.job, max_age_s=max_age_s),
                show=lambda *_: None,
                timeout_s=seconds,
                clock=clock,
            )
        except NotReady:
            ended.append(time.now_s)

    for number, job_id in enumerate(job_ids):
        session = store.load(job_id)
        time.add(number * _NEXT_TERMINAL_S, partial(wait, session))
    time.run()
    assert len(ended) == len(job_ids)
    print(json.dumps({"asked_at": jobs.asked_at, "waited_s": time.now_s - _START_S}))  # noqa: T201


main(float(sys.argv[1]), sys.argv[2:])
