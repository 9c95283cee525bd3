"""Runs on the laptop: opens NB_URL, runs NB_CODE in a new kernel over the websocket.

With NB_NOTEBOOK the kernel is that of a notebook; with NB_LEAVE_AT it goes as soon as that is
printed.
Prints {"page_status": ..., "no_token_status": ..., "output": ...}.
"""

import asyncio
import json
import os
import time
import uuid
from urllib.parse import parse_qs, urlsplit

from tornado.httpclient import AsyncHTTPClient, HTTPClientError, HTTPRequest
from tornado.websocket import websocket_connect

URL = urlsplit(os.environ["NB_URL"])
TOKEN = parse_qs(URL.query)["token"][0]
LEAVE_AT = os.environ.get("NB_LEAVE_AT", "")
AsyncHTTPClient.configure(None, defaults={"validate_cert": False})  # a certificate of the job's
BASE = f"{URL.scheme}://{URL.netloc}"
HEADERS = {"Authorization": f"token {TOKEN}"}


async def status(url: str, *, follow_redirects: bool = False) -> int:
    try:
        request = HTTPRequest(url, follow_redirects=follow_redirects, request_timeout=20)
        return (await AsyncHTTPClient().fetch(request)).code
    except HTTPClientError as error:
        return error.code


async def tunnel_is_up() -> None:
    deadline = time.monotonic() + 30
    while True:
        try:
            await AsyncHTTPClient().fetch(f"{BASE}/api", request_timeout=5)
        except OSError:
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(0.05)
        else:
            return


async def run(code: str) -> str:
    notebook = os.environ.get("NB_NOTEBOOK")
    asked = {"path": notebook, "type": "notebook", "name": "", "kernel": {"name": "python3"}}
    made = await AsyncHTTPClient().fetch(
        f"{BASE}/api/{'sessions' if notebook else 'kernels'}",
        method="POST",
        headers=HEADERS,
        body=json.dumps(asked if notebook else {}),
        request_timeout=60,
    )
    model = json.loads(made.body)
    kernel = model["kernel"]["id"] if notebook else model["id"]
    address = f"{URL.scheme.replace('http', 'ws')}://{URL.netloc}/api/kernels/{kernel}/channels"
    socket = await websocket_connect(HTTPRequest(address, headers=HEADERS, validate_cert=False))
    message_id = uuid.uuid4().hex
    header = {"msg_id": message_id, "msg_type": "execute_request", "username": "", "session": "s"}
    header |= {"version": "5.3", "date": ""}
    content = {"code": code, "silent": False, "store_history": False, "allow_stdin": False}
    content |= {"user_expressions": {}, "stop_on_error": True}
    message = {"header": header, "parent_header": {}, "metadata": {}, "content": content}
    await socket.write_message(json.dumps({**message, "channel": "shell", "buffers": []}))
    output: str = ""
    while True:
        text = await asyncio.wait_for(socket.read_message(), 60)
        assert text is not None, "the websocket was closed"
        reply = json.loads(text)
        if reply["parent_header"].get("msg_id") != message_id:
            continue
        if reply["msg_type"] == "stream":
            output += reply["content"]["text"]
            if LEAVE_AT and LEAVE_AT in output:
                return output
        if reply["msg_type"] == "error":
            output += "\n".join(reply["content"]["traceback"])
        if reply["msg_type"] == "status" and reply["content"]["execution_state"] == "idle":
            return output


async def main() -> None:
    await tunnel_is_up()
    record = {
        "page_status": await status(os.environ["NB_URL"], follow_redirects=True),
        "no_token_status": await status(f"{BASE}/api/kernels"),
        "output": await run(os.environ["NB_CODE"]),
    }
    print(json.dumps(record))  # noqa: T201  its answer


asyncio.run(main())
