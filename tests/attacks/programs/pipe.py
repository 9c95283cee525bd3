"""Pushes output that looks like the kernel's own into every TCP port of this host."""

import os
from pathlib import Path

import zmq

context = zmq.Context()
for line in Path("/proc/net/tcp").read_text("ascii").splitlines()[1:]:
    local, state = line.split()[1], line.split()[3]
    if state != "0A":
        continue
    socket = context.socket(zmq.PUSH)
    socket.linger = 300
    socket.connect(f"tcp://127.0.0.1:{int(local.rpartition(':')[2], 16)}")
    for number in range(200):
        text = os.environ["TEXT"].encode()
        try:
            socket.send_multipart([os.urandom(16), b"{}", b"stdout", text][: 1 + number % 4],
                                  zmq.NOBLOCK)  # fmt: skip
            socket.send_multipart([os.urandom(16) + b"stdout", text * 10], zmq.NOBLOCK)
        except zmq.Again:
            break
context.destroy(linger=300)
