"""Runs on the laptop: types NB_LINE in a terminal at NB_URL, goes when it shows NB_SHOWN."""

import asyncio
import json
import os
from urllib.parse import parse_qs, urlsplit

from tornado.httpclient import AsyncHTTPClient, HTTPRequest
from tornado.websocket import websocket_connect

URL = urlsplit(os.environ["NB_URL"])
HEADERS = {"Authorization": f"token {parse_qs(URL.query)['token'][0]}"}


async def tunnel_is_up() -> None:
    while True:
        try:
            await AsyncHTTPClient().fetch(f"http://{URL.netloc}/api", request_timeout=5)
        except OSError:
            await asyncio.sleep(0.05)
        else:
            return


async def main() -> None:
    await asyncio.wait_for(tunnel_is_up(), 30)
    made = await AsyncHTTPClient().fetch(
        f"http://{URL.netloc}/api/terminals", method="POST", headers=HEADERS, body="{}"
    )
    address = f"ws://{URL.netloc}/terminals/websocket/{json.loads(made.body)['name']}"
    socket = await websocket_connect(HTTPRequest(address, headers=HEADERS))
    await socket.write_message(json.dumps(["stdin", os.environ["NB_LINE"] + "\r"]))
    shown = ""
    while os.environ["NB_SHOWN"] not in shown:
        text = await asyncio.wait_for(socket.read_message(), 30)
        assert text is not None, "the websocket was closed"
        kind, *more = json.loads(text)
        shown += more[0] if kind == "stdout" else ""


asyncio.run(main())
