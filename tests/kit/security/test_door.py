"""The server asks for the token before any handler sees a request."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from jupyter_server import DEFAULT_STATIC_FILES_PATH
from jupyter_server.auth.identity import User
from jupyter_server.auth.login import LoginFormHandler
from jupyter_server.auth.logout import LogoutHandler
from jupyter_server.base.handlers import APIVersionHandler, FileFindHandler
from tornado import web
from tornado.httpclient import HTTPRequest, HTTPResponse
from tornado.tcpclient import TCPClient
from tornado.testing import AsyncHTTPTestCase

from slurm_nb.kit.security.door import Door
from slurm_nb.kit.security.login import SlurmNbIdentityProvider

TOKEN = "ab" * 32
BASE = "/mine/"


class Leak(web.RequestHandler):
    """A handler that asks for nothing."""

    def get(self, *_: str) -> None:
        self.write("leaked")

    post = get


class Client(AsyncHTTPTestCase):
    """Requests to a web application behind the check."""

    shadowed = False
    flaw = ""

    def get_app(self) -> Any:
        self.logged: list[str] = []
        self.secret = secrets.token_bytes(32)
        static = {"path": [DEFAULT_STATIC_FILES_PATH]}
        rules: list[Any] = [
            (BASE + "leak", Leak), (BASE + "api/leak", Leak), (BASE + "static/mine/(.*)", Leak),
            (BASE + "api", APIVersionHandler), (BASE + "login", LoginFormHandler),
            (BASE + "logout", LogoutHandler), (BASE + "static/(.*)", FileFindHandler, static),
        ]  # fmt: skip
        if self.shadowed:
            rules[:0] = [(BASE + name, Leak) for name in ("api", "login", "static/favicon.ico")]
        provider = SlurmNbIdentityProvider(token=TOKEN)
        web_app = web.Application(
            rules, cookie_secret=self.secret, identity_provider=provider, base_url=BASE
        )
        app = SimpleNamespace(web_app=web_app, identity_provider=provider, base_url=BASE)
        self.provider = provider
        return Door(app, TOKEN, self.logged.append, lambda: self.flaw)

    def ask(
        self, path: str, method: str = "GET", body: str = "x=1", **headers: str
    ) -> HTTPResponse:
        """Send a request; underscores in header names become dashes."""
        request = HTTPRequest(
            self.get_url(path), method, follow_redirects=False,
            headers={name.replace("_", "-"): value for name, value in headers.items()},
            body=body if method == "POST" else None,
        )  # fmt: skip
        answer: HTTPResponse = self.io_loop.run_sync(
            lambda: self.http_client.fetch(request, raise_error=False)
        )
        return answer

    def runTest(self) -> None:  # noqa: N802  unittest's name
        """Do nothing; unittest needs this method."""


@pytest.fixture(params=[False, True], ids=["", "with rules before Jupyter's"])
def client(request: pytest.FixtureRequest) -> Iterator[Client]:
    client = Client()
    client.shadowed = request.param
    client.setUp()
    yield client
    client.tearDown()


@pytest.mark.parametrize("path", ["leak", "api/leak", "static/mine/x", "nothing", "static/../leak"])
@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS", "HEAD"])
def test_without_the_token_nothing_is_answered(client: Client, path: str, method: str) -> None:
    answer = client.ask(BASE + path, method)

    assert answer.code == 403
    assert b"leaked" not in (answer.body or b"")


def test_without_the_token_a_websocket_is_not_opened(client: Client) -> None:
    answer = client.ask(
        BASE + "leak", Upgrade="websocket", Connection="Upgrade", Accept="text/html"
    )

    assert answer.code == 403


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("leak", {"Authorization": f"token {TOKEN}"}),
        ("leak", {"Authorization": f"Bearer {TOKEN}"}),
        (f"leak?token={TOKEN}", {}),
    ],
)
def test_the_token_opens_the_server(client: Client, path: str, headers: dict[str, str]) -> None:
    """It may be in a header or in the URL; the pages' websockets use the URL."""
    assert client.ask(BASE + path, **headers).body == b"leaked"


@pytest.mark.parametrize(
    ("query", "header"),
    [(f"token={TOKEN}&token=x", ""), ("token=x", f"token {TOKEN}")],
    ids=["two", "URL and header"],
)
def test_the_door_uses_the_token_that_jupyter_uses(client: Client, query: str, header: str) -> None:
    """Otherwise Jupyter rejects a request that the door has let through."""
    assert client.ask(f"{BASE}leak?{query}", Authorization=header).code == 403
    assert client.ask(f"{BASE}leak?token=x&token={TOKEN}").body == b"leaked"


