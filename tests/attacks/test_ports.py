"""The listeners on the compute node, and what a stranger there can do with them."""

from __future__ import annotations

import json

from tests.attacks.score_table import Trial
from tests.attacks.target import Target, await_line, finish
from tests.cluster.users import ALICE

LAB = {"clientID": "jupyterlab", "adapterID": "", "pathFormat": "path"}
LOOP = """
import time
for number in range({times}):
    print({word!r} + "-VALUE", flush=True)
    time.sleep(0.1)
"""


def test_iopub(trial: Trial) -> None:
    """Subscribe to every listening port while a cell prints a secret: kernels are not on TCP."""
    target = trial.target
    spy = target.on_node.start("eavesdrop", WANTED="SECRET-42-VALUE")
    assert await_line(spy) == "listening"
    target.owner.run(LOOP.format(times=20, word="SECRET-42"))

    heard = finish(spy)

    trial.verdict("SECRET-42-VALUE" in heard, heard)


def test_iopub_of_code(trial: Trial) -> None:
    """Read the code of a cell that prints nothing: iopub carries code too, and is not on TCP."""
    target = trial.target
    spy = target.on_node.start("eavesdrop", WANTED="PASSWORD_77")
    assert await_line(spy) == "listening"
    for _ in range(20):
        target.owner.run("PASSWORD_77 = 1; import time; time.sleep(0.05)")

    heard = finish(spy)

    trial.verdict("PASSWORD_77" in heard, heard)


def test_forged_message(trial: Trial) -> None:
    """Send unsigned and falsely signed messages to every port: a kernel wants its own key."""
    target = trial.target
    mark = f"/tmp/forged-{target.kind}"
    target.on_node.run("forge", MARK=mark)

    alive = target.owner.run(f"import os; print(os.path.exists({mark!r}))")

    trial.verdict(alive != "False\n", alive, on_plain=False)


def test_kernel_port_answers(trial: Trial) -> None:
    """Find a kernel port that answers a stranger, as the heartbeat does: there is none on TCP."""
    answers = trial.target.on_node.run("forge", MARK="/tmp/none")

    trial.verdict(" answered " in answers, answers)


def test_debugger(trial: Trial) -> None:
    """Speak DAP to the debugger that a lab user turns on: it does not start unless allowed."""
    target = trial.target
    with target.owner.other_kernel() as owner:
        before = [port for _, port, _ in target.listening()]
        owner.debug("initialize", **LAB)
        evaluated = _evaluate(target, before)

    trial.verdict("DEBUGGED-alice" in evaluated, evaluated)


def test_debugger_left_behind(trial: Trial) -> None:
    """Speak DAP after Alice has turned the debugger off again: nothing was left listening."""
    target = trial.target
    with target.owner.other_kernel() as owner:
        before = [port for _, port, _ in target.listening()]
        owner.debug("initialize", **LAB)
        owner.debug("attach")
        owner.debug("disconnect", restart=False, terminateDebuggee=False)
        evaluated = _evaluate(target, before)

    trial.verdict("DEBUGGED-alice" in evaluated, evaluated)


def test_terminal(trial: Trial) -> None:
    """Find a listener that a terminal opens: it adds none."""
    target = trial.target
    before = target.listening()
    made = target.owner.ask("rest", method="POST", path="/api/terminals", body="{}")
    assert made["status"] == 200, made

    added = [each for each in target.listening() if each not in before]

    trial.verdict(bool(added), added, on_plain=False)


def test_every_listener(trial: Trial) -> None:
    """Count Alice's listeners: one notebook port and a kernel's inbound pipe, on loopback."""
    hers = [each for each in trial.target.listening() if each[2] == ALICE.uid]

    trial.verdict(len(hers) > 2 or any(int(address, 16) == 0 for address, _, _ in hers), hers)


def test_inbound_pipe(trial: Trial) -> None:
    """Push forged output into every port while Alice works: none of it reaches the notebook."""
    target = trial.target
    with target.owner.other_kernel() as owner:
        pusher = target.on_node.start("pipe", TEXT="FORGED-OUTPUT")
        shown = "".join(owner.run("import time; time.sleep(0.2); print(1)") for _ in range(3))
        told = finish(pusher)

    trial.verdict(shown != "1\n" * 3, shown + told)


def test_from_the_login_node(trial: Trial) -> None:
    """Reach the notebook's port from the login node: it is on loopback only."""
    target = trial.target
    (answer,) = target.web([{"path": "/api"}], host="login", user="mallory", address=target.node)

    trial.verdict(answer["status"] == 200, answer)


def test_from_another_node(trial: Trial) -> None:
    """Reach the notebook's port from another node: it is on loopback only."""
    target = trial.target
    other = "c2" if target.node == "c1" else "c1"
    (answer,) = target.web([{"path": "/api"}], host=other, user="mallory", address=target.node)

    trial.verdict(answer["status"] == 200, answer)


def test_unix_sockets(trial: Trial) -> None:
    """Connect to each of Alice's UNIX sockets that /proc names: their directory is 0700."""
    told = trial.target.on_node.run("unix_sockets", OWNER="alice")

    trial.verdict("connected" in told, told, on_plain=False)


def _evaluate(target: Target, known: list[int]) -> str:
    code = "'DEBUGGED-' + __import__('getpass').getuser()"
    return target.on_node.run("dap", KNOWN=json.dumps(known), CODE=code, WANTED="DEBUGGED-alice")
