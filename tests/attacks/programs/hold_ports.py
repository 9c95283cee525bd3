"""Listen on ADDRESS on each port of PORTS (`8888 9000-9010`) and note the requests.

Say `listening N`; answer every request with 200 and print its first line and headers.
"""

# ruff: noqa: T201  printing is its answer

import os
import select
import socket

ports: list[int] = []
for word in os.environ["PORTS"].split():
    first, last = (*word.split("-"), "")[:2]
    ports += range(int(first), int(last or first) + 1)
address = os.environ.get("ADDRESS", "127.0.0.1")
held = []
for port in ports:
    listener = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        listener.bind((address, port))
        listener.listen()
        held.append(listener)
    except OSError:
        listener.close()
print("listening", len(held), flush=True)
while held:
    ready = select.select(held, [], [], 60)[0]
    if not ready:
        break
    link = ready[0].accept()[0]
    link.settimeout(3)
    try:
        print(repr(link.recv(4000)), flush=True)
        link.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\nConnection: close\r\n\r\nmallory")
    except OSError:
        pass
    link.close()
