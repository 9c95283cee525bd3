"""How a session of a soak ends: each ending from its submission on."""

from __future__ import annotations

import contextlib
import json
import random
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import TimeoutExpired
from typing import Any

from tests.cluster import CommandError
from tests.e2e.scientist import SSH_CONNECTION
from tests.soak.cluster import OVER, SoakCluster

_API = Path(__file__).with_name("api_client.py").read_text(encoding="utf-8")
_TRIES = 6
_CELL_EVERY = 4
# A job that was put back into the queue, with the node it was on, waits two minutes there.
_READY_WITHIN_S = 60
_SUBMIT_S = 120


class Disturbed(Exception):
    """Something else ended the session, or kept it from starting, before its turn."""


Ending = Callable[[SoakCluster, str, random.Random], None]
"""Takes the session's name, and randomness of its own. Raises `Disturbed`."""


def submit(soak: SoakCluster, name: str, *words: str, wait: bool = True) -> dict[str, Any]:
    """Submit a session and return it, ready if awaited; try again while slurmctld is away."""
    how = ("--wait-timeout", str(_READY_WITHIN_S)) if wait else ("--no-wait",)
    for _ in range(_TRIES):
        said = soak.slurm_nb("submit", "--json", "-J", name, *how, *words)
        if said.exit_code == 0:
            record: dict[str, Any] = json.loads(said.stdout)
            return record
        if said.exit_code != 3:
            raise Disturbed(f"submit: {said.stderr.strip()[-300:]}")
        soak.counts["submissions refused, with slurmctld away"] += 1
        time.sleep(2)
    raise Disturbed("submit: never accepted")


def cancel(soak: SoakCluster, job_id: str) -> None:
    for _ in range(_TRIES):
        if soak.slurm_nb("cancel", job_id).exit_code == 0:
            return
        soak.counts["cancels refused, with slurmctld away"] += 1
        time.sleep(2)
    raise Disturbed("cancel: never accepted")


def scancel(soak: SoakCluster, job_id: str) -> None:
    soak.root("scancel", job_id)
    over(soak, job_id)


def over(soak: SoakCluster, job_id: str, at_most_s: float = 90) -> None:
    if not soak.await_state(job_id, *OVER, at_most_s=at_most_s):
        raise Disturbed(f"is {soak.states.get(job_id)}, and did not end")


@contextlib.contextmanager
def _tunnel(soak: SoakCluster, command: str) -> Iterator[None]:
    """Return the printed line on the laptop, unchanged."""
    ssh = soak.cluster.laptop.popen(["bash", "-c", f"exec {command}"], user="lea")
    try:
        yield
    finally:
        ssh.terminate()
        ssh.communicate(timeout=30)


def open_it(soak: SoakCluster, record: dict[str, Any], *, method: str = "", path: str = "") -> None:
    """Through the printed tunnel: a cell, now and then, else `api/status`; or what is asked."""
    soak.counts["tunnels"] += 1
    cell = not method and soak.counts["tunnels"] % _CELL_EVERY == 0
    try:
        with _tunnel(soak, record["tunnel_command"]):
            if cell:
                output = soak.alice.run_cell(record["url"], "print(6 * 7)")["output"]
                good = output == "42\n"
            else:
                words = [record["url"], method or "GET", path or "/api/status"]
                status = soak.cluster.laptop.run(
                    ["/usr/bin/python3", "-", *words], user="lea", stdin_text=_API, timeout_s=60
                ).stdout
                good = status.startswith("20")
    except (CommandError, TimeoutExpired) as error:
        raise Disturbed(f"tunnel: {str(error)[-300:]}") from error
    if not good:
        raise Disturbed("the tunnel led elsewhere")
    soak.counts["cells run" if cell else "answers through a tunnel"] += 1


def running(soak: SoakCluster, name: str, rng: random.Random, *words: str) -> dict[str, Any]:
    """Return a session that is ready; open every other one."""
    record = submit(soak, name, *words)
    if rng.random() < 0.5:
        open_it(soak, record)
    return record


def cancel_pending(soak: SoakCluster, name: str, _: random.Random) -> None:
    cancel(soak, submit(soak, name, "-p", "closed", wait=False)["job_id"])


def scancel_pending(soak: SoakCluster, name: str, _: random.Random) -> None:
    scancel(soak, submit(soak, name, "-p", "closed", wait=False)["job_id"])


def cancel_starting(soak: SoakCluster, name: str, rng: random.Random) -> None:
    job_id = submit(soak, name, wait=False)["job_id"]
    time.sleep(rng.uniform(0, 2))
    cancel(soak, job_id)


def cancel_running(soak: SoakCluster, name: str, rng: random.Random) -> None:
    cancel(soak, running(soak, name, rng)["job_id"])


def scancel_running(soak: SoakCluster, name: str, rng: random.Random) -> None:
    scancel(soak, running(soak, name, rng)["job_id"])


def time_limit(soak: SoakCluster, name: str, rng: random.Random) -> None:
    over(soak, running(soak, name, rng, "-t", "1")["job_id"], at_most_s=240)


def _killed(
    soak: SoakCluster, name: str, rng: random.Random, word: str, kind: str = "KILL"
) -> None:
    record = running(soak, name, rng)
    if not soak.kill(record["node"], record["job_id"], word, kind):
        raise Disturbed(f"there was no {word}")
    over(soak, record["job_id"])


