"""Send a request that makes MARK with the token, and close at once.

The kernel then shows no owner of the socket, or root. HOW: `close`, `reset` or `half` (only the
sending half is closed).
"""

import json
import os
import socket
import struct

body = json.dumps({"type": "file", "format": "text", "content": "blind"})
request = (
    f"PUT /api/contents/{os.environ['MARK']} HTTP/1.1\r\nHost: localhost\r\n"
    f"Authorization: token {os.environ['TOKEN']}\r\nContent-Type: application/json\r\n"
    f"Content-Length: {len(body)}\r\n\r\n{body}"
).encode()
for _ in range(200):
    link = socket.create_connection(("127.0.0.1", int(os.environ["PORT"])))
    try:
        link.sendall(request)
        if os.environ["HOW"] == "half":
            link.shutdown(socket.SHUT_WR)
            link.settimeout(2)
            link.recv(100)
        if os.environ["HOW"] == "reset":
            link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    except OSError:
        pass
    link.close()
