"""Start Jupyter as the job does, once per configuration, and probe it as another user.

many_servers.py FOLDER KIT_DIR <cases >results. Forking after one import of Jupyter saves most of
the time that a start takes.
"""

# ruff: noqa: T201, BLE001  a program of the tests

from __future__ import annotations

import importlib
import json
import os
import re
import runpy
import signal
import socket
import sys
import time
import traceback
from pathlib import Path
from typing import Any

from slurm_nb.kit import self_check

FOLDER, KIT = Path(sys.argv[1]), Path(sys.argv[2])
NOBODY = 65534
WITHIN_S = 60.0
AT_ONCE = 3
READY = re.compile(r"^slurm-nb ready: (.*)$", re.MULTILINE)
STOPPED = re.compile(r"^slurm-nb: Jupyter (?:was stopped|is not started).*$", re.MULTILINE)
# Jupyter's own last line when it rejects a value.
BY_JUPYTER = re.compile(r"^.*(?:\[[CE] |Bad config|TraitError|Error:).*$", re.MULTILINE)
MORE = ("Accept: text/html\r\n", "Upgrade: websocket\r\nConnection: Upgrade\r\n")
PUBLIC = {"/api", "/login", "/logout", "/favicon.ico"}
GUESSES = [
    f"{start}/{name}"
    for start in ("", "/static", "/static/lab", "/static/notebook", "/lab/extensions", "/custom",
                  "/lab/api/themes", "/themes", "/nbextensions", "/files", "/hostile")
    for name in ("canary.txt", "x.py", "token")
]  # fmt: skip


def begin(case: dict[str, Any], number: int) -> dict[str, Any]:
    """Fork a server whose output goes to a file."""
    base = FOLDER / str(number)
    home, run = base / "home", base / "run"
    for folder in (
        base,
        home,
        home / ".jupyter",
        run,
        run / "runtime",
        base / "session",
        base / "nb",
    ):
        folder.mkdir(mode=0o700)
    (home / "canary.txt").write_text("CANARY")
    for name, written in case["files"].items():
        text = written.replace("@HOME@", str(home))
        (home / ".jupyter" / name).write_text(text)
        (home / name).write_text(text)
    env = {
        "PATH": os.environ["PATH"], "HOME": str(home), "PYTHONPATH": os.environ["PYTHONPATH"],
        "SLURM_NB_SESSION": f"hpc/{number}", "SLURM_NB_NONCE": "n" * 32,
        "SLURM_NB_RUN_DIR": str(run), "SLURM_NB_NOTEBOOK_DIR": str(base / "nb"),
        "SLURM_NB_TOKEN_FILE": str(base / "session/token"),
        "SLURM_NB_PASSWORD_FILE": str(base / "password"), "SLURM_NB_UI": "notebook",
        "SLURM_NB_LISTEN": "port", "SLURM_NB_ROUTE": "jump", "SLURM_NB_AUTH": "token",
        "SLURM_NB_PEERS": "any", "SLURM_NB_DEBUGGER": "no", "SLURM_NB_TERMINALS": "yes",
        "SLURM_NB_IDLE_TIMEOUT_S": "0",
        "JUPYTER_CONFIG_PATH": str(KIT / "slurm_nb_kit"), "SLURMD_NODENAME": "c1",
        "JUPYTER_RUNTIME_DIR": str(run / "runtime"),
    }  # fmt: skip
    env |= {name: value.replace("@HOME@", str(home)) for name, value in case["env"].items()}
    pid = os.fork()
    if not pid:
        os.environ.clear()
        os.environ.update(env)
        out = os.open(base / "out", os.O_WRONLY | os.O_CREAT, 0o600)
        os.dup2(out, 1)
        os.dup2(out, 2)
        os.chdir(KIT)
        sys.argv = ["preflight", "notebook", "--no-browser"]
        code = 1
        try:
            runpy.run_module("slurm_nb_kit.preflight", run_name="__main__", alter_sys=True)
            code = 0
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
            if isinstance(end.code, str):
                print(end.code, flush=True)
        except BaseException:
            traceback.print_exc()
        sys.stdout.flush()
        os._exit(code)
    return {"name": case["name"], "pid": pid, "base": base, "until": time.monotonic() + WITHIN_S}


