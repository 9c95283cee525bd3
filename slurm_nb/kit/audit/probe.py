"""Sends requests to the server's address, and reads the answers."""

from __future__ import annotations

import hashlib
import socket
import ssl
from typing import Any, Dict, Tuple

# A peer's side of ZMTP 3.0 (rfc.zeromq.org/spec/23): greeting, and READY of a PUSH socket.
_ZMTP_GREETING = b"\xff" + b"\0" * 8 + b"\x7f\x03\0NULL" + b"\0" * 48
_ZMTP_READY = b"\x04\x1a\x05READY\x0bSocket-Type\0\0\0\x04PUSH"
TIMEOUT_S = 20.0
_MOST_BYTES = 4 << 20


def status(ready: Dict[str, Any], host: str, token: str) -> int:
    """Return the HTTP status of GET api/status, sent without a token if `token` is empty.

    ready: the fields of slurm_nb.joblog.events.Ready. Raises OSError if nothing answers, or with
    TLS if the certificate is not the announced one; ValueError if the answer is not HTTP.
    """
    return get(ready, base_of(ready) + "/api/status", host, token)[0]


def base_of(ready: Dict[str, Any]) -> str:
    """Return the server's base_url without the last slash, from the path of its page."""
    base: str = ready["path"].rpartition("/")[0]
    return base


def get(
    ready: Dict[str, Any], path: str, host: str, token: str, timeout_s: float = TIMEOUT_S
) -> Tuple[int, bytes]:
    """Return the status and body of a GET; raises as `status` does."""
    with _connected(ready) as peer:
        peer.settimeout(timeout_s)
        peer.sendall(request(path, host, token))
        answer = b""
        while len(answer) < _MOST_BYTES:
            more = peer.recv(1 << 16)
            if not more:
                break
            answer += more
    return status_of(answer[:1024]), answer.partition(b"\r\n\r\n")[2]


def request(path: str, host: str, token: str) -> bytes:
    """Return a GET request like that of a browser on the laptop."""
    lines = ["GET %s HTTP/1.0" % path, "Host: " + host]
    if token:
        lines.append("Authorization: token " + token)
    return ("\r\n".join(lines) + "\r\n\r\n").encode("ascii")


def status_of(answer: bytes) -> int:
    """Return the status in the first line of an answer; raises ValueError if it is not HTTP."""
    words = answer.split(None, 2)
    if len(words) < 2 or not words[1].isdigit():
        raise ValueError("the answer is not HTTP")
    return int(words[1])


def _connected(ready: Dict[str, Any]) -> socket.socket:
    if ready["socket"]:
        peer = socket.socket(socket.AF_UNIX)
        peer.settimeout(TIMEOUT_S)
        peer.connect(ready["socket"])
        return peer
    peer = socket.create_connection((ready["address"] or "127.0.0.1", ready["port"]), TIMEOUT_S)
    if not ready["fingerprint"]:
        return peer
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False  # the fingerprint proves more
    context.verify_mode = ssl.CERT_NONE
    secured = context.wrap_socket(peer)
    digest = hashlib.sha256(secured.getpeercert(binary_form=True) or b"").hexdigest()
    if digest.upper() != ready["fingerprint"].replace(":", ""):
        secured.close()
        raise OSError("the certificate is not the announced one")
    return secured


def is_pull(address: str) -> bool:
    """Return whether a ZMQ socket that only receives listens at `address`."""
    host, _, port = address.rpartition(":")
    if host != "127.0.0.1":
        return False
    heard = b""
    try:
        with socket.create_connection((host, int(port)), 5) as peer:
            peer.sendall(_ZMTP_GREETING + _ZMTP_READY)
            while b"Socket-Type" not in heard[:-8] and len(heard) < 256:
                more = peer.recv(256)
                if not more:
                    break
                heard += more
    except OSError:
        return False
    return heard.startswith(b"\xff") and b"\x0bSocket-Type\0\0\0\x04PULL" in heard
