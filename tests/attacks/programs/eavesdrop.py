"""Subscribe to everything on every TCP port that listens on this host; print what is heard.

Say `listening`, then continue until WANTED was heard or SECONDS have passed.
"""

# ruff: noqa: T201  printing is its answer

import os
import time
from pathlib import Path

import zmq


def ports() -> set[int]:
    found = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in Path(table).read_text("ascii").splitlines()[1:]:
            local, state = line.split()[1], line.split()[3]
            if state == "0A":
                found.add(int(local.rpartition(":")[2], 16))
    return found


def main() -> None:
    wanted = os.environ["WANTED"].encode()
    context = zmq.Context()
    context.linger = 0
    poller = zmq.Poller()
    for port in ports():
        socket = context.socket(zmq.SUB)
        socket.subscribe(b"")
        socket.connect(f"tcp://127.0.0.1:{port}")
        poller.register(socket, zmq.POLLIN)
    print("listening", flush=True)
    deadline = time.monotonic() + float(os.environ.get("SECONDS_", "4"))
    while time.monotonic() < deadline:
        for socket, _ in poller.poll(200):
            heard = b" ".join(socket.recv_multipart())
            print(heard.decode(errors="replace"))
            if wanted in heard:
                return


main()