def look(server: dict[str, Any]) -> dict[str, Any] | None:
    """Return the result, or None if the server has not started yet."""
    ended, _ = os.waitpid(server["pid"], os.WNOHANG)
    out = server["base"] / "out"
    said = out.read_text(errors="replace") if out.exists() else ""
    ready = READY.search(said)
    listeners = [] if ended else listening(server["pid"])
    if not ended and not ready and time.monotonic() < server["until"]:
        return None
    result: dict[str, Any] = {"name": server["name"], "ready": bool(ready), "open": [],
              "listeners": listeners, "said": said[-1500:], "why": "", "terminals": 0}  # fmt: skip
    if ended and not ready:
        told = STOPPED.search(said) or BY_JUPYTER.search(said)
        result["why"] = told.group() if told else ""
    for listener in listeners:
        port = int(listener.rpartition(":")[2])
        token = (server["base"] / "session/token").read_text()
        result["terminals"], _ = get(port, "/api/terminals", f"Authorization: token {token}\r\n")
        result["open"] += probe(port, server["base"])
    if not ended:
        os.kill(server["pid"], signal.SIGKILL)
        os.waitpid(server["pid"], 0)
    return result


def listening(pid: int) -> list[str]:
    """Return `ADDRESS:PORT` of each TCP listener of a process."""
    held = set()
    try:
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            link = str(entry.readlink())
            if link.startswith("socket:["):
                held.add(int(link[8:-1]))
    except OSError:
        return []
    return sorted(at for inode, at in self_check.tcp_listeners().items() if inode in held)


def probe(port: int, base: Path) -> list[str]:
    """Return every path that answers another user with success, except the public ones."""
    token = (base / "session/token").read_text()
    status, text = get(port, "/slurm-nb/audit", f"Authorization: token {token}\r\n")
    if status != 200:
        return [f"the report cannot be read: {status}"]
    routes = json.loads(text)["routes"]
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        if os.geteuid() == 0:
            os.setgroups([])
            os.setuid(NOBODY)
        found = []
        for path in sorted({*routes, *GUESSES, "/", "/tree", "/lab", "/api/contents"}):
            for more in MORE if "/" in path[1:] else MORE[:1]:
                status, text = get(port, path, more)
                if "CANARY" in text or token in text or (status < 300 and path not in PUBLIC):
                    found.append(f"{path}: {status} {text[:80]!r}")
        os.write(writer, json.dumps(found[:50]).encode())
        os._exit(0)
    os.close(writer)
    told = b""
    while chunk := os.read(reader, 65536):
        told += chunk
    os.close(reader)
    os.waitpid(child, 0)
    found = json.loads(told)
    return list(found)


def get(port: int, path: str, more: str) -> tuple[int, str]:
    """Return status and body of one request; the status is 999 if nobody answers."""
    try:
        with socket.create_connection(("127.0.0.1", port), 20) as link:
            head = f"GET {path} HTTP/1.1\r\nHost: localhost\r\n{more or ''}"
            if "Upgrade" not in more:
                head += "Connection: close\r\n"
            link.sendall((head + "\r\n").encode())
            answer = b""
            while chunk := link.recv(65536):
                answer += chunk
                if "Upgrade" in more and b"\r\n\r\n" in answer:
                    break
        return int(answer.split(None, 2)[1]), answer.partition(b"\r\n\r\n")[2].decode("latin-1")
    except (OSError, IndexError, ValueError):
        return 999, ""


def main() -> None:
    sys.path.insert(0, str(KIT))
    sys.path.append(os.environ["PYTHONPATH"])
    for name in (
        "notebook.app", "jupyterlab.labapp", "jupyter_server.serverapp", "jupyter_lsp",
        "jupyter_server_terminals", "notebook_shim", "nbconvert", "slurm_nb_kit.self_check",
        "slurm_nb_kit.monitor.monitor", "slurm_nb_kit.security.door",
    ):  # fmt: skip
        importlib.import_module(name)
    waiting = list(enumerate(json.load(sys.stdin)))
    running: list[dict[str, Any]] = []
    results = []
    while waiting or running:
        while waiting and len(running) < AT_ONCE:
            number, case = waiting.pop(0)
            running.append(begin(case, number))
        time.sleep(0.05)
        for server in list(running):
            result = look(server)
            if result is not None:
                running.remove(server)
                results.append(result)
    print(json.dumps(results))


main()
