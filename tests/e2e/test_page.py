"""The page knows its job: a real browser on the laptop, through the printed tunnel."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from tests.cluster import ensure_oldest
from tests.e2e.page import BANNER, DIALOG, ITEM, JUPYTERS_DIALOG, TOAST, browser
from tests.e2e.processes import pids_of_job
from tests.e2e.scientist import Scientist
from tests.e2e.watched import await_that

OLDEST = ["--python", "/srv/oldest/bin/python"]
PAGES = [("notebook", []), ("lab", []), ("notebook", OLDEST), ("lab", OLDEST)]
BUTTON = f"{DIALOG} button"


def _name(value: object) -> str:
    return str(value) if isinstance(value, str) else "oldest" if value else "newest"


pages = pytest.mark.parametrize(("ui", "python"), PAGES, ids=_name)


@pytest.fixture(autouse=True)
def oldest(alice: Scientist) -> None:
    """Install the oldest Jupyter, for the tests that use it."""
    ensure_oldest(alice.cluster)


def state(alice: Scientist, job_id: str) -> str:
    """Return the job's state in Slurm."""
    asked = ["squeue", "-h", "-t", "all", "-j", job_id, "-o", "%T"]
    return alice.cluster.login.run(asked, user="alice").stdout.strip()


@pages
def test_the_page_shows_its_job_and_ends_it(alice: Scientist, ui: str, python: list[str]) -> None:
    """Node, job and time are in the bar; the menu asks once before it ends the session; where
    Slurm lets only operators extend a job, the page shows what Slurm says.
    """
    record = alice.submit("--ui", ui, "--time", "3:00:00", "-w", "c1", *python)
    job_id = record["job_id"]
    with (
        alice.tunnel(record["tunnel_command"]),
        browser(alice, record, f"{ui}-{_name(python)}") as page,
    ):
        item = page.until(ITEM, "left")
        page.until_gone(JUPYTERS_DIALOG)
        time.sleep(3)  # JupyterLab would ask about news by now
        toasts = page.texts(TOAST)
        page.picture("item")
        page.click(ITEM)
        details = page.until(DIALOG, f"Session {job_id}")
        page.click(BUTTON, "Extend")
        refusal = page.until(DIALOG, "Slurm did not extend the job")
        page.picture("extend")
        page.click(BUTTON, "End this session")
        question = page.until(DIALOG, "End this session?")
        running = state(alice, job_id)
        page.picture("end")
        page.click(BUTTON, "End it")
        banner = page.until(BANNER, "ended")
        page.picture("ended")
        await_that(lambda: state(alice, job_id) == "COMPLETED", "the job ends", 60)

    assert item in {f"c1 · job {job_id} · {left} left" for left in ("2 h 59 min", "3 h 00 min")}
    assert not [each for each in toasts if "news" in each]
    assert "Node c1 Cluster testbed Time left 2 h 59 min, until " in details
    assert f"slurm-nb status {job_id}" in details
    assert "denied" in refusal
    assert f"slurm-nb submit --again {job_id}" in refusal
    assert question.endswith("Its kernels stop; unsaved work is lost. Keep it End it")
    assert running == "RUNNING"
    assert banner.startswith(f"Session {job_id} ended: it was shut down from its page.")
    assert f"slurm-nb submit --again {job_id}" in banner


@pages
def test_the_page_says_that_the_session_was_cancelled(
    alice: Scientist, ui: str, python: list[str]
) -> None:
    """With the command for another one, and without Jupyter's advice about the network."""
    record = alice.submit("--ui", ui, "-w", "c1", *python)
    job_id = record["job_id"]
    with (
        alice.tunnel(record["tunnel_command"]),
        browser(alice, record, f"{ui}-{_name(python)}") as page,
    ):
        page.until(ITEM, "left")
        alice.slurm_nb("cancel", job_id)
        banner = page.until(BANNER, "ended", 20)
        time.sleep(15)  # JupyterLab would complain by now
        complaints = page.texts(JUPYTERS_DIALOG)
        page.picture("cancelled")
        item = page.texts(ITEM)

    assert banner.startswith(f"Session {job_id} ended: it was cancelled or preempted.")
    assert "The ssh command on your laptop is still running: stop it with Ctrl-C." in banner
    assert f"slurm-nb submit --again {job_id}" in banner
    assert item == [f"session ended · job {job_id}"]
    assert complaints == []


@pytest.mark.parametrize("ui", ["notebook", "lab"])
def test_the_page_says_that_the_time_limit_was_reached(alice: Scientist, ui: str) -> None:
    """The warning that came before goes: it is over."""
    record = alice.submit("--ui", ui, "--time", "1", "-w", "c1")
    with alice.tunnel(record["tunnel_command"]), browser(alice, record, ui) as page:
        warning = page.until(TOAST, "this session ends in ")
        page.picture("warning")
        banner = page.until(BANNER, "ended", 150)
        page.until_gone(TOAST, 10)
        page.picture("time-limit")

    assert "slurm-nb: this session ends in " in warning
    assert banner.startswith(f"Session {record['job_id']} ended: it reached its time limit.")


def test_a_warning_goes_when_the_limit_is_extended(alice: Scientist) -> None:
    """An operator extends the job; Slurm then signals it, as it does before the new end."""
    record = alice.submit("--time", "10", "-w", "c1")
    job_id = record["job_id"]
    with alice.tunnel(record["tunnel_command"]), browser(alice, record, "extended") as page:
        page.until(TOAST, "this session ends in ")
        before = page.texts(ITEM)
        alice.cluster.login.run(["scontrol", "update", f"JobId={job_id}", "TimeLimit=+120"])
        alice.cluster.login.run(["scancel", "--batch", "--signal=USR1", job_id])
        page.until_gone(TOAST, 50)
        after = page.until(ITEM, " h ", 10)

    assert before[0].endswith(" min left")
    assert after.startswith(f"c1 · job {job_id} · 2 h 0")


