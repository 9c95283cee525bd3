"""Open NUMBER connections to PORT, send a wrong request on each, and hold what stays open.

Print how many could be opened.
"""

# ruff: noqa: T201  printing is its answer

import contextlib
import os
import resource
import socket
import time

hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
links = []
for number in range(int(os.environ["NUMBER"])):
    with contextlib.suppress(OSError):
        link = socket.socket()
        link.settimeout(0.5)
        link.connect((os.environ.get("ADDRESS", "127.0.0.1"), int(os.environ["PORT"])))
        link.sendall(f"GET /{number} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        links.append(link)
time.sleep(float(os.environ["SECONDS_"]))
print(len(links))
