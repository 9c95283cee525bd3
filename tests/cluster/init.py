"""PID 1 of one host: mounts its file systems, says so, then only reaps.

A program, not a module of the package: run by Debian's own interpreter inside fresh namespaces
as `unshare ... python3 -I init.py PLAN [--stay]`. PLAN is a JSON file, {"hostname": str,
"alive": path, "mounts": [[argument of mount(8), ...], ...], "folders": [[path, octal mode as str],
...]}.

It prints one line, "ready", on stdout. Without --stay it ends when its stdin reaches end of file,
that is, when the process that started it is gone, however that ended; the kernel then kills all
other processes of the host and drops its mounts and network.
"""

import fcntl
import json
import os
import select
import signal
import socket
import subprocess
import sys
from pathlib import Path


def furnish(plan: dict[str, object]) -> None:
    """Make the mounts and folders of a plan and set the hostname."""
    mounts, folders = plan["mounts"], plan["folders"]
    assert isinstance(mounts, list)
    assert isinstance(folders, list)
    for arguments in mounts:
        subprocess.run(["mount", *arguments], check=True, timeout=20)
    for path, mode in folders:
        Path(path).mkdir(parents=True, exist_ok=True)
        Path(path).chmod(int(mode, 8))
    socket.sethostname(str(plan["hostname"]))
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True, timeout=20)


def reap() -> None:
    """Collect every child that has ended."""
    try:
        while os.waitpid(-1, os.WNOHANG) != (0, 0):
            pass
    except ChildProcessError:
        pass


def serve(*, stay: bool) -> None:
    """Reap until stdin ends; for ever with `stay`."""
    woken, waker = os.pipe()
    os.set_blocking(woken, False)
    os.set_blocking(waker, False)
    signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    events = select.poll()
    events.register(woken, select.POLLIN)
    if not stay:
        events.register(0, select.POLLIN)
    while True:
        reap()
        for fd, event in events.poll():
            if fd == woken:
                os.read(woken, 4096)
            elif event & select.POLLHUP or not os.read(0, 4096):
                return


def main() -> None:
    plan = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    # Held for life: the process that removes the state folder waits for this lock (see state.py).
    alive = os.open(plan["alive"], os.O_RDONLY)
    fcntl.flock(alive, fcntl.LOCK_SH)
    os.umask(0o022)
    os.chdir("/")
    furnish(plan)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    null = os.open("/dev/null", os.O_RDWR)
    os.dup2(null, 1)
    serve(stay="--stay" in sys.argv[2:])


if __name__ == "__main__":
    main()
