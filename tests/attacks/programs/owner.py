"""Runs as Alice on the node: a kernel over the websocket, and REST, at NB_URL.

Reads one JSON object a line and answers each with one; the first answer comes when the kernel is
ready. NB_URL is http://ADDRESS:PORT or unix:PATH.
"""

# ruff: noqa: T201  printing is its answer

import asyncio
import json
import os
import socket
import sys
import uuid
from typing import Any

from tornado.httpclient import HTTPRequest
from tornado.netutil import Resolver
from tornado.simple_httpclient import SimpleAsyncHTTPClient
from tornado.websocket import WebSocketClientConnection, websocket_connect

Answer = dict[str, Any]
URL = os.environ["NB_URL"]
HEADERS = {"Authorization": "token " + os.environ["NB_TOKEN"]}
BASE = "http://localhost:80" if URL.startswith("unix:") else URL


class UnixResolver(Resolver):
    """Every name leads to the socket."""

    async def resolve(self, host: str, port: int, family: int = 0) -> list[tuple[int, str]]:
        return [(socket.AF_UNIX, URL.removeprefix("unix:"))]


if URL.startswith("unix:"):
    Resolver.configure(UnixResolver)


async def rest(method: str, path: str, body: str | None = None) -> Answer:
    client = SimpleAsyncHTTPClient()
    answer = await client.fetch(
        BASE + path, method=method, headers=HEADERS, body=body, request_timeout=30,
        raise_error=False, allow_nonstandard_methods=True,
    )  # fmt: skip
    return {"status": answer.code, "body": answer.body.decode(errors="replace")}


async def talk(
    socket_: WebSocketClientConnection, channel: str, kind: str, content: Answer
) -> Answer:
    message_id = uuid.uuid4().hex
    header = {"msg_id": message_id, "msg_type": kind, "username": "", "session": "s"}
    header |= {"version": "5.3", "date": ""}
    message = {"header": header, "parent_header": {}, "metadata": {}, "content": content}
    await socket_.write_message(json.dumps({**message, "channel": channel, "buffers": []}))
    output, reply = "", {}
    while True:
        text = await socket_.read_message()
        assert text is not None, "the websocket was closed"
        heard = json.loads(text)
        if heard["parent_header"].get("msg_id") != message_id:
            continue
        if heard["msg_type"] == "stream":
            output += heard["content"]["text"]
        if heard["msg_type"] == "error":
            output += "\n".join(heard["content"]["traceback"])
        if heard["msg_type"].endswith("_reply"):
            reply = heard["content"]
            if channel == "control":
                return {"reply": reply}
        if heard["msg_type"] == "status" and heard["content"]["execution_state"] == "idle":
            return {"output": output, "reply": reply}


async def do(socket_: WebSocketClientConnection, wish: Answer, number: int) -> Answer:
    if wish["do"] == "rest":
        return await rest(wish["method"], wish["path"], wish.get("body"))
    if wish["do"] == "debug":
        content = {"type": "request", "seq": number, "command": wish["command"]}
        content["arguments"] = wish["arguments"]
        said: Answer = (await talk(socket_, "control", "debug_request", content))["reply"]
        return said
    content = {"code": wish["code"], "silent": False, "store_history": True, "allow_stdin": False}
    content |= {"user_expressions": {}, "stop_on_error": True}
    return await talk(socket_, "shell", "execute_request", content)


def say(answer: object) -> None:
    print(json.dumps(answer), flush=True)


async def main() -> None:
    made = await rest("POST", "/api/kernels", "{}")
    kernel = json.loads(str(made["body"]))["id"]
    address = f"{BASE.replace('http', 'ws', 1)}/api/kernels/{kernel}/channels"
    socket_ = await websocket_connect(HTTPRequest(address, headers=HEADERS))
    await do(socket_, {"do": "run", "code": "1"}, 0)
    say({"kernel": kernel})
    loop = asyncio.get_running_loop()
    number = 0
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        number += 1
        wish = json.loads(line)
        try:
            say(
                await asyncio.wait_for(
                    do(socket_, wish, number), 3 if wish["do"] == "debug" else 10
                )
            )
        except TimeoutError:
            say({"output": "", "reply": {}, "timeout": True})


asyncio.run(main())
