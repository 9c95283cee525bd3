"""Measure one thing and print it as JSON; runs on the login node, from standard input."""

import json
import os
import resource
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

PYTHON = sys.executable
SLURM_NB = str(Path(sys.executable).with_name("slurm-nb"))
BIN = Path.home() / "bench-bin"
STAMP = Path.home() / "bench-stamp"


def submit() -> object:
    done = subprocess.run(
        [SLURM_NB, "submit", "--json"], check=True, capture_output=True, text=True, timeout=60
    )
    return json.loads(done.stdout)


def commands(job_id: str, runs: str) -> object:
    measured = {
        "pass": [PYTHON, "-c", "pass"],
        "import click": [PYTHON, "-c", "import click"],
        "import click, jinja2": [PYTHON, "-c", "import click, jinja2"],
        "slurm-nb --version": [SLURM_NB, "--version"],
        "slurm-nb --help": [SLURM_NB, "--help"],
        "slurm-nb submit --dry-run": [SLURM_NB, "submit", "--dry-run"],
        "slurm-nb list": [SLURM_NB, "list"],
        "slurm-nb tunnel-cmd": [SLURM_NB, "tunnel-cmd", job_id],
    }
    seconds: dict[str, list[float]] = {name: [] for name in measured}
    for turn in range(int(runs) + 1):
        for name, command in measured.items():
            begun = time.perf_counter()
            subprocess.run(command, check=True, capture_output=True, timeout=60)
            if turn:  # the first one fills caches
                seconds[name].append(time.perf_counter() - begun)
    return seconds


def memory() -> object:
    """Return the kilobytes at the peak (VmHWM of proc(5))."""
    waiting = subprocess.Popen(
        [SLURM_NB, "submit", "-p", "closed"], stderr=subprocess.PIPE, text=True
    )
    assert waiting.stderr is not None
    while "PENDING" not in waiting.stderr.readline():
        pass
    peak = {"submit": peak_kb(waiting.pid)}
    waiting.send_signal(signal.SIGINT)
    waiting.communicate(timeout=30)
    bare = subprocess.Popen(
        [PYTHON, "-c", "print(flush=True); input()"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    assert bare.stdout is not None
    bare.stdout.readline()
    peak["python"] = peak_kb(bare.pid)
    bare.communicate(b"\n", timeout=30)
    return peak


def peak_kb(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM:")).split()[1])


def start() -> object:
    """From the start of sbatch, which stamps the time, to the line on stdout."""
    BIN.mkdir(exist_ok=True)
    stamping = BIN / "sbatch"
    stamping.write_text(f'#!/bin/bash\ntouch {STAMP}\nexec /usr/bin/sbatch "$@"\n')
    stamping.chmod(0o755)
    environ = {**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}"}
    process = subprocess.Popen(
        [SLURM_NB, "submit"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environ
    )
    assert process.stdout is not None
    while not process.stdout.readline().startswith(b"ssh "):
        assert process.poll() is None
    seconds = time.time() - STAMP.stat().st_mtime
    process.communicate(timeout=30)
    return {"seconds": seconds}


def floor() -> object:
    script = subprocess.run(
        [SLURM_NB, "submit", "--dry-run"], check=True, capture_output=True, timeout=30
    ).stdout
    begun = time.time()
    done = subprocess.run(
        ["sbatch", "--parsable"], input=script, check=True, capture_output=True, timeout=30
    )
    log = Path.home() / f".local/state/slurm-nb/jobs/{done.stdout.decode().strip()}_0_log.out"
    while not log.exists() or b"slurm-nb ready: " not in log.read_bytes():
        time.sleep(0.02)
    return {"seconds": time.time() - begun}


def lists(runs: str) -> object:
    """Return seconds, and kilobytes at the peak (wait4(2))."""
    seen: dict[str, list[float]] = {name: [] for name in ("list", "squeue", "cpu", "peak")}
    squeue = ["squeue", "--me", "-h", "-t", "all", "-o", "%i|%T|%o"]
    for turn in range(int(runs) + 1):
        seconds, _ = timed(squeue)
        list_s, used = timed([SLURM_NB, "list"])
        if turn:  # the first one settles what Slurm has forgotten
            seen["squeue"].append(seconds)
            seen["list"].append(list_s)
            seen["cpu"].append(used.ru_utime + used.ru_stime)
            seen["peak"].append(used.ru_maxrss)
        else:
            first_s = list_s
    middle = {name: statistics.median(values) for name, values in seen.items()}
    return {
        "first_s": first_s, "list_s": middle["list"], "list_min_s": min(seen["list"]),
        "squeue_s": middle["squeue"], "cpu_s": middle["cpu"], "peak_kb": middle["peak"],
    }  # fmt: skip


def timed(command: list[str]) -> tuple[float, resource.struct_rusage]:
    begun = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    assert status == 0
    return time.perf_counter() - begun, used


MEASURES: dict[str, Callable[..., object]] = {
    "submit": submit, "commands": commands, "memory": memory, "start": start, "floor": floor,
    "lists": lists,
}  # fmt: skip
print(json.dumps(MEASURES[sys.argv[1]](*sys.argv[2:])))