@pytest.mark.parametrize("path", ["login", "logout", "api", "static/favicon.ico", "leak"])
@pytest.mark.parametrize("head", ["Content-Length: 70000", "Transfer-Encoding: chunked"])
def test_without_the_token_a_long_body_is_not_read(client: Client, path: str, head: str) -> None:
    """tornado keeps the whole body in memory, even for a handler that ignores it."""
    start = f"POST {BASE}{path} HTTP/1.1\r\nHost: localhost\r\n{head}\r\n\r\n"

    async def send() -> bytes:
        link = await TCPClient().connect("127.0.0.1", client.get_http_port())
        await link.write(start.encode() + b"11170\r\n")  # a chunk of 70000 bytes
        return await link.read_until_close()

    answer = client.io_loop.run_sync(send, timeout=10)

    assert answer.startswith(b"HTTP/1.1 400 ")


def test_with_the_token_a_long_body_is_read(client: Client) -> None:
    """Notebooks are long."""
    answer = client.ask(BASE + "leak", "POST", "x" * 70000, Authorization=f"token {TOKEN}")

    assert answer.body == b"leaked"


@pytest.mark.parametrize(
    "header", [f"token {TOKEN[:-1]}", f"token {TOKEN}0", "token ", "token", "Basic " + TOKEN, "é"]
)
def test_a_wrong_token_does_not_open_the_server(client: Client, header: str) -> None:
    assert client.ask(BASE + "leak", Authorization=header).code == 403


def cookie(client: Client, secret: bytes) -> str:
    host = f"127.0.0.1:{client.get_http_port()}"
    handler: Any = SimpleNamespace(request=SimpleNamespace(host=host))
    name = client.provider.get_cookie_name(handler)
    user = client.provider.user_to_cookie(User("alice"))
    return f"{name}={web.create_signed_value(secret, name, user).decode()}"


def test_the_login_cookie_opens_the_server(client: Client) -> None:
    """With a password there is no token in the URL."""
    assert client.ask(BASE + "leak", Cookie=cookie(client, client.secret)).body == b"leaked"


def test_a_cookie_signed_with_another_secret_does_not_open_the_server(client: Client) -> None:
    assert client.ask(BASE + "leak", Cookie=cookie(client, b"other")).code == 403


def test_a_browser_is_sent_to_the_login_page(client: Client) -> None:
    """From there it returns to the page it wanted, without a wrong token."""
    answer = client.ask(BASE + "leak?a=1", Accept="text/html")
    wrong = client.ask(BASE + "leak?token=x", Accept="text/html")

    assert (answer.code, answer.headers["Location"]) == (
        302, BASE + "login?next=%2Fmine%2Fleak%3Fa%3D1"
    )  # fmt: skip
    assert wrong.headers["Location"] == BASE + "login?next=%2Fmine%2Fleak"


@pytest.mark.parametrize("path", ["api", "static/favicon.ico", "login"])
def test_only_jupyters_own_pages_are_public(client: Client, path: str) -> None:
    """A package whose rule precedes Jupyter's needs the token too."""
    answer = client.ask(BASE + path)

    if client.shadowed:
        assert answer.code == 403
    else:
        assert answer.code in {200, 500}  # the login page needs more of Jupyter than there is here
        assert path != "api" or "version" in json.loads(answer.body)


@pytest.mark.parametrize(
    "path", ["static/%00", "static/nothing", "static/..%2f__init__.py", "api/", "login/x"]
)
def test_nothing_else_is_public(client: Client, path: str) -> None:
    assert client.ask(BASE + path).code == 403


@pytest.mark.parametrize("path", ["leak", "api/leak", "api/contentsx", "static/mine/x"])
def test_nothing_is_served_from_a_directory_that_was_replaced(client: Client, path: str) -> None:
    """Its owner could have put their own page or script there."""
    client.flaw = "/tmp/slurm-nb.X was removed"

    answer = client.ask(BASE + path, Authorization=f"token {TOKEN}")

    expected = {"message": client.flaw, "reason": None}
    assert (answer.code, json.loads(answer.body)) == (503, expected)


@pytest.mark.parametrize("path", ["api", "login", "static/favicon.ico"])
def test_the_login_page_is_not_served_either(client: Client, path: str) -> None:
    client.flaw = "/tmp/slurm-nb.X was removed"

    assert client.ask(BASE + path).code == (403 if client.shadowed else 503)


@pytest.mark.parametrize("path", ["api/contents/a.ipynb", "slurm-nb/session", "api/shutdown"])
def test_notebooks_can_still_be_saved(client: Client, path: str) -> None:
    """This needs no file of the job's directory; it needs the token as always."""
    client.flaw = "/tmp/slurm-nb.X was removed"

    assert client.ask(BASE + path, Authorization=f"token {TOKEN}").code == 404
    assert client.ask(BASE + path).code == 403


def test_refusals_are_logged_without_the_token_that_was_sent(client: Client) -> None:
    client.ask(BASE + "leak?token=guess")

    assert client.logged == ["rejected GET /mine/leak: no token or login"]