def test_the_page_says_that_an_idle_session_ended(alice: Scientist) -> None:
    """A page that is only looked at does not count as use, as ever."""
    record = alice.submit("--idle-timeout", "0:20", "-w", "c1")
    with alice.tunnel(record["tunnel_command"]), browser(alice, record, "idle") as page:
        page.until(ITEM, "left")
        banner = page.until(BANNER, "ended", 60)
        page.picture("ended")

    assert "ended: it was idle for 20 seconds (--idle-timeout)." in banner


@pytest.mark.parametrize("ui", ["notebook", "lab"])
def test_the_page_of_a_job_that_was_killed_names_both_commands(alice: Scientist, ui: str) -> None:
    """As when its node is lost: the server could not say why, and the tunnel may just be down."""
    node = alice.cluster.hosts["c1"]
    record = alice.submit("--ui", ui, "-w", "c1")
    job_id = record["job_id"]
    with alice.tunnel(record["tunnel_command"]), browser(alice, record, f"{ui}-killed") as page:
        page.until(ITEM, "left")
        node.run(["kill", "-KILL", *pids_of_job(node, job_id, "slurm_nb_kit.preflight")])
        banner = page.until(BANNER, "lost the connection", 60)
        page.picture("lost")

    assert f"slurm-nb tunnel-cmd {job_id}" in banner
    assert f"slurm-nb submit --again {job_id}" in banner


@pytest.fixture
def network(alice: Scientist) -> Iterator[None]:
    """The laptop's link is up again after the test."""
    yield
    alice.cluster.laptop.run(["ip", "link", "set", "eth0", "up"])


@pytest.mark.usefixtures("network")
@pytest.mark.parametrize("ui", ["notebook", "lab"])
def test_the_page_says_that_the_connection_is_lost_until_it_returns(
    alice: Scientist, ui: str
) -> None:
    """The laptop is off the net, and then ssh dies: the page says what to run, and takes it back
    by itself when the connection is there again.
    """
    record = alice.submit("--ui", ui, "-w", "c1")
    job_id = record["job_id"]
    link = ["ip", "link", "set", "eth0"]
    tunnel = contextlib.ExitStack()
    tunnel.enter_context(alice.tunnel(record["tunnel_command"]))
    with tunnel, browser(alice, record, f"{ui}-off") as page:
        page.until(ITEM, "left")
        alice.cluster.laptop.run([*link, "down"])
        off = page.until(BANNER, "lost the connection", 90)
        page.picture("off")
        complaints = page.texts(JUPYTERS_DIALOG)
        alice.cluster.laptop.run([*link, "up"])
        page.until_gone(BANNER, 60)
        page.until(ITEM, "left")

        tunnel.close()
        died = page.until(BANNER, "lost the connection", 60)
        with alice.tunnel(record["tunnel_command"]):
            page.until_gone(BANNER, 60)
            page.until(ITEM, "left")

    for banner in (off, died):
        assert f"slurm-nb tunnel-cmd {job_id}" in banner
    assert complaints == []


COUNT = "import time\nfor number in range(60): print(number, flush=True); time.sleep(1)"
OUTPUT = ".jp-OutputArea-output"


def write_notebook(alice: Scientist, source: str) -> None:
    """Write `work/count.ipynb` in alice's home."""
    cell: dict[str, object] = {"cell_type": "code", "id": "a", "metadata": {}, "outputs": []}
    cell |= {"source": source, "execution_count": None}
    kernel = {"name": "python3", "display_name": "Python 3 (ipykernel)", "language": "python"}
    path = alice.home / "work/count.ipynb"
    path.parent.mkdir(exist_ok=True)
    path.write_text(
        json.dumps(
            {
                "cells": [cell],
                "metadata": {"kernelspec": kernel},
                "nbformat": 4,
                "nbformat_minor": 5,
            }
        )
    )
    for made in (path.parent, path):
        os.chown(made, alice.user.uid, alice.user.uid)


@pytest.mark.parametrize("ui", ["notebook", "lab"])
def test_the_output_of_the_time_without_a_tunnel_is_shown_afterwards(
    alice: Scientist, ui: str
) -> None:
    """Jupyter's server keeps what a kernel prints while no page is connected."""
    write_notebook(alice, COUNT)
    record = alice.submit("--ui", ui, "-w", "c1", "--notebook-dir", "work")
    tunnel = contextlib.ExitStack()
    tunnel.enter_context(alice.tunnel(record["tunnel_command"]))
    with tunnel, browser(alice, record, f"{ui}-output") as page:
        page.until(ITEM, "left")
        path = {"notebook": "notebooks", "lab": "lab/tree"}[ui]
        page.do("open", f"http://{urlsplit(record['url']).netloc}/{path}/count.ipynb")
        deadline = time.monotonic() + 60
        while not page.texts(OUTPUT):  # keys are lost until the page has a kernel
            assert time.monotonic() < deadline
            page.do("run", "document.querySelector('.jp-CodeCell .cm-content')?.focus()")
            page.do("press")
            time.sleep(1)
        page.until(OUTPUT, " 3")
        tunnel.close()
        page.until(BANNER, "lost the connection")
        page.picture("lost")
        time.sleep(15)
        with alice.tunnel(record["tunnel_command"]):
            page.until_gone(BANNER)
            output = page.until(OUTPUT, "59", 90)
            page.picture("back")

    assert output == " ".join(str(number) for number in range(60))
