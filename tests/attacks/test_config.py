"""A Jupyter config of her own that disarms Jupyter: it weakens plain Jupyter, not a session."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator

import pytest

from tests.attacks.conftest import plain_session, slurm_nb_session
from tests.attacks.sheet import Trial
from tests.attacks.target import Target
from tests.cluster.users import ALICE
from tests.e2e.scientist import Scientist

EVIL = "http://evil.example:9999"
DISARM = """
c.ServerApp.disable_check_xsrf = True
c.ServerApp.allow_origin = '*'
c.ServerApp.allow_origin_pat = '.*'
c.ServerApp.allow_credentials = True
c.ServerApp.allow_remote_access = True
c.ServerApp.local_hostnames = ['evil.example']
c.ServerApp.allow_unauthenticated_access = True
c.ServerApp.tornado_settings = {'headers': {'Content-Security-Policy': 'frame-ancestors *'}}
c.IPKernelApp.ip = '0.0.0.0'
c.KernelManager.ip = '0.0.0.0'
c.KernelManager.transport = 'tcp'
c.ConnectionFileMixin.transport = 'tcp'
"""


@pytest.fixture(scope="module", params=["plain", "slurm-nb"])
def disarmed(request: pytest.FixtureRequest, alice: Scientist) -> Iterator[Target]:
    """A session of each kind that finds such a config in ~/.jupyter."""
    folder = alice.home / ".jupyter"
    folder.mkdir(exist_ok=True)
    (folder / "jupyter_server_config.py").write_text(DISARM)
    for path in (folder, folder / "jupyter_server_config.py"):
        os.chown(path, ALICE.uid, ALICE.uid)
    node = "c2" if request.param == "plain" else "c1"  # its 8888 and the laptop's are free
    start = plain_session(alice, node, 8890) if request.param == "plain" else None
    with start or slurm_nb_session(alice, "-w", node) as target:
        yield target
    subprocess.run(["rm", "-rf", str(folder)], check=True, timeout=20)


@pytest.fixture
def target(disarmed: Target) -> Target:
    """In place of the sessions that everything else is tried on."""
    return disarmed


def test_disarmed_rebinding(trial: Trial) -> None:
    """Rebind a name to the tunnel where her config allows every Host: overruled."""
    answers = trial.target.web(
        [
            {"path": f"/tree?token={trial.target.token}"},
            {"path": "/api", "headers": {"Host": "evil.example"}, "cookies": True},
        ]
    )

    trial.verdict(answers[1]["status"] == 200, answers[1])


def test_disarmed_xsrf(trial: Trial) -> None:
    """POST from a hostile page where her config switches XSRF checks off: overruled."""
    post = {"path": "/api/terminals", "method": "POST", "body": "{}", "cookies": True}
    headers = {"Origin": EVIL, "Content-Type": "text/plain"}
    first = {"path": f"/tree?token={trial.target.token}"}
    answers = trial.target.web([first, {**post, "headers": headers}])

    trial.verdict(answers[1]["status"] == 200, answers[1])


def test_disarmed_origin(trial: Trial) -> None:
    """Read an answer from a hostile page where her config allows every origin: overruled."""
    first = {"path": f"/tree?token={trial.target.token}"}
    read = {"path": "/api/contents", "headers": {"Origin": EVIL}, "cookies": True}
    answers = trial.target.web([first, read])

    allowed = answers[1]["headers"].get("Access-Control-Allow-Origin")
    trial.verdict(allowed in {"*", EVIL}, answers[1]["headers"])


def test_disarmed_framing(trial: Trial) -> None:
    """Frame her notebook where her config allows it to everyone: overruled."""
    first = {"path": f"/tree?token={trial.target.token}"}
    answers = trial.target.web([first, {"path": "/tree", "cookies": True}])

    policy = answers[1]["headers"].get("Content-Security-Policy", "")
    trial.verdict("frame-ancestors *" in policy or not policy, policy)


def test_disarmed_kernels(trial: Trial) -> None:
    """Reach kernel ports that her config puts on every address: overruled, they are on sockets."""
    wide = [each for each in trial.target.listening() if each[2] == ALICE.uid]
    kernels = [each for each in wide if int(each[0], 16) == 0 and each[1] != trial.target.port]

    trial.verdict(bool(kernels), wide)
