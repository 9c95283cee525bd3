"""Send a request that makes MARK with the token from a port that Alice listens on, then vanish.

Print the port, wait for a line, then print `sent`. The socket of this program ends after a second,
and the kernel then shows Alice's socket for the same port.
"""

# ruff: noqa: T201  printing is its answer

import json
import os
import socket

body = json.dumps({"type": "file", "format": "text", "content": "lingering"})
request = (
    f"PUT /api/contents/{os.environ['MARK']} HTTP/1.1\r\nHost: localhost\r\n"
    f"Authorization: token {os.environ['TOKEN']}\r\nContent-Type: application/json\r\n"
    f"Connection: close\r\nContent-Length: {len(body)}\r\n\r\n{body}"
).encode()
link = socket.socket()
link.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
link.bind(("127.0.0.1", 0))
print(link.getsockname()[1], flush=True)
input()
link.setsockopt(socket.IPPROTO_TCP, socket.TCP_LINGER2, 1)
link.connect(("127.0.0.1", int(os.environ["PORT"])))
link.sendall(request)
link.close()
print("sent", flush=True)
