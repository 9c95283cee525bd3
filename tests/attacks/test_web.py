"""HTTP and websocket: without a token on the node, and from hostile pages on the laptop."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from tests.attacks.score_table import Trial
from tests.attacks.target import Target

JSON = {"Content-Type": "application/json"}
UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": base64.b64encode(b"sixteen bytes...").decode(),
}
EVIL = "http://evil.example:9999"
REST: dict[str, dict[str, Any]] = {
    "contents": {"path": "/api/contents"},
    "kernels": {"path": "/api/kernels"},
    "sessions": {"path": "/api/sessions"},
    "terminals": {"path": "/api/terminals"},
    "files": {"path": "/files/.ssh/id_ed25519"},
    "status": {"path": "/api/status"},
    "new kernel": {"path": "/api/kernels", "method": "POST", "body": "{}", "headers": JSON},
    "new terminal": {"path": "/api/terminals", "method": "POST", "body": "{}", "headers": JSON},
    "shutdown": {"path": "/api/shutdown", "method": "POST", "body": "{}", "headers": JSON},
    "nbconvert": {"path": "/nbconvert/html/x.ipynb"},
    "page": {"path": "/tree"},
    "lab settings": {"path": "/lab/api/settings"},
}


@pytest.mark.parametrize("what", REST)
def test_rest_without_token(trial: Trial, what: str) -> None:
    """Call REST (files, kernels, terminals, shutdown) on the node without a token: not served."""
    (answer,) = trial.target.as_mallory(REST[what])

    assert answer["status"] != 0 or trial.target.kind == "slurm-nb", answer
    trial.verdict(0 < answer["status"] < 300, answer, on_plain=False)


@pytest.mark.parametrize("shape", ["wrong", "prefix", "empty", "longer", "password"])
def test_wrong_tokens(trial: Trial, shape: str) -> None:
    """Guess: a wrong, cut, empty or longer token, an empty password: each gets 403."""
    token = trial.target.token
    guesses = {"wrong": "0" * 64, "prefix": token[:-1], "empty": "", "longer": token + "0"}
    guess = guesses.get(shape, "")
    header = {"Authorization": f"token {guess}"}
    answers = trial.target.as_mallory(
        {"path": "/api/kernels", "headers": header},
        {"path": f"/api/kernels?token={guess}"},
        {"path": "/api/kernels", "headers": {**header, **JSON}, "method": "POST", "body": "{}"},
        {"path": "/login"},
        {"path": "/login", "method": "POST", "body": f"password={guess}", "cookies": True},
        {"path": "/api/kernels", "cookies": True},
        {"path": _channel(trial.target), "headers": {**UPGRADE, **header}},
    )

    got = [0 < answers[number]["status"] < 300 for number in (0, 1, 2, 5, 6)]
    trial.verdict(any(got), answers, on_plain=False)


def test_websocket_without_token(trial: Trial) -> None:
    """Open a kernel's websocket on the node without a token: 403."""
    (answer,) = trial.target.as_mallory({"path": _channel(trial.target), "headers": UPGRADE})

    trial.verdict(answer["status"] == 101, answer, on_plain=False)


def test_token_found_by_a_stranger(trial: Trial) -> None:
    """All at once, from the login node: find the token, then run code as Alice: both fail."""
    target = trial.target
    found = target.on_login.bash(f"grep -oPm1 'token=\\K[0-9a-f]+' {target.log}").strip()
    header = {"Authorization": f"token {found[:64]}"}
    (answer,) = target.web(
        [{"path": "/api/terminals", "method": "POST", "body": "{}", "headers": header | JSON}],
        host="login", user="mallory", address=target.node,
    )  # fmt: skip

    trial.verdict(answer["status"] == 200, answer)


def test_dns_rebinding(trial: Trial) -> None:
    """Rebind evil.example to 127.0.0.1, to speak to the server at all: a foreign Host gets 403."""
    wish = {"path": "/api", "headers": {"Host": "evil.example"}}
    answer = _with_cookie(trial.target, wish)

    trial.verdict(answer["status"] == 200, answer)


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "none"])
def test_cross_origin_post(trial: Trial, kind: str) -> None:
    """Have the browser POST from a hostile page, cookie and all: without the XSRF header 403."""
    headers = {"Origin": EVIL, "Referer": f"{EVIL}/x"}
    headers |= {"Content-Type": kind} if kind != "none" else {}
    wish = {"path": "/api/terminals", "method": "POST", "body": "{}", "headers": headers}
    answer = _with_cookie(trial.target, wish)

    trial.verdict(answer["status"] < 300, answer, on_plain=False)


def test_cross_origin_websocket(trial: Trial) -> None:
    """Open a kernel's websocket from a hostile page with the cookie: a foreign Origin gets 403."""
    headers = {**UPGRADE, "Origin": EVIL}
    answer = _with_cookie(trial.target, {"path": _channel(trial.target), "headers": headers})

    trial.verdict(answer["status"] == 101, answer, on_plain=False)


def test_cross_origin_read(trial: Trial) -> None:
    """Read an answer from a hostile page: no CORS header allows it, preflighted or not."""
    asked = {"Access-Control-Request-Method": "DELETE", "Origin": EVIL}
    wishes = [
        {"path": "/api/contents", "method": "OPTIONS", "headers": asked},
        {"path": "/api/contents", "headers": {"Origin": EVIL}},
    ]
    answers = [_with_cookie(trial.target, wish) for wish in wishes]

    allowed = any("Access-Control-Allow-Origin" in answer["headers"] for answer in answers)
    trial.verdict(allowed, answers, on_plain=False)


def test_framing(trial: Trial) -> None:
    """Show the notebook in a frame of a hostile page: frame-ancestors forbids it."""
    answer = _with_cookie(trial.target, {"path": "/tree"})
    policy = answer["headers"].get("Content-Security-Policy", "")

    assert answer["status"] == 200
    trial.verdict("frame-ancestors 'self'" not in policy, answer["headers"], on_plain=False)


def test_token_in_referrer(trial: Trial) -> None:
    """Learn the token from the address that a link sends on: the page's address loses it."""
    (answer,) = trial.target.web([{"path": f"/tree?token={trial.target.token}"}])
    policy = answer["headers"].get("Referrer-Policy", "strict-origin-when-cross-origin")

    leaks = policy in {"unsafe-url", "no-referrer-when-downgrade"}
    trial.verdict(leaks, answer["headers"], on_plain=False)


def _channel(target: Target) -> str:
    listed = target.owner.ask("rest", method="GET", path="/api/kernels")
    return "/api/kernels/" + str(listed["body"]).split('"id": "')[1].split('"')[0] + "/channels"


def _with_cookie(target: Target, wish: dict[str, Any]) -> dict[str, Any]:
    """Send this request from Alice's browser on the laptop, which has opened the URL before."""
    opened = {"path": f"/tree?token={target.token}"}
    first, answer = target.web([opened, {**wish, "cookies": True}])
    assert first["status"] in {200, 302}, first
    return answer