def kill_jupyter(soak: SoakCluster, name: str, rng: random.Random) -> None:
    _killed(soak, name, rng, "slurm_nb_kit.preflight")


def terminate_jupyter(soak: SoakCluster, name: str, rng: random.Random) -> None:
    _killed(soak, name, rng, "slurm_nb_kit.preflight", "TERM")


def kill_script(soak: SoakCluster, name: str, rng: random.Random) -> None:
    _killed(soak, name, rng, "slurm_script")


def terminate_script(soak: SoakCluster, name: str, rng: random.Random) -> None:
    _killed(soak, name, rng, "slurm_script", "TERM")


def kill_kernel(soak: SoakCluster, name: str, _: random.Random) -> None:
    """The session continues to run, and still answers."""
    record = submit(soak, name)
    open_it(soak, record, method="POST", path="/api/kernels")
    deadline = time.monotonic() + 30
    while not soak.kill(record["node"], record["job_id"], "kernel_launcher"):
        if time.monotonic() > deadline:
            raise Disturbed("there was no kernel")
        time.sleep(0.2)
    open_it(soak, record)
    cancel(soak, record["job_id"])


def shut_down(soak: SoakCluster, name: str, _: random.Random) -> None:
    record = submit(soak, name)
    open_it(soak, record, method="POST", path="/api/shutdown")
    over(soak, record["job_id"])


def idle_stop(soak: SoakCluster, name: str, _: random.Random) -> None:
    over(soak, submit(soak, name, "--idle-timeout", "0:05")["job_id"])


def requeue(soak: SoakCluster, name: str, rng: random.Random) -> None:
    """Cancelled while it waits to start again, or when it has come back."""
    record = running(soak, name, rng)
    soak.root("scontrol", "requeue", record["job_id"])
    if not soak.await_state(record["job_id"], "PENDING"):
        raise Disturbed("was not put back into the queue")
    if rng.random() < 0.5:  # Slurm lets it wait two minutes
        if soak.slurm_nb("wait", "--wait-timeout", "220", record["job_id"]).exit_code != 0:
            raise Disturbed("did not come back")
        soak.counts["came back after a requeue"] += 1
    cancel(soak, record["job_id"])


def node_down(soak: SoakCluster, name: str, rng: random.Random) -> None:
    record = running(soak, name, rng, "--", "--no-requeue")
    soak.lose_node(record["node"])
    over(soak, record["job_id"])


def slurmd_restart(soak: SoakCluster, name: str, rng: random.Random) -> None:
    record = running(soak, name, rng)
    soak.restart_slurmd(record["node"])
    open_it(soak, record)
    cancel(soak, record["job_id"])


def environment_missing(soak: SoakCluster, name: str, rng: random.Random) -> None:
    words = rng.choice((("--python", "/nope/python3"), ("--setup", "false"), ("--module", "nope")))
    over(soak, submit(soak, name, *words, wait=False)["job_id"])


def _submit_ended(soak: SoakCluster, name: str, rng: random.Random, kind: signal.Signals) -> None:
    """Kill a submission; find its session, if there is one, by its name and cancel it."""
    partition = rng.choice(("main", "closed"))
    words = ["slurm-nb", "submit", "-J", name, "-p", partition]
    process = soak.cluster.login.popen(words, user="alice", env=SSH_CONNECTION)
    time.sleep(rng.uniform(0.2, 1.5))  # sooner, and it may not be slurm-nb yet that is killed
    if kind is signal.SIGKILL:
        process.kill()
    else:
        process.send_signal(kind)
    process.communicate(timeout=_SUBMIT_S)
    time.sleep(rng.uniform(0, 2))
    if soak.slurm_nb("cancel", name).exit_code == 0:
        soak.counts["found after its submission was ended"] += 1
    # Otherwise no session exists yet, or slurmctld is down: the end of the soak shows which.


def kill_submit(soak: SoakCluster, name: str, rng: random.Random) -> None:
    _submit_ended(soak, name, rng, signal.SIGKILL)


def interrupt_submit(soak: SoakCluster, name: str, rng: random.Random) -> None:
    _submit_ended(soak, name, rng, rng.choice((signal.SIGINT, signal.SIGTERM, signal.SIGHUP)))


WEIGHTS: dict[Ending, int] = {
    # Slow ones first: they are begun first.
    time_limit: 4, requeue: 6,
    node_down: 3, slurmd_restart: 4, idle_stop: 8,
    cancel_running: 16, scancel_running: 13,
    kill_jupyter: 10, terminate_jupyter: 5, kill_script: 6, terminate_script: 5, kill_kernel: 6,
    shut_down: 9,
    environment_missing: 12,
    cancel_starting: 20, cancel_pending: 25, scancel_pending: 18,
    kill_submit: 20, interrupt_submit: 10,
}  # fmt: skip
SLOW = frozenset((time_limit, requeue))


def deck(count: int, rng: random.Random) -> list[Ending]:
    """`count` endings by their weights; the slow ones first, the rest shuffled."""
    total = sum(WEIGHTS.values())
    cards = [
        ending for ending, weight in WEIGHTS.items() for _ in range(max(1, weight * count // total))
    ]
    while len(cards) < count:
        cards.append(rng.choice((cancel_pending, cancel_starting, cancel_running)))
    slow = [ending for ending in cards if ending in SLOW]
    rest = [ending for ending in cards if ending not in SLOW]
    rng.shuffle(rest)
    return [*slow, *rest][:count]
