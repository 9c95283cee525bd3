"""Send most of a long body to PATH_ on PORT; print how many bytes the server has read."""

# ruff: noqa: T201  printing is its answer

import os
import socket

link = socket.create_connection(("127.0.0.1", int(os.environ["PORT"])))
link.settimeout(2)
head = (
    f"POST {os.environ['PATH_']} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000000\r\n\r\n"
)
link.sendall(head.encode())
sent = 0
try:
    for _ in range(64):
        link.sendall(b"x" * (1 << 20))
        sent += 1 << 20
except OSError:
    sent = 0
print(sent)
