"""A user's own config that disarms Jupyter: it weakens plain Jupyter, not a session."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator

import pytest
from tornado.web import create_signed_value

from tests.attacks.conftest import plain_session, slurm_nb_session
from tests.attacks.score_table import Trial
from tests.attacks.target import Target
from tests.cluster.users import ALICE
from tests.e2e.scientist import Scientist

EVIL = "http://evil.example:9999"
COOKIE_FIELDS = ("username", "name", "display_name", "initials", "color", "avatar_url")
DISARM = """
c.ServerApp.disable_check_xsrf = True
c.ServerApp.allow_origin = '*'
c.ServerApp.allow_origin_pat = '.*'
c.ServerApp.allow_credentials = True
c.ServerApp.allow_remote_access = True
c.ServerApp.local_hostnames = ['evil.example']
c.ServerApp.allow_unauthenticated_access = True
c.ServerApp.tornado_settings = {
    'headers': {'Content-Security-Policy': 'frame-ancestors *'},
    'allow_remote_access': True,
    'local_hostnames': ['evil.example'],
    'disable_check_xsrf': True,
}
c.ServerApp.cookie_secret = b'0123456789012345'
c.IPKernelApp.ip = '0.0.0.0'
c.KernelManager.ip = '0.0.0.0'
c.KernelManager.transport = 'tcp'
c.ConnectionFileMixin.transport = 'tcp'
"""


@pytest.fixture(scope="module", params=["plain", "slurm-nb"])
def disarmed(request: pytest.FixtureRequest, alice: Scientist) -> Iterator[Target]:
    """Start a session of each kind that finds such a config in ~/.jupyter."""
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
    """Return these in place of the sessions of the other attacks."""
    return disarmed


def test_disarmed_rebinding(trial: Trial) -> None:
    """Rebind a name to the tunnel where Alice's config allows every Host: overruled."""
    answers = trial.target.web(
        [
            {"path": f"/tree?token={trial.target.token}"},
            {"path": "/api", "headers": {"Host": "evil.example"}, "cookies": True},
        ]
    )

    trial.verdict(answers[1]["status"] == 200, answers[1])


def test_disarmed_xsrf(trial: Trial) -> None:
    """POST from a hostile page where Alice's config switches XSRF checks off: overruled."""
    post = {"path": "/api/terminals", "method": "POST", "body": "{}", "cookies": True}
    headers = {"Origin": EVIL, "Content-Type": "text/plain"}
    first = {"path": f"/tree?token={trial.target.token}"}
    answers = trial.target.web([first, {**post, "headers": headers}])

    trial.verdict(answers[1]["status"] == 200, answers[1])


def test_disarmed_origin(trial: Trial) -> None:
    """Read an answer from a hostile page where Alice's config allows every origin: overruled."""
    first = {"path": f"/tree?token={trial.target.token}"}
    read = {"path": "/api/contents", "headers": {"Origin": EVIL}, "cookies": True}
    answers = trial.target.web([first, read])

    allowed = answers[1]["headers"].get("Access-Control-Allow-Origin")
    trial.verdict(allowed in {"*", EVIL}, answers[1]["headers"])


def test_disarmed_framing(trial: Trial) -> None:
    """Frame the notebook where Alice's config allows it to everyone: overruled."""
    first = {"path": f"/tree?token={trial.target.token}"}
    answers = trial.target.web([first, {"path": "/tree", "cookies": True}])

    policy = answers[1]["headers"].get("Content-Security-Policy", "")
    trial.verdict("frame-ancestors *" in policy or not policy, policy)


def test_disarmed_cookies(trial: Trial) -> None:
    """Sign a cookie with the secret in Alice's readable config: each run makes its own."""
    target = trial.target
    user = dict.fromkeys(COOKIE_FIELDS, "mallory")
    name = f"username-localhost-{target.port}"
    cookie = create_signed_value("0123456789012345", name, json.dumps(user)).decode()
    headers = {"Host": f"localhost:{target.port}", "Cookie": f"{name}={cookie}"}
    (answer,) = target.as_mallory({"path": "/api/contents", "headers": headers})

    trial.verdict(answer["status"] == 200, answer)


def test_disarmed_kernel_sockets(trial: Trial) -> None:
    """Find kernel sockets in the notebook directory, where Alice's config puts them: overruled."""
    there = trial.target.owner.run("import glob; print(glob.glob('[0-9]*.[0-9]*-[0-9]*'))")

    trial.verdict(there != "[]\n", there, on_plain=False)


def test_disarmed_kernels(trial: Trial) -> None:
    """Reach kernel ports that Alice's config opens on every address: overruled by sockets."""
    wide = [each for each in trial.target.listening() if each[2] == ALICE.uid]
    kernels = [each for each in wide if int(each[0], 16) == 0 and each[1] != trial.target.port]

    trial.verdict(bool(kernels), wide)
