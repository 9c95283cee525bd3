"""Runs on the laptop, from standard input: asks Jupyter at the end of a tunnel, once it is up.

`URL METHOD PATH`; the URL as slurm-nb prints it. Prints the HTTP status.
"""

import sys
import time
import urllib.error
import urllib.request
from urllib.parse import parse_qs, urlsplit

parts = urlsplit(sys.argv[1])
request = urllib.request.Request(  # noqa: S310  http, as printed
    f"{parts.scheme}://{parts.netloc}{sys.argv[3]}",
    method=sys.argv[2],
    headers={"Authorization": f"token {parse_qs(parts.query)['token'][0]}"},
)
deadline = time.monotonic() + 30
while True:
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:  # noqa: S310
            print(answer.status)  # noqa: T201  its answer
        break
    except urllib.error.HTTPError as error:
        print(error.code)  # noqa: T201
        break
    except OSError:  # the tunnel is not up yet
        if time.monotonic() > deadline:
            raise
        time.sleep(0.1)
