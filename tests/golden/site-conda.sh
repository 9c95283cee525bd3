#!/bin/bash
#SBATCH --job-name=slurm-nb
#SBATCH --output=/home/alice/.local/state/slurm-nb/jobs/%j_0_log.out
#SBATCH --open-mode=append
#SBATCH --signal=B:USR1@900

# Starts Jupyter on this node and tells slurm-nb, through the job's output, where it
# listens. Needs bash, coreutils, findutils, grep (and openssl for --tls) and the Python
# below; slurm-nb itself is not needed.
# `sbatch THIS-FILE` works too: `slurm-nb tunnel-cmd JOBID` then prints the way in.

# shellcheck disable=SC2329,SC2317,SC2016,SC1003  # traps call functions; values in quotes are meant literally
# shellcheck disable=SC1090,SC1091  # what is sourced is the node's own
set -u
# Slurm's word that the end is near (--signal above) would end a script that does not expect it.
signalled=
trap 'signalled=yes' USR1

python=/opt/slurm-nb/bin/python
ui=notebook
notebook_dir=/home/alice
state_dir=/home/alice/.local/state/slurm-nb
node=${SLURMD_NODENAME:-$HOSTNAME}

# Outside Slurm, `slurm-nb submit --cluster local` gives the job's id as the argument, and after
# it when the job ends, in seconds since the epoch.
if [ $# -gt 0 ]; then
  cluster=local
  job_id=$1
else
  cluster=${SLURM_CLUSTER_NAME:-}
  job_id=${SLURM_JOB_ID:?run this script with sbatch}
fi

session_dir=$state_dir/sessions/$cluster/$job_id
(umask 077 && mkdir -p "$session_dir") || exit 1
chmod 700 "${session_dir%/*}" "$session_dir" # a default ACL beats the umask
# A token that was sent to where an earlier run listened opens nothing any more.
rm -f "$session_dir/token" "$session_dir/activity.json"
chmod 600 "$state_dir/jobs/${job_id}_0_log.out" 2>/dev/null

# The job's own lines in its output carry this, so that what a program prints there is not
# taken for one of them. A requeued run keeps it.
nonce_file=$session_dir/nonce
if [ ! -s "$nonce_file" ]; then
  (umask 077 && od -An -v -tx1 -N16 /dev/urandom | tr -d ' \n' >"$nonce_file.new") || exit 1
  chmod 600 "$nonce_file.new"
  mv "$nonce_file.new" "$nonce_file" || exit 1
fi
nonce=$(cat "$nonce_file")

# Lines of the user's may set names of this script, and `rm -rf "$run_dir"` comes in the end: before
# they run, this gets what brings the script's own back.
slurm_nb_own=
tell() { # tell started|failed|stopping|ended MORE-JSON
  eval "$slurm_nb_own"
  printf '\nslurm-nb %s: {"cluster": "%s", "job_id": "%s", "nonce": "%s"%s}\n' \
    "$1" "$cluster" "$job_id" "$nonce" "$2"
}
tell started ''

json() { # json TEXT: as a JSON string, on one line
  local text=${1//\\/\\\\}
  text=${text//\"/\\\"}
  printf '"%s"' "${text//[[:cntrl:]]/ }"
}
slurm_nb_sourcing= # yes: lines that are not ours run
tell_failed() {
  slurm_nb_sourcing=
  tell failed ", \"text\": $(json "$1"), \"cure\": $(json "$2"), \"known\": ${3:-true}"
}
fail() { # fail TEXT CURE: a sentence each, which slurm-nb shows to the user
  tell_failed "$@"
  exit 1
}

# What runs in this session carries this mark in its environment, however it was started.
export SLURM_NB_SESSION=$cluster/$job_id

# Ids of this session's processes, but for this shell. A job submitted from a notebook
# inherits the mark and has a Slurm job id of its own.
ours() {
  local environs
  environs=$(grep -lzxF "SLURM_NB_SESSION=$SLURM_NB_SESSION" /proc/[0-9]*/environ 2>/dev/null)
  if [ "$cluster" != local ] && [ -n "$environs" ]; then
    # shellcheck disable=SC2086  # one word per process: the names hold no blanks
    environs=$(grep -lzxF "SLURM_JOB_ID=$job_id" $environs 2>/dev/null)
  fi
  printf '%s' "${environs//[!0-9$'\n']/}"
}

# A kernel that ignores SIGTERM outlives a cancelled job unless it is killed here.
clean_up() {
  local code=$? pid
  eval "$slurm_nb_own"
  set +f
  trap '' TERM INT HUP USR1
  if [ -n "$slurm_nb_sourcing" ] && [ "$code" != 143 ]; then
    tell_failed "what runs for --setup, --module or --env ended the job script on $node: exit code $code" \
      "it runs in the script's own shell, and must not call exit, nor leave set -e on"
  fi
  for pid in $asking $(ours); do
    kill -KILL "$pid" 2>/dev/null
  done
  rm -f "$session_dir/token" "$session_dir/activity.json"
  [ -z "$run_dir" ] || rm -rf "$run_dir"
  tell ended ", \"exit_code\": $code"
}
run_dir=
asking=
trap clean_up EXIT
trap 'exit 143' TERM INT HUP

# Node-local and private (mktemp makes it 0700): sockets, connection files, the kit. A UNIX
# socket's path may have 107 bytes, of which a kernel's takes 79 from here on.
base=$(realpath -e -- "${TMPDIR:-/tmp}" 2>/dev/null)
case $base in
  *[!A-Za-z0-9_./-]* | [!/]* | / | '' | ??????????????????????????????*) base=/tmp ;;
esac
# Below a directory that somebody else may change, a private one can be put away and replaced.
trusted=(-uid 0 -perm -1000 -o -uid 0 ! -perm /022 -o -uid "$(id -u)" ! -perm /022)
folder=$base
while [ "$folder" != / ]; do
  [ -n "$(find "$folder" -maxdepth 0 \( "${trusted[@]}" \) 2>/dev/null)" ] || base=/tmp
  folder=$(dirname "$folder")
done
# A signal waits until the name is known, so that no directory stays behind.
make_run_dir() { (trap '' TERM INT HUP && mktemp -d "$1/slurm-nb.XXXXXXXX"); }
run_dir=$(make_run_dir "$base") || run_dir=$(make_run_dir /tmp) ||
  fail "no directory can be made in /tmp on $node" "take another node: --exclude $node"
mkdir -m 700 "$run_dir/kit" "$run_dir/runtime" || exit 1
full() { fail "${run_dir%/*} on $node can't be written: is it full?" "take another node: --exclude $node"; }

# When the job ends, in seconds since the epoch; the kit warns of it on the page.
put_end() { printf '%s\n' "$1" >"$run_dir/end-time.new" && mv "$run_dir/end-time.new" "$run_dir/end-time"; }
ask_end() { # asks Slurm, again before the last minutes and when it should be over: it can be extended
  local end left
  while :; do
    end=$(SLURM_TIME_FORMAT=%s timeout 20 squeue -h -j "$job_id" -o %e)
    [[ $end =~ ^[0-9]+$ ]] || end=${SLURM_JOB_END_TIME:-$(($(date +%s) + 900))}
    put_end "$end" || return
    left=$((end - $(date +%s)))
    if [ "$left" -gt 960 ]; then
      sleep $((left - 900))
    elif [ "$left" -gt 390 ]; then
      sleep $((left - 330))
    else
      sleep $((left > 0 ? left + 60 : 60))
    fi
  done 2>/dev/null
}
time_is_short() {
  interrupted=yes
  [ -z "$asking" ] || kill -KILL "$asking" 2>/dev/null
  ask_end &
  asking=$!
}
trap time_is_short USR1
[ -z "$signalled" ] || time_is_short
[ $# -lt 2 ] || put_end "$2"

cat >"$run_dir/kit/jupyter_config.py" <<'END-OF-KIT' || full
# Found through JUPYTER_CONFIG_PATH. Jupyter reads every jupyter_config before any
# jupyter_server_config (jupyter_core 5, JupyterApp.load_config_file), so what the user's own
# jupyter_server_config says wins over what stands here.
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import slurm_nb_sqlite

slurm_nb_sqlite.configure(get_config())  # type: ignore[name-defined]  # noqa: F821  Jupyter's own
END-OF-KIT

cat >"$run_dir/kit/jupyter_server_config.py" <<'END-OF-KIT' || full
# Found through JUPYTER_CONFIG_PATH, so Jupyter reads this after the user's own
# configuration, which stays in force but for what is set here (jupyter_core 5,
# jupyter_config_path).
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

# Jupyter goes on without a configuration file that fails, and so without our token.
try:
    import slurm_nb_kit

    slurm_nb_kit.configure(get_config())  # type: ignore[name-defined]  # noqa: F821  Jupyter's own
except Exception as error:
    raise SystemExit("slurm-nb: Jupyter is not started: %s" % error) from error
END-OF-KIT

cat >"$run_dir/kit/slurm_nb_activity.py" <<'END-OF-KIT' || full
"""Runs inside the Jupyter server: keeps what `slurm-nb list` shows of a session, in one small file.

Self-contained: standard library only, Python 3.8 and later. The file is the session's own, on a
file system that the login node sees, which may be slow, full or gone: a thread writes, and what
fails is left.

    {"active_at": 1795667137, "idle_stop_at": 1795670737, "memory_fraction": 0.42, "kernels": 2}
"""

from __future__ import annotations

import json
import os
import threading
import time
from typing import Any, Callable, Dict, Optional

_APART_S = 60.0
# Less than that is nothing new.
_NEAR = {"active_at": 5, "idle_stop_at": 5, "memory_fraction": 0.02, "kernels": 0}


class ActivityFile:
    """Written when there is something new, and at most once a minute."""

    def __init__(
        self,
        path: str,
        log: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._path = path
        self._log: Optional[Callable[[str], None]] = log
        self._clock = clock
        self._written: Optional[Dict[str, Any]] = None
        self._written_at = 0.0
        self._writer: Optional[threading.Thread] = None

    def keep(self, record: Dict[str, Any]) -> None:
        """Have `record` written, unless it is too early, or the last one is still being written."""
        now = self._clock()
        if self._written is not None:
            if now - self._written_at < _APART_S or not _differs(record, self._written):
                return
            if self._writer and self._writer.is_alive():
                return
        self._written, self._written_at = record, now
        self._writer = threading.Thread(target=self._write, args=(record,), daemon=True)
        self._writer.start()

    def _write(self, record: Dict[str, Any]) -> None:
        fresh = self._path + ".new"
        try:
            if os.path.lexists(fresh):
                os.unlink(fresh)
            handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(handle, "w") as file:
                json.dump(record, file)
            os.rename(fresh, self._path)
        except OSError as error:
            if self._log:
                self._log("%s can't be written: %s" % (self._path, error.strerror))
            self._log = None


def _differs(one: Dict[str, Any], other: Dict[str, Any]) -> bool:
    for name, near in _NEAR.items():
        first, second = one[name], other[name]
        if (first is None) != (second is None):
            return True
        if first is not None and abs(first - second) > near:
            return True
    return False
END-OF-KIT

cat >"$run_dir/kit/slurm_nb_checks.py" <<'END-OF-KIT' || full
"""Runs inside the Jupyter server: what listens, and whether it lets strangers in.

Self-contained: standard library only, Python 3.8 and later. /proc is proc(5).
"""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import stat
import struct
from typing import Dict, List, Optional, Set

_LISTEN = "0A"


class Refused(Exception):
    """The server must not be announced; the text says why."""


def check_one(listeners: List[socket.socket]) -> None:
    """Raise `Refused` unless there is one listener."""
    if len(listeners) != 1:
        raise Refused("it listens on %d sockets, not one" % len(listeners))


def check_own(listener: socket.socket) -> None:
    """Raise `Refused` unless `listener` is a socket that this process alone was given.

    For TCP, the kernel's table must show its inode, at its address, for this user; for a
    UNIX socket, the path must be ours alone and who answers there must be this process.
    """
    if listener.family == socket.AF_UNIX:
        _check_own_path(listener.getsockname())
        return
    inode = os.fstat(listener.fileno()).st_ino
    address, port = listener.getsockname()[:2]
    if tcp_listeners().get(inode) != "%s:%d" % (address, port):
        raise Refused("port %d is not the server's own" % port)


def check_alone(listener: socket.socket, mark: str) -> None:
    """Raise `Refused` when a process that carries `mark` listens on any other TCP port."""
    own = os.fstat(listener.fileno()).st_ino
    held = session_inodes(mark) - {own}
    others = [address for inode, address in tcp_listeners().items() if inode in held]
    if others:
        raise Refused("something else of this job listens on TCP: %s" % ", ".join(others))


async def check_door(listener: socket.socket, path: str, token: str, tls: Optional[str]) -> None:
    """Raise `Refused` unless `path` answers 403 without the token and 200 with it.

    And 403 with it to a browser that was led here by another name (DNS rebinding).
    tls: the certificate's file, or None.
    """
    without = await _status(listener, path, None, tls)
    if without != 403:
        raise Refused("without the token the server answers %d, not 403" % without)
    with_token = await _status(listener, path, token, tls)
    if with_token != 200:
        raise Refused("with the token the server answers %d, not 200" % with_token)
    rebound = await _status(listener, path, token, tls, host="other.invalid")
    if rebound != 403:
        raise Refused("to another Host the server answers %d, not 403" % rebound)


def tcp_listeners() -> Dict[int, str]:
    """Inode: `ADDRESS:PORT` of every TCP socket that listens in this network namespace."""
    found = {}
    for name, family, words in (("tcp", socket.AF_INET, 1), ("tcp6", socket.AF_INET6, 4)):
        try:
            with open("/proc/net/" + name) as table:
                rows = [line.split() for line in table][1:]
        except OSError:
            continue
        for row in rows:
            if row[3] == _LISTEN:
                address, _, port = row[1].partition(":")
                # Words of 32 bits in the machine's own byte order.
                packed = bytes.fromhex(address)
                raw = struct.pack("=%dI" % words, *struct.unpack(">%dI" % words, packed))
                found[int(row[9])] = "%s:%d" % (socket.inet_ntop(family, raw), int(port, 16))
    return found


def session_inodes(mark: str) -> Set[int]:
    """Inodes of the sockets that processes carrying `NAME=VALUE` in their environment hold."""
    wanted = mark.encode()
    inodes = set()
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open("/proc/%s/environ" % pid, "rb") as environ:
                if wanted not in environ.read().split(b"\0"):
                    continue
            links = [os.readlink(entry.path) for entry in os.scandir("/proc/%s/fd" % pid)]
        except OSError:
            continue
        inodes |= {int(link[8:-1]) for link in links if link.startswith("socket:[")}
    return inodes


def _check_own_path(path: str) -> None:
    found, folder = os.lstat(path), os.lstat(os.path.dirname(path))
    if not stat.S_ISSOCK(found.st_mode) or stat.S_IMODE(found.st_mode) != 0o600:
        raise Refused("%s is not a socket of mode 0600" % path)
    if not stat.S_ISDIR(folder.st_mode) or stat.S_IMODE(folder.st_mode) != 0o700:
        raise Refused("%s is not in a directory of mode 0700" % path)
    if {found.st_uid, folder.st_uid} != {os.geteuid()}:
        raise Refused("%s belongs to somebody else" % path)
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(path)
        size = struct.calcsize("3i")
        pid, _, _ = struct.unpack(
            "3i", client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
        )
    if pid != os.getpid():
        raise Refused("%s is answered by process %d, not by the server" % (path, pid))


async def _status(
    listener: socket.socket,
    path: str,
    token: Optional[str],
    tls: Optional[str],
    host: str = "localhost",
) -> int:
    """The status of a GET as a browser on the laptop sends it."""
    context = None
    if tls:
        context = ssl.create_default_context(cafile=tls)
    if listener.family == socket.AF_UNIX:
        opening = asyncio.open_unix_connection(listener.getsockname())
    else:
        address, port = listener.getsockname()[:2]
        name = "localhost" if context else None
        opening = asyncio.open_connection(address, port, ssl=context, server_hostname=name)
    reader, writer = await asyncio.wait_for(opening, 30)
    try:
        lines: List[str] = ["GET %s HTTP/1.0" % path, "Host: " + host]
        if token:
            lines.append("Authorization: token " + token)
        writer.write(("\r\n".join(lines) + "\r\n\r\n").encode("ascii"))
        answer = await asyncio.wait_for(reader.readline(), 30)
    finally:
        writer.close()
    words = answer.split()
    if len(words) < 2 or not words[1].isdigit():
        raise Refused("it does not answer as a web server does")
    return int(words[1])
END-OF-KIT

cat >"$run_dir/kit/slurm_nb_idle.py" <<'END-OF-KIT' || full
"""Runs inside the Jupyter server: whether the session is in use, and since when it is not.

Self-contained: jupyter_server's own objects and the standard library only, Python 3.8 and later.
"""

from __future__ import annotations

import os
import time
from typing import Any, Callable, List, NamedTuple, Optional, Set

_PERIOD_S = (0.5, 5.0)
# A look that comes late counts for no more than this: a job that Slurm had suspended, or a node
# that stood still, was not idle for that long.
_LATE_LOOKS = 3
_READING = ("GET", "HEAD", "OPTIONS")


class Activity(NamedTuple):
    """What a look finds."""

    in_use: bool
    """A cell runs, a page is connected, or a terminal has a program running."""
    kernels: int
    marks: List[Any]
    """Anything that is another thing once something has been done."""


class Idle:
    """For how long a session was not used. `timeout_s` None: it may be so for ever."""

    def __init__(
        self, timeout_s: Optional[int], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.timeout_s = timeout_s
        shortest, longest = _PERIOD_S
        self.period_s = min(longest, max(shortest, timeout_s / 10)) if timeout_s else longest
        """How often to look."""
        self.idle_s = 0.0
        """Since it was last seen in use; a step of the clock on the wall changes nothing."""
        self.in_use = True
        self._clock = clock
        self._looked_at = clock()
        self._marks: Optional[List[Any]] = None

    def look(self, found: Activity) -> bool:
        """Take note of what was found; whether the session has been idle for too long."""
        now = self._clock()
        waited_s, self._looked_at = now - self._looked_at, now
        used = found.in_use or found.marks != self._marks
        self._marks = found.marks
        self.in_use = found.in_use
        self.idle_s = 0.0 if used else self.idle_s + min(waited_s, _LATE_LOOKS * self.period_s)
        return self.timeout_s is not None and self.idle_s >= self.timeout_s


class Changes:
    """Counts requests that change something: a file that is saved, without any kernel."""

    def __init__(self, app: Any) -> None:
        self.count = 0
        settings = app.web_app.settings
        log = settings["log_function"]  # tornado calls it at the end of each request

        def note(handler: Any) -> None:
            if handler.request.method not in _READING and handler.get_status() < 400:
                self.count += 1
            log(handler)

        settings["log_function"] = note


def activity(app: Any) -> Activity:
    """How the server `app`, a ServerApp, is used right now."""
    manager = app.kernel_manager
    kernels = [manager.kernel_model(kernel_id) for kernel_id in manager.list_kernel_ids()]
    busy = any(each["execution_state"] == "busy" or each["connections"] > 0 for each in kernels)
    # Without the extension jupyter_server_terminals there are none.
    found = getattr(app.web_app.settings.get("terminal_manager"), "terminals", {})
    terminals = list(found.items())
    in_use = (
        busy
        or any(terminal.clients for _, terminal in terminals)
        or _runs_program({terminal.ptyproc.pid for _, terminal in terminals})
    )
    marks: List[Any] = [(each["id"], each["last_activity"]) for each in kernels]
    marks += [(name, getattr(each, "last_activity", None)) for name, each in terminals]
    return Activity(in_use, len(kernels), marks)


def _runs_program(shells: Set[int]) -> bool:
    """Whether one of these session leaders has another process in its session (proc(5), stat)."""
    for name in os.listdir("/proc") if shells else ():
        if not name.isdigit() or int(name) in shells:
            continue
        try:
            with open("/proc/%s/stat" % name, "rb") as file:
                state, _, _, session = file.read().rpartition(b")")[2].split()[:4]
        except (OSError, ValueError):
            continue  # it has just ended
        if state not in (b"Z", b"X") and int(session) in shells:
            return True
    return False
END-OF-KIT

cat >"$run_dir/kit/slurm_nb_kernel.py" <<'END-OF-KIT' || full
"""Starts ipykernel with its inbound pipe on a UNIX socket.

ipykernel takes the output of forked children from a PULL socket, which it binds to a TCP port of
the loopback interface (ipykernel 6 and 7, iostream.py, IOPubThread): any user of the node could
push text of his own there. Run in place of `python -m ipykernel_launcher`, by the kernel's own
interpreter, which may be an old one: standard library, pyzmq and ipykernel only, no annotations.
"""

import contextlib
import os
import pathlib
import signal
import sys
import tempfile
import threading

_HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:] = [path for path in sys.path if path != _HERE]  # what is imported is the user's

import zmq  # noqa: E402
from ipykernel import iostream, kernelapp  # noqa: E402

_HOLD_S = 5.0
_PORT = 1  # what ipykernel takes for the port; nothing listens there


def _pipe_path():
    """Beside the connection file, in a directory that is 0700, with a path that is short enough."""
    given = [word for flag, word in zip(sys.argv, sys.argv[1:]) if flag == "-f"]
    folder = os.path.dirname(os.path.abspath(given[0])) if given else tempfile.mkdtemp()
    return os.path.join(folder, "kernel-pipe-%d" % os.getpid())


@contextlib.contextmanager
def _in_place(name, method):
    original = getattr(zmq.Socket, name)
    setattr(zmq.Socket, name, method)
    try:
        yield
    finally:
        setattr(zmq.Socket, name, original)


def _pipe_to_socket():
    path = "ipc://" + _pipe_path()
    thread = iostream.IOPubThread
    set_up_in = thread._setup_pipe_in
    set_up_out = thread._setup_pipe_out
    connect = zmq.Socket.connect

    def bind(self, _address, *_args, **_kwargs):
        self.bind(path)
        return _PORT

    def connect_out(self, address):
        return connect(self, path if address.endswith(":%d" % _PORT) else address)

    def pipe_in(self):
        with _in_place("bind_to_random_port", bind):
            return set_up_in(self)

    def pipe_out(self):
        with _in_place("connect", connect_out):
            return set_up_out(self)

    thread._setup_pipe_in = pipe_in
    thread._setup_pipe_out = pipe_out


def _history_to_node(folder):
    """Unless the user's configuration says where it goes (IPython 7 to 9, core/history.py)."""
    from IPython.core.history import HistoryManager  # noqa: PLC0415  another kernel may lack it

    def name(_self, _profile=None):
        return pathlib.Path(folder, "history.sqlite")

    HistoryManager._get_hist_file_name = name


def _hold_term():
    """Leave the server the time to ask for a clean shutdown, which runs what atexit holds.

    At the time limit, and when a job is cancelled, Slurm sends SIGTERM to every process of it, so
    a kernel would be dead before it is asked. A second one ends it, as the first would have.
    """
    if not hasattr(os, "register_at_fork"):  # Python before 3.7
        return
    here = threading.local()

    def hold(_number, _frame):
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        late = threading.Timer(_HOLD_S, os.kill, (os.getpid(), signal.SIGTERM))
        late.daemon = True
        late.start()

    # A child is ended as ever: multiprocessing's workers, by Pool.terminate. Until it has forgotten
    # the handler the signal waits; Python would drop it.
    def block():
        here.mask = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])

    def unblock():
        signal.pthread_sigmask(signal.SIG_SETMASK, here.mask)

    def forget():
        if signal.getsignal(signal.SIGTERM) is hold:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
        unblock()

    signal.signal(signal.SIGTERM, hold)
    os.register_at_fork(before=block, after_in_parent=unblock, after_in_child=forget)


if __name__ == "__main__":
    _hold_term()
    if os.environ.get("SLURM_NB_HISTORY_DIR"):
        _history_to_node(os.environ["SLURM_NB_HISTORY_DIR"])
    try:
        _pipe_to_socket()
    except AttributeError:  # an ipykernel that does it in another way
        pass
    kernelapp.launch_new_instance()
END-OF-KIT

cat >"$run_dir/kit/slurm_nb_kernels.py" <<'END-OF-KIT' || full
"""Runs inside the Jupyter server: kernels over UNIX sockets, and without a debugger.

Self-contained: jupyter_server's own objects only, Python 3.8 and later.
"""

from __future__ import annotations

import os
from typing import Any, Callable, List

# Any of these may carry a setting of the user's, and one on a subclass would win.
KERNEL_MANAGERS = (
    "ConnectionFileMixin", "KernelManager", "AsyncKernelManager", "IOLoopKernelManager",
    "AsyncIOLoopKernelManager", "ServerKernelManager",
)  # fmt: skip
# Jupyter's messaging protocol 5.4, without debug_request: debugpy would listen on a loopback
# port that asks nobody who they are.
_MESSAGES_BUT_DEBUG = [
    "execute_request", "inspect_request", "complete_request", "history_request",
    "is_complete_request", "comm_info_request", "kernel_info_request", "connect_request",
    "shutdown_request", "interrupt_request", "input_reply", "comm_open", "comm_msg", "comm_close",
    "create_subshell_request", "delete_subshell_request", "list_subshell_request",
    "usage_request",
]  # fmt: skip
_KERNEL_BINDS_WITHIN_S = 60.0
_LAUNCHER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "slurm_nb_kernel.py")


def configure(c: Any, *, allow_debugger: bool) -> None:
    """Put kernels on UNIX sockets, and let none start a debugger unless it is allowed."""
    for name in KERNEL_MANAGERS:
        c[name].transport = "ipc"
    if not allow_debugger:
        for name in ("MappingKernelManager", "AsyncMappingKernelManager"):
            c[name].allowed_message_types = _MESSAGES_BUT_DEBUG


def _change_specs(manager: Any, *, allow_debugger: bool) -> None:
    """Start ipykernel by the kit's launcher, and offer no debugger that would not be answered."""
    get_kernel_spec = manager.get_kernel_spec
    get_all_specs = manager.get_all_specs

    def one(kernel_name: str) -> Any:
        spec = get_kernel_spec(kernel_name)
        spec.argv = _launched_by_kit(spec.argv)
        if not allow_debugger:
            spec.metadata = {**spec.metadata, "debugger": False}
        return spec

    def every() -> Any:
        specs = get_all_specs()
        if not allow_debugger:
            for each in specs.values():
                each["spec"]["metadata"] = {**each["spec"].get("metadata", {}), "debugger": False}
        return specs

    manager.get_kernel_spec, manager.get_all_specs = one, every


def _launched_by_kit(argv: List[str]) -> List[str]:
    """`python -m ipykernel_launcher ...` with the kit's launcher; any other command as it is.

    Not within a container, which does not see the kit.
    """
    python = bool(argv) and os.path.basename(argv[0]).startswith("python")
    for at in range(1, min(len(argv) - 1, 4)):
        if python and argv[at] == "-m" and argv[at + 1] in ("ipykernel_launcher", "ipykernel"):
            return [*argv[:at], _LAUNCHER, *argv[at + 2 :]]
    return list(argv)


def watch(app: Any, *, allow_debugger: bool, notice: Callable[[str], None]) -> None:
    """Report a kernel that does not come to the UNIX sockets that it was given."""
    _change_specs(app.kernel_spec_manager, allow_debugger=allow_debugger)
    manager = app.kernel_manager
    for name in KERNEL_MANAGERS:  # with ipc, the beginning of the sockets' path
        for config in (app.config, manager.config):
            if name in config:
                config[name].pop("ip", None)
    start_kernel = manager.start_kernel

    async def start(*args: Any, **kwargs: Any) -> Any:
        kernel_id = await start_kernel(*args, **kwargs)
        kernel = manager.get_kernel(kernel_id)
        if kernel.transport != "ipc":
            await manager.shutdown_kernel(kernel_id, now=True)
            raise RuntimeError("slurm-nb: this kernel would be open to others: it can't do ipc")
        if os.path.dirname(os.path.abspath(kernel.ip)) != os.path.abspath(app.runtime_dir):
            await manager.shutdown_kernel(kernel_id, now=True)
            raise RuntimeError("slurm-nb: this kernel's sockets would be open to others")
        app.io_loop.call_later(_KERNEL_BINDS_WITHIN_S, _check, app, kernel_id, notice)
        return kernel_id

    manager.start_kernel = start


def _check(app: Any, kernel_id: str, notice: Callable[[str], None]) -> None:
    if kernel_id not in app.kernel_manager.list_kernel_ids():
        return
    kernel = app.kernel_manager.get_kernel(kernel_id)
    if not os.path.exists("%s-%d" % (kernel.ip, kernel.shell_port)):
        notice(
            "kernel %s does not listen on UNIX sockets and can't be used here: others on the"
            " node could read what it does" % kernel.kernel_name
        )
END-OF-KIT

cat >"$run_dir/kit/slurm_nb_kit.py" <<'END-OF-KIT' || full
"""Runs inside the Jupyter server: its settings, and the line that says where it listens.

Self-contained: standard library and jupyter_server only, Python 3.8 and later. The job
script hands over its values in SLURM_NB_* variables, which kernels do not get to see.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import resource
import secrets
import socket
import ssl
from typing import TYPE_CHECKING, Any, Dict, List, Optional

import jupyter_server
import slurm_nb_checks
import slurm_nb_kernels
import slurm_nb_overruled
import slurm_nb_page
import slurm_nb_versions

if TYPE_CHECKING:
    import slurm_nb_notices
    from jupyter_server.serverapp import ServerApp
    from traitlets.config import Config

_UI_PATHS = {"notebook": "tree", "lab": "lab"}
# What ready.py takes for a path: it needs no quoting, neither in a URL nor in a shell.
_PATH = re.compile(r"(?:/[A-Za-z0-9_.~@%+-]+)+/?")
_JOB: Dict[str, str] = {}
_PAGES: List[slurm_nb_notices.Notices] = []


def configure(c: Config) -> None:
    """Set what slurm-nb stands on in `c`, the traitlets Config of jupyter_server_config.py."""
    if int(jupyter_server.__version__.partition(".")[0]) < 2:
        # It would make a token of its own and write it to the log.
        raise RuntimeError(
            "jupyter_server %s is too old; 2.0 or later is needed, in the environment of --python"
            % jupyter_server.__version__
        )
    cluster, _, job_id = os.environ["SLURM_NB_SESSION"].partition("/")
    _JOB.update(cluster=cluster, job_id=job_id, mark="SLURM_NB_SESSION=%s/%s" % (cluster, job_id))
    for name in (
        "ui", "listen", "route", "auth", "debugger", "run_dir", "nonce", "idle_timeout_s"
    ):  # fmt: skip
        _JOB[name] = os.environ.pop("SLURM_NB_" + name.upper())
    server = c.ServerApp
    server.open_browser = False
    server.root_dir = os.environ.pop("SLURM_NB_NOTEBOOK_DIR")
    server.allow_root = os.geteuid() == 0
    server.jpserver_extensions.update({__name__: True})
    _set_listener(server)
    _set_lock(c)
    slurm_nb_kernels.configure(c, allow_debugger=_JOB["debugger"] == "yes")
    try:
        slurm_nb_page.configure(c, _JOB["run_dir"])
    except Exception as error:  # the pages then show no warnings
        print("slurm-nb: the pages get no extension: %s" % error, flush=True)
    # Until the server is announced: its own files. Kernels and terminals get the user's back.
    _JOB["umask"] = "%o" % os.umask(0o077)
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))


def _set_listener(server: Any) -> None:
    server.port = 0  # the kernel chooses a free one: nothing to race for
    server.port_retries = 0
    server.sock = ""
    server.sock_mode = "0600"
    server.ip = "127.0.0.1"
    server.certfile = server.keyfile = server.client_ca = ""
    if _JOB["listen"] == "socket":
        server.sock = os.path.join(_JOB["run_dir"], "jupyter.sock")
        # Jupyter refuses any other one beside a socket, and does not open it.
        server.port = jupyter_server.DEFAULT_JUPYTER_SERVER_PORT
    elif _JOB["route"] == "direct":
        server.ip = _JOB["address"] = _address_towards_login()
        certificate = os.path.join(_JOB["run_dir"], "certificate.pem")
        if os.path.exists(certificate):
            _JOB["certificate"] = server.certfile = certificate
            server.keyfile = os.path.join(_JOB["run_dir"], "key.pem")


def _address_towards_login() -> str:
    """This node's address on the way to the login node; no packet is sent."""
    login = os.environ.get("SLURM_SUBMIT_HOST") or "localhost"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect((login, 9))
        address: str = probe.getsockname()[0]
    return address


def _set_lock(c: Config) -> None:
    server = c.ServerApp
    # The way here is ssh, so the browser always says localhost.
    server.allow_remote_access = False
    server.local_hostnames = ["localhost"]
    server.allow_origin = server.allow_origin_pat = ""
    server.allow_credentials = False
    server.disable_check_xsrf = False
    server.trust_xheaders = False
    server.authenticate_prometheus = True
    server.identity_provider_class = "jupyter_server.auth.identity.PasswordIdentityProvider"
    server.authorizer_class = "jupyter_server.auth.authorizer.AllowAllAuthorizer"
    # A secret of the user's may be one that others know, or have seen in an earlier session.
    server.cookie_secret = secrets.token_bytes(32)
    server.tornado_settings = {}  # they beat all of the above; what is harmless is given back
    _JOB["token"] = secrets.token_hex(32)
    token_file = os.environ.pop("SLURM_NB_TOKEN_FILE")
    _JOB["session_dir"] = os.path.dirname(token_file)
    _write_private(token_file, _JOB["token"])
    password = _password(os.environ.pop("SLURM_NB_PASSWORD_FILE"))
    _keep_out_of_logs(_JOB["token"], password)
    # Named for each class that may carry it: a user's setting on a subclass would win.
    for provider in (c.IdentityProvider, c.PasswordIdentityProvider):
        provider.token = _JOB["token"]
        provider.hashed_password = password
        provider.password_required = bool(password)
        provider.allow_password_change = False


def _password(path: str) -> str:
    """The argon2 hash that `slurm-nb password` stored, with --auth password; else none."""
    if _JOB["auth"] != "password":
        return ""
    with open(path, encoding="ascii") as file:
        hashed = file.read().strip()
    if not hashed.startswith("argon2:"):
        raise RuntimeError("%s holds no password: run `slurm-nb password`" % path)
    return hashed


def _keep_out_of_logs(*texts: str) -> None:
    """Jupyter logs its whole configuration when the user asks for log level DEBUG."""

    class Record(logging.LogRecord):
        def getMessage(self) -> str:  # noqa: N802  logging's own name
            message = super().getMessage()
            for text in filter(None, texts):
                message = message.replace(text, "[secret]")
            return message

    logging.setLogRecordFactory(Record)


def _write_private(path: str, text: str) -> None:
    """A 0600 file, complete or not at all."""
    fresh = path + ".new"
    if os.path.lexists(fresh):
        os.unlink(fresh)
    handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w") as file:
        file.write(text)
    os.rename(fresh, path)


def _jupyter_server_extension_points() -> List[Dict[str, str]]:
    return [{"module": __name__}]


def _load_jupyter_server_extension(app: ServerApp) -> None:
    slurm_nb_kernels.watch(app, allow_debugger=_JOB["debugger"] == "yes", notice=notice)
    app.io_loop.call_later(0, _announce, app)


def _announce(app: Any) -> None:
    """Check the door once the server's socket listens (it is bound by the event loop)."""
    sockets = list(app.http_server._sockets.values())
    if not sockets:
        app.io_loop.call_later(0.01, _announce, app)
        return
    app.io_loop.add_callback(_check_then_tell, app, sockets)


async def _check_then_tell(app: Any, sockets: List[socket.socket]) -> None:
    try:
        slurm_nb_overruled.take_back(app)
        slurm_nb_checks.check_one(sockets)
        slurm_nb_checks.check_own(sockets[0])
        slurm_nb_checks.check_alone(sockets[0], _JOB["mark"])
        door = app.base_url + "api/status"
        await slurm_nb_checks.check_door(sockets[0], door, _JOB["token"], _JOB.get("certificate"))
        _write_private(os.path.join(_JOB["run_dir"], "settings.json"), json.dumps(_settings(app)))
        for text in slurm_nb_versions.old():
            notice("the environment of --python holds %s" % text)
        for text in slurm_nb_overruled.found(app):
            notice(text)
        if _JOB["debugger"] == "yes":
            notice("while a notebook's debugger is on, any user of this node can run code as you")
        _give_back(app)
        ready = _ready(app, sockets[0])
    except Exception as error:  # whatever it is, nobody has seen that the server is safe
        print("slurm-nb: Jupyter was stopped, for it is not safe: %s" % error, flush=True)
        os._exit(1)
    _tell("ready", ready)
    _watch(app)


def _watch(app: Any) -> None:
    """Look after the session from now on; it goes on without, whatever is wrong."""
    try:
        import slurm_nb_watch  # noqa: PLC0415  what it needs may not be there

        names = ("cluster", "job_id", "run_dir", "session_dir")
        timeout_s = int(_JOB["idle_timeout_s"]) or None
        job = slurm_nb_watch.Job(*(_JOB[name] for name in names), idle_timeout_s=timeout_s)
        _PAGES.append(slurm_nb_watch.start(app, job, _tell))
    except Exception as error:
        app.log.warning("slurm-nb: this session is not watched: %s", error)


def _settings(app: Any) -> Dict[str, Any]:
    """What `slurm-nb audit` compares with what is safe, as it is in force; no secrets."""
    provider, kernels, in_force = app.identity_provider, app.kernel_manager, app.web_app.settings
    pattern = in_force.get("allow_origin_pat") or ""
    messages = kernels.allowed_message_types
    make_kernel = getattr(kernels, "kernel_manager_factory", None)
    return {
        "identity_provider_class": "%s.%s" % (type(provider).__module__, type(provider).__name__),
        "token": bool(provider.token),
        "password": bool(getattr(provider, "hashed_password", "")),
        "allow_origin": in_force.get("allow_origin", ""),
        "allow_origin_pat": getattr(pattern, "pattern", pattern),
        "allow_remote_access": in_force.get("allow_remote_access"),
        "disable_check_xsrf": in_force.get("disable_check_xsrf"),
        "kernel_transport": make_kernel(parent=kernels).transport if make_kernel else None,
        "debugger_allowed": not messages or "debug_request" in messages,
        "ip": app.ip,
        "sock": app.sock,
        "versions": slurm_nb_versions.installed(),
    }


def _give_back(app: Any) -> None:
    """From here on the user's own: what kernels and terminals inherit."""
    os.umask(int(_JOB["umask"], 8))
    # Started in the kit's directory; kernels that name no directory of their own inherit it.
    os.chdir(app.root_dir)
    # `jupyter lab` in a terminal, or in a job that is sent from there, is not this session.
    for name in ("JUPYTER_CONFIG_PATH", "JUPYTER_RUNTIME_DIR"):
        original = os.environ.pop("SLURM_NB_" + name, "")
        if original:
            os.environ[name] = original
        else:
            os.environ.pop(name, None)


def _ready(app: Any, listener: socket.socket) -> Dict[str, Any]:
    ready: Dict[str, Any] = {
        "node": os.environ.get("SLURMD_NODENAME") or socket.gethostname(),
        "path": app.base_url + _UI_PATHS[_JOB["ui"]],
    }
    if not _PATH.fullmatch(ready["path"]):
        raise slurm_nb_checks.Refused("no URL can be printed for base_url %r" % app.base_url)
    if listener.family == socket.AF_UNIX:
        ready["socket"] = listener.getsockname()
    else:
        ready["port"] = listener.getsockname()[1]
    if "address" in _JOB:
        ready["address"] = _JOB["address"]
    fingerprint = _fingerprint(_JOB.get("certificate"))
    if fingerprint:
        ready["fingerprint"] = fingerprint
    return ready


def _fingerprint(certificate: Optional[str]) -> Optional[str]:
    """SHA-256 as browsers show it: `AB:CD:...`."""
    if certificate is None:
        return None
    with open(certificate, encoding="ascii") as file:
        digest = hashlib.sha256(ssl.PEM_cert_to_DER_cert(file.read())).hexdigest().upper()
    return ":".join(digest[i : i + 2] for i in range(0, len(digest), 2))


def notice(text: str) -> None:
    """A line for the user, that slurm-nb shows; once there are pages, they show it too."""
    _tell("notice", {"text": text})
    for notices in _PAGES:
        notices.add("notice", text)


def _tell(what: str, record: Dict[str, Any]) -> None:
    who = {name: _JOB[name] for name in ("cluster", "job_id", "nonce")}
    print("\nslurm-nb %s: %s" % (what, json.dumps({**who, **record})), flush=True)
END-OF-KIT

cat >"$run_dir/kit/slurm_nb_memory.py" <<'END-OF-KIT' || full
"""Runs inside a session's job: how much memory it may use, how much it uses, what was killed.

Self-contained: standard library only, Python 3.8 and later. Control groups are cgroups(7); version
1 is Documentation/admin-guide/cgroup-v1/memory.rst of Linux, version 2 cgroup-v2.rst.
"""

from __future__ import annotations

import os
import re
from typing import Dict, List, NamedTuple, Optional, Set, Tuple

_WARN_AT = (0.80, 0.92)
_WELL_BELOW = 0.15


class Usage(NamedTuple):
    """Of the control group that is nearest to its limit."""

    limit: int
    """Bytes."""
    used: int
    """Bytes, without what the kernel can give up at once: files that were read long ago."""

    @property
    def fraction(self) -> float:
        """`0.82`"""
        return self.used / self.limit


class _Version(NamedTuple):
    limits: Tuple[str, ...]
    used: str
    inactive: str
    events: str


_V1 = _Version(
    ("memory.limit_in_bytes",), "memory.usage_in_bytes", "total_inactive_file", "memory.oom_control"
)
_V2 = _Version(("memory.max", "memory.high"), "memory.current", "inactive_file", "memory.events")


class Memory:
    """The control groups of this process, from its own up to the one that is mounted.

    root: where the machine's files are, `/` but in tests.
    """

    def __init__(self, root: str = "/") -> None:
        self._groups = _groups(root)
        meminfo = _table(_read(os.path.join(root, "proc/meminfo")))
        self._machine = meminfo.get("MemTotal", 0) * 1024

    def usage(self) -> Optional[Usage]:
        """None when nothing limits this process but the machine."""
        found = []
        for folder, version in self._groups:
            limit = self._limit(folder, version)
            used = _number(os.path.join(folder, version.used))
            if used is None or limit is None:
                continue
            inactive = _table(_read(os.path.join(folder, "memory.stat"))).get(version.inactive, 0)
            found.append(Usage(limit, max(0, used - inactive)))
        return max(found, key=lambda each: each.fraction, default=None)

    def kills(self) -> int:
        """How many processes were killed for memory; it only ever rises.

        A group of version 1 counts its own, one of version 2 also those below it, and so, where
        it is not limited, those of other jobs.
        """
        count = 0
        for folder, version in self._groups:
            if version is _V1 or self._limit(folder, version) is not None:
                events = _table(_read(os.path.join(folder, version.events)))
                count += events.get("oom_kill", 0)
        return count

    def _limit(self, folder: str, version: _Version) -> Optional[int]:
        """None when it is no less than what the machine has."""
        limits = [_number(os.path.join(folder, name)) for name in version.limits]
        limit = min((each for each in limits if each is not None), default=0)
        return limit if 0 < limit < (self._machine or limit + 1) else None


class Levels:
    """Which warnings of rising memory are due: each once, until it has fallen well below."""

    def __init__(self) -> None:
        self._told: Set[float] = set()

    def due(self, fraction: float) -> bool:
        """Whether `fraction` is to be warned of."""
        self._told -= {level for level in _WARN_AT if fraction < level - _WELL_BELOW}
        reached = {level for level in _WARN_AT if fraction >= level}
        fresh = reached - self._told
        self._told |= reached
        return bool(fresh)


def gibibytes(amount: int) -> str:
    """Bytes as people read them: `3.9 GiB`, `512 MiB`."""
    if amount < 1 << 30:
        return "%d MiB" % (amount >> 20)
    return ("%.1f" % (amount / (1 << 30))).replace(".0", "") + " GiB"


def twice(limit: int) -> str:
    """Double a limit, for `--mem`: `8G`, `600M`."""
    mebibytes = -(-2 * limit // (1 << 20))
    return "%dM" % mebibytes if mebibytes < 1024 else "%dG" % -(-mebibytes // 1024)


def _groups(root: str) -> List[Tuple[str, _Version]]:
    mounts = _mounts(root)
    found = []
    for line in _read(os.path.join(root, "proc/self/cgroup")).splitlines():
        _, controllers, path = [*line.split(":", 2), "", ""][:3]
        if controllers and "memory" not in controllers.split(","):
            continue
        version = _V1 if controllers else _V2
        if version not in mounts:
            continue
        point, inner = mounts[version]
        # In a namespace, or a container that has a part of the tree, the path is another.
        if path == inner or path.startswith(inner.rstrip("/") + "/"):
            path = path[len(inner.rstrip("/")) :]
        parts = [part for part in path.split("/") if part]
        if ".." in parts:
            parts = []
        base = os.path.join(root, point.lstrip("/"))
        folders = [os.path.join(base, *parts[:depth]) for depth in range(len(parts), -1, -1)]
        found += [(folder, version) for folder in folders if os.path.isdir(folder)]
    return found


def _mounts(root: str) -> Dict[_Version, Tuple[str, str]]:
    """(mount point, what of the tree is mounted there) of each version."""
    found: Dict[_Version, Tuple[str, str]] = {}
    for line in _read(os.path.join(root, "proc/self/mountinfo")).splitlines():
        before, _, after = line.partition(" - ")
        fields, kind = before.split(" "), after.split(" ")
        if len(fields) < 5 or len(kind) < 3:
            continue
        inner, point = (re.sub(r"\\040", " ", each) for each in fields[3:5])
        if kind[0] == "cgroup2":
            found.setdefault(_V2, (point, inner))
        elif kind[0] == "cgroup" and "memory" in kind[2].split(","):
            found.setdefault(_V1, (point, inner))
    return found


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            return file.read()
    except OSError:
        return ""


def _number(path: str) -> Optional[int]:
    """None for a file that is not there, or says `max`."""
    text = _read(path).strip()
    return int(text) if text.isdigit() else None


def _table(text: str) -> Dict[str, int]:
    """Lines of a name and a number: `oom_kill 1`, `MemTotal:  24 kB`."""
    rows = (line.split() for line in text.splitlines())
    return {row[0].rstrip(":"): int(row[1]) for row in rows if len(row) > 1 and row[1].isdigit()}
END-OF-KIT

cat >"$run_dir/kit/slurm_nb_notices.py" <<'END-OF-KIT' || full
"""Runs inside the Jupyter server: what the pages ask for, to show it (slurm_nb_page.js).

Self-contained: standard library, tornado and jupyter_server only, Python 3.8 and later.

    GET BASE_URL/slurm-nb/notices -> {"notices": [{"id": 1, "kind": "time", "text": "..."}]}
"""

from __future__ import annotations

import json
import time
from typing import Any, Callable, Dict, List, Tuple

from jupyter_server.base.handlers import APIHandler
from tornado import web

_KEPT = 20
# Longer ago, it was shown; or nobody looked, and it may no longer be so.
_SHOWN_FOR_S = 600.0


class Notices:
    """What was said lately."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._said: List[Tuple[float, Dict[str, Any]]] = []
        self._count = 0

    def add(self, kind: str, text: str) -> None:
        """Have the pages show a sentence."""
        self._count += 1
        self._said.append((self._clock(), {"id": self._count, "kind": kind, "text": text}))
        del self._said[:-_KEPT]

    def recent(self) -> List[Dict[str, Any]]:
        """What a page that asks now is to show."""
        since = self._clock() - _SHOWN_FOR_S
        return [notice for at, notice in self._said if at >= since]


class _Handler(APIHandler):
    _track_activity = False  # a page that asks by itself is no use of the server

    def initialize(self, notices: Notices) -> None:
        self._notices = notices
        super().initialize()

    @web.authenticated
    def get(self) -> None:
        self.finish(json.dumps({"notices": self._notices.recent()}))


def serve(app: Any, notices: Notices) -> None:
    """Answer at slurm-nb/notices; 403 without the token."""
    path = app.base_url + "slurm-nb/notices"
    app.web_app.add_handlers(".*$", [(path, _Handler, {"notices": notices})])
END-OF-KIT

cat >"$run_dir/kit/slurm_nb_overruled.py" <<'END-OF-KIT' || full
"""Runs inside the Jupyter server: which of the user's own settings slurm-nb did not let stand.

Self-contained: standard library and jupyter_server's own only, Python 3.8 and later.
"""

from __future__ import annotations

import os
from typing import Any, Callable, Dict, List

import slurm_nb_kernels
from traitlets.config.loader import (
    JSONFileConfigLoader,
    LazyConfigValue,
    PyFileConfigLoader,
)


def _is_empty(value: object) -> bool:
    return value == ""


_SECRETS: Dict[str, Callable[[Any], bool]] = {
    "token": _is_empty,
    "password": _is_empty,
    "hashed_password": _is_empty,
}
_SERVER: Dict[str, Callable[[Any], bool]] = {
    **_SECRETS,
    "disable_check_xsrf": bool,
    "allow_remote_access": bool,
    "trust_xheaders": bool,
    "allow_origin": bool,
    "allow_origin_pat": bool,
    "ip": lambda value: value in ("0.0.0.0", "*", "::", ""),
    "local_hostnames": lambda value: set(value) > {"localhost"},
    "cookie_secret": bool,
    "cookie_secret_file": bool,
}
# With ipc, `ip` is the beginning of the path of a kernel's sockets.
_KERNELS: Dict[str, Callable[[Any], bool]] = {
    "transport": lambda value: value == "tcp",
    "ip": bool,
}
# Of tornado_settings, which beat every other setting.
_HARMLESS = (
    "websocket_max_message_size", "websocket_ping_interval", "websocket_ping_timeout",
    "websocket_compression_options",
)  # fmt: skip
# Section: setting: whether a value of it lets others in. NotebookApp is what notebook 6 said.
_DISARM: Dict[str, Dict[str, Callable[[Any], bool]]] = {
    "ServerApp": _SERVER,
    "NotebookApp": _SERVER,
    "IdentityProvider": _SECRETS,
    "PasswordIdentityProvider": _SECRETS,
}


_NAMES = (
    "jupyter_config", "jupyter_server_config", "jupyter_notebook_config", "jupyter_lab_config",
)  # fmt: skip


def found(app: Any) -> List[str]:
    """One sentence for each setting of the user's that would have opened the server."""
    return [
        "your Jupyter configuration (%s) sets %s, which could let others in: overruled"
        % (where, setting)
        for where, config in _own_configs(app)
        for setting in _disarming(config)
    ]


def take_back(app: Any) -> None:
    """Put the lock in force, whatever reached the web application, and give back the rest.

    Of the user's `tornado_settings`, those that open nothing; of headers, not those that would
    let other pages frame this one or read its answers.
    """
    settings = app.web_app.settings
    for config in (config for _, config in _own_configs(app)):
        own = _tornado_settings(config)
        settings.update({name: own[name] for name in _HARMLESS if name in own})
        settings["headers"] = {**settings.get("headers", {}), **(own.get("headers") or {})}
    headers = settings.get("headers", {})
    settings.update(
        headers={name: value for name, value in headers.items() if not _opens(name)},
        allow_remote_access=False,
        local_hostnames=["localhost"],
        allow_origin="",
        allow_origin_pat="",
        allow_credentials=False,
        disable_check_xsrf=False,
        xsrf_cookies=True,
        cookie_secret=app.cookie_secret,
        identity_provider=app.identity_provider,
        authorizer=app.authorizer,
    )


def _opens(header: str) -> bool:
    name = header.lower()
    return name == "content-security-policy" or name.startswith("access-control-")


def _tornado_settings(config: Dict[str, Any]) -> Dict[str, Any]:
    values = config.get("ServerApp")
    own = values.get("tornado_settings") if isinstance(values, dict) else None
    return own if isinstance(own, dict) else {}


def _disarming(config: Dict[str, Any]) -> List[str]:
    opened = [
        "%s.%s = %r" % (section, name, values[name])
        for section, names in _DISARM.items()
        for values in [config.get(section)]
        if isinstance(values, dict)
        for name, opens in names.items()
        # What was only looked at, and not set, is a LazyConfigValue.
        if name in values and not isinstance(values[name], LazyConfigValue) and opens(values[name])
    ]
    settings = _tornado_settings(config)
    framing = [
        "ServerApp.tornado_settings[%r]" % name
        for name in settings
        if name not in _HARMLESS and (name != "headers" or any(map(_opens, settings[name])))
    ]
    kernels = [
        "%s.%s = %r" % (section, name, values[name])
        for section, values in config.items()
        if isinstance(values, dict)
        for name, opens in _KERNELS.items()
        if name in values and (name == "transport" or section in slurm_nb_kernels.KERNEL_MANAGERS)
        if not isinstance(values[name], LazyConfigValue) and opens(values[name])
    ]
    return opened + framing + kernels


def _own_configs(app: Any) -> List[Any]:
    """(file, config) of every configuration file that Jupyter loaded, but for the kit's own."""
    kit = os.path.dirname(os.path.abspath(__file__))
    folders = [path for path in app.config_file_paths if os.path.abspath(path) != kit]
    configs = []
    for name in _NAMES:
        for folder in folders:
            for suffix in (".py", ".json"):
                path = os.path.join(folder, name + suffix)
                if os.path.exists(path):
                    configs += [(path, config) for config in _load(folder, name + suffix)]
    return configs


def _load(folder: str, name: str) -> List[Any]:
    loader = PyFileConfigLoader if name.endswith(".py") else JSONFileConfigLoader
    try:
        return [loader(name, path=folder).load_config()]
    except Exception:  # Jupyter has said what is wrong with it
        return []
END-OF-KIT

cat >"$run_dir/kit/slurm_nb_page.js" <<'END-OF-KIT' || full
// Shows on the pages of Notebook 7 and JupyterLab what slurm-nb has to say of the session.
// What a build would make of an extension is an object with `init` and `get` (webpack's module
// federation); this is one. Texts are set as text, never as HTML.
(() => {
  'use strict';
  const NAME = 'slurm-nb';
  const EVERY_MS = 15000;
  const TIMEOUT_MS = 10000;
  const NOTIFY = 'apputils:notify';
  const NOTIFIED_CHARS = 140; // more is cut off there

  const seen = new Set();

  function banner(text) {
    const box = document.createElement('div');
    const close = document.createElement('button');
    box.className = 'slurm-nb-notice';
    box.setAttribute('role', 'alert');
    box.style.cssText =
      'position: fixed; right: 16px; bottom: 16px; z-index: 20000; max-width: 30em;' +
      'padding: 12px; border-left: 4px solid #ef6c00; background: #fff8e1; color: #212121;' +
      'font: 14px sans-serif; box-shadow: 0 2px 8px rgba(0, 0, 0, 0.4);';
    box.textContent = text + ' ';
    close.textContent = 'Dismiss';
    close.onclick = () => box.remove();
    box.append(close);
    document.body.append(box);
  }

  function show(app, text) {
    if (text.length > NOTIFIED_CHARS || !app.commands.hasCommand(NOTIFY)) {
      banner(text);
      return;
    }
    const options = { autoClose: false };
    app.commands.execute(NOTIFY, { message: text, type: 'warning', options }).catch(() => {
      banner(text);
    });
  }

  async function look(app) {
    const { baseUrl, token } = app.serviceManager.serverSettings;
    const stop = new AbortController();
    const timer = setTimeout(() => stop.abort(), TIMEOUT_MS);
    try {
      const answer = await fetch(baseUrl + 'slurm-nb/notices', {
        headers: token ? { Authorization: 'token ' + token } : {},
        signal: stop.signal
      });
      const { notices } = answer.ok ? await answer.json() : { notices: [] };
      for (const { id, text } of notices) {
        if (!seen.has(id)) {
          seen.add(id);
          show(app, NAME + ': ' + text);
        }
      }
    } catch (error) {
      // The tunnel is down, or the session over: Jupyter's own page says so.
    } finally {
      clearTimeout(timer);
      setTimeout(look, EVERY_MS, app);
    }
  }

  const plugin = {
    id: NAME + ':notices',
    autoStart: true,
    activate: app => {
      app.restored.then(() => look(app));
    }
  };

  window._JUPYTERLAB = window._JUPYTERLAB || {};
  window._JUPYTERLAB[NAME] = {
    init: async () => undefined,
    get: async () => () => ({ __esModule: true, default: plugin })
  };
})();
END-OF-KIT

cat >"$run_dir/kit/slurm_nb_page.py" <<'END-OF-KIT' || full
"""Puts slurm-nb's word on the pages of Notebook 7 and Lab: a small extension of theirs.

Self-contained: standard library only, Python 3.8 and later. A prebuilt ("federated") extension is
a directory with a package.json that names a script (JupyterLab's documentation, "Prebuilt
extensions"); the script is slurm_nb_page.js, written by hand, so that nothing is built.
"""

from __future__ import annotations

import json
import os
import shutil
from typing import Any, Dict

_SCRIPT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "slurm_nb_page.js")
_ENTRY = "static/remoteEntry.js"
_PACKAGE: Dict[str, Any] = {
    "name": "slurm-nb",
    "version": "1.0.0",
    "description": "Shows what slurm-nb has to say of this session",
    "license": "MIT",
    "jupyterlab": {"extension": True, "_build": {"load": _ENTRY, "extension": "./extension"}},
}


def configure(c: Any, run_dir: str) -> None:
    """Have the pages, configured by `c`, load the extension; the user's own ones stay."""
    folder = os.path.join(run_dir, "page")
    package = os.path.join(folder, _PACKAGE["name"])
    os.makedirs(os.path.join(package, os.path.dirname(_ENTRY)), mode=0o700, exist_ok=True)
    shutil.copyfile(_SCRIPT, os.path.join(package, _ENTRY))
    with open(os.path.join(package, "package.json"), "w", encoding="ascii") as file:
        json.dump(_PACKAGE, file)
    for page in ("LabApp", "JupyterNotebookApp"):
        c[page].extra_labextensions_path.append(folder)
END-OF-KIT

cat >"$run_dir/kit/slurm_nb_sqlite.py" <<'END-OF-KIT' || full
"""Keeps SQLite off network file systems, where its locks fail or hang (sqlite.org/lockingv3.html).

Runs inside the Jupyter server. Self-contained: standard library only,
Python 3.8 and later. /proc/self/mountinfo is proc(5).
"""

from __future__ import annotations

import os
import re
from typing import Any, Dict, List, Optional, Tuple

FOLDER = "SLURM_NB_HISTORY_DIR"
"""The variable that tells kernels (slurm_nb_kernel.py) where their history goes."""
_ASKED: Dict[str, str] = {}
# Also what can't be told apart from one: a FUSE file system may be sshfs or GlusterFS.
_NETWORK = re.compile(
    r"nfs\d?|lustre|gpfs|beegfs|fhgfs|ceph|cifs|smb3|smbfs|afs|panfs|wekafs|9p|pvfs2|orangefs"
    r"|ocfs2|gfs2|glusterfs|fuse(\..*)?|virtiofs|mmfs|cvmfs|dvs|prl_fs|vboxsf"
)


def configure(c: Any) -> None:
    """Point Jupyter's SQLite files, in `c`, to this node where they would be on the network."""
    local = os.environ["JUPYTER_RUNTIME_DIR"]
    # Jupyter reads its configuration once for the server and once for the page.
    notebook_dir = _ASKED.setdefault("notebook_dir", os.environ.get("SLURM_NB_NOTEBOOK_DIR", "/"))
    os.environ.pop(FOLDER, None)
    if is_network(_data_dir()):
        # Signatures of trusted notebooks, and jupyter_server_fileid's file ids.
        c.NotebookNotary.db_file = os.path.join(local, "nbsignatures.db")
        c.BaseFileIdManager.db_path = os.path.join(local, "file_id_manager.db")
    if is_network(notebook_dir):
        # jupyter-collaboration's, by default in the notebook directory.
        c.SQLiteYStore.db_path = os.path.join(local, "ystore.db")
    if is_network(_ipython_dir()):
        os.environ[FOLDER] = local


def is_network(path: str, mountinfo: Optional[str] = None) -> bool:
    """Whether `path`, or the nearest folder above it that exists, is on a network file system.

    mountinfo: text in place of /proc/self/mountinfo.
    """
    real = os.path.realpath(path)
    best: Tuple[int, str] = (-1, "")
    for point, kind in _mounts(mountinfo):
        inside = real == point or real.startswith(point.rstrip("/") + "/")
        # A later mount hides an earlier one of the same place.
        if inside and len(point) >= best[0]:
            best = (len(point), kind)
    return _NETWORK.fullmatch(best[1]) is not None


def _mounts(text: Optional[str]) -> List[Tuple[str, str]]:
    """(mount point, type) of each."""
    if text is None:
        try:
            with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
                text = file.read()
        except OSError:
            return []
    found = []
    for line in text.splitlines():
        before, _, after = line.partition(" - ")
        fields = before.split(" ")
        if len(fields) > 4 and after:
            point = re.sub(r"\\([0-7]{3})", lambda match: chr(int(match.group(1), 8)), fields[4])
            found.append((point, after.split(" ")[0]))
    return found


def _data_dir() -> str:
    """As jupyter_core 5 finds it (paths.py, jupyter_data_dir)."""
    share = os.environ.get("XDG_DATA_HOME") or os.path.expanduser("~/.local/share")
    return os.environ.get("JUPYTER_DATA_DIR") or os.path.join(share, "jupyter")


def _ipython_dir() -> str:
    return os.environ.get("IPYTHONDIR") or os.path.expanduser("~/.ipython")
END-OF-KIT

cat >"$run_dir/kit/slurm_nb_start.py" <<'END-OF-KIT' || full
"""Starts Jupyter, once everything that it needs is seen to be there; else says what is not.

Run by the interpreter that is to run Jupyter, as `-m slurm_nb_start notebook --no-browser`: what is
looked at is what will be used, and no second interpreter is started. Self-contained: standard
library only, and such that Python 3.5 can read it, to be told that it is too old.
"""

import importlib
import importlib.util
import json
import os
import runpy
import signal
import sys
import traceback
from typing import Tuple

_PYTHON = (3, 8)
# What slurm-nb can work with; slurm_nb_versions has those without known holes. Notebook 6 does not
# read jupyter_server's configuration, and so would run without slurm-nb's lock.
_NEEDED = {"jupyter_server": (2, 0), "notebook": (7, 0), "jupyterlab": (3, 6)}
# What `python -m` goes on to import.
_APPS = {"notebook": "notebook.app", "jupyterlab": "jupyterlab.labapp"}
_PROBE_BYTES = 65536
_FREE_BYTES = 20 << 20
_PR_SET_PDEATHSIG = 1


class Failed(Exception):
    """Jupyter can't be started; text and cure, a sentence each."""


def main() -> None:
    """Look, then become `python -m MODULE ...`, the words of the command line."""
    end_with_parent()
    open(os.path.join(os.environ["SLURM_NB_RUN_DIR"], "python-started"), "w").close()
    try:
        check(sys.argv[1])
    except Failed as failed:
        tell(*failed.args)
        sys.exit(1)
    sys.argv = sys.argv[1:]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


def end_with_parent() -> None:
    """Have the kernel send SIGTERM when the job script dies: who is killed can't stop Jupyter.

    Without cgroups Slurm does not find what the script has started then (proctrack/linuxproc, seen
    on 22.05). PR_SET_PDEATHSIG of prctl(2); a container's runtime may be the parent instead.
    """
    parent = os.getppid()
    try:
        import ctypes  # noqa: PLC0415  not every Python was built with it

        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    except (ImportError, OSError, AttributeError):
        return
    if os.getppid() != parent:
        sys.exit(1)


def check(module: str) -> None:
    """Raise `Failed` for the first thing that is not as Jupyter needs it."""
    _check_python(tuple(sys.version_info[:2]))
    for name in ("jupyter_server", module):
        _check_package(name)
    _check_notebook_dir(os.environ["SLURM_NB_NOTEBOOK_DIR"])
    session_dir = os.path.dirname(os.environ["SLURM_NB_TOKEN_FILE"])
    home = os.path.expanduser("~")
    for what, folder in (("the session directory", session_dir), ("your home", home)):
        _check_writable(what, folder)
    _check_space(os.environ["SLURM_NB_RUN_DIR"])
    _check_import(module)


def _check_python(version: Tuple[int, ...]) -> None:
    if version < _PYTHON:
        raise Failed(
            "%s is Python %d.%d, and %d.%d or later is needed"
            % (sys.executable, version[0], version[1], _PYTHON[0], _PYTHON[1]),
            "name another one: --python PATH, --env, or --module",
        )


def _check_package(name: str) -> None:
    cure = _cure_of_package(name)
    try:
        missing = importlib.util.find_spec(name) is None
    except (ImportError, ValueError) as error:
        raise Failed(
            "%s of %s can't be imported: %s" % (name, sys.executable, error), cure
        ) from error
    if missing:
        raise Failed("%s on %s has no %s" % (sys.executable, _node(), name), cure)
    from importlib import metadata  # noqa: PLC0415  since Python 3.8

    try:
        version = metadata.version(name)
    except metadata.PackageNotFoundError:
        return  # installed in another way
    if _numbers(version) < _NEEDED[name]:
        needed = ".".join(map(str, _NEEDED[name]))
        raise Failed(
            "%s of %s is %s, and %s or later is needed" % (name, sys.executable, version, needed),
            "update it: %s -m pip install --upgrade %s" % (sys.executable, name),
        )


def _check_import(name: str) -> None:
    """What is found may still lack what it needs, or not fit this node."""
    try:
        importlib.import_module(_APPS[name])
    except Exception as error:  # whatever a broken package raises
        traceback.print_exc()
        said = ("%s: %s" % (type(error).__name__, error)).splitlines()[0].rstrip(": ")
        raise Failed(
            "%s of %s can't be imported on %s: %s" % (name, sys.executable, _node(), said),
            _cure_of_package(name),
        ) from error


def _cure_of_package(name: str) -> str:
    return "install it: %s -m pip install %s; or name another Python: --python, --env" % (
        sys.executable,
        name,
    )


def _numbers(version: str) -> Tuple[int, ...]:
    parts = version.split(".")[:2]
    return tuple(int(part) for part in parts if part.isdigit())


def _check_notebook_dir(folder: str) -> None:
    cure = "name another one: --notebook-dir DIR, on a file system that login and nodes share"
    if not os.path.isdir(folder):
        raise Failed("the notebook directory %s is not there on %s" % (folder, _node()), cure)
    if not os.access(folder, os.W_OK | os.X_OK):
        raise Failed("you can't write to the notebook directory %s" % folder, cure)


def _check_writable(what: str, folder: str) -> None:
    """By writing: a full quota shows only there."""
    path = os.path.join(folder, ".slurm-nb-probe-%s-%d" % (_node(), os.getpid()))
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            os.write(handle, bytes(_PROBE_BYTES))
        finally:
            os.close(handle)  # NFS says only here that the disk is full
            os.unlink(path)
    except OSError as error:
        raise Failed(
            "%s, %s, can't be written on %s: %s" % (what, folder, _node(), error.strerror),
            "make room there (`quota`, `df`), or ask your site about that node",
        ) from error


def _check_space(folder: str) -> None:
    found = os.statvfs(folder)
    free = found.f_bavail * found.f_frsize
    if free < _FREE_BYTES:
        raise Failed(
            "%s on %s has only %d MiB left" % (os.path.dirname(folder), _node(), free >> 20),
            "take another node (--exclude %s), or set TMPDIR to a directory with room" % _node(),
        )


def tell(text: str, cure: str) -> None:
    """The line that slurm-nb shows as its error."""
    cluster, _, job_id = os.environ["SLURM_NB_SESSION"].partition("/")
    who = {"cluster": cluster, "job_id": job_id, "nonce": os.environ["SLURM_NB_NONCE"]}
    who.update(text=text, cure=cure)
    print("\nslurm-nb failed: %s" % json.dumps(who))
    sys.stdout.flush()


def _node() -> str:
    return os.environ.get("SLURMD_NODENAME") or os.uname().nodename


if __name__ == "__main__":
    main()
END-OF-KIT

cat >"$run_dir/kit/slurm_nb_time.py" <<'END-OF-KIT' || full
"""Runs inside the Jupyter server: how long the job still has.

Self-contained: standard library only, Python 3.8 and later. The job script asks Slurm when the job
ends, and leaves the answer in a file, in seconds since the epoch; again when it may have changed.
"""

from __future__ import annotations

import time
from typing import Callable, Optional, Set

_WARN_AT_S = (900, 300)
_EXTENDED_S = 60


class TimeLimit:
    """The end of a job; `path` is the script's file, which need not be there."""

    def __init__(self, path: str, now: Callable[[], float] = time.time) -> None:
        self._path = path
        self._now = now
        self._end: Optional[int] = None
        self._told: Set[int] = set()

    def look(self) -> Optional[str]:
        """The warning that is due: when 15 and when 5 minutes are left, and once if it is less.

        Raises OSError or ValueError when the file can't be read.
        """
        try:
            with open(self._path, encoding="ascii") as file:
                end = int(file.read())
        except FileNotFoundError:
            return None
        left_s = end - self._now()
        due = {limit_s for limit_s in _WARN_AT_S if left_s <= limit_s}
        if self._end is not None and end > self._end + _EXTENDED_S:
            self._told &= due  # what was told was too early
        self._end = end
        fresh = due - self._told
        self._told |= due
        if not fresh or left_s <= 0:
            return None
        at = time.strftime("%H:%M", time.localtime(end))
        return "this session ends in %s, at %s, when its time limit is reached: save your work" % (
            _shown(left_s),
            at,
        )


def _shown(left_s: float) -> str:
    minutes = round(left_s / 60)
    return "%d minutes" % minutes if minutes > 1 else "%d seconds" % left_s
END-OF-KIT

cat >"$run_dir/kit/slurm_nb_versions.py" <<'END-OF-KIT' || full
"""Versions of Jupyter without published security holes, as of November 2026.

Self-contained: standard library only, Python 3.8 and later.
"""

from __future__ import annotations

import re
from importlib import metadata
from typing import Dict, List, Mapping, Optional, Tuple

MINIMUM: Dict[str, str] = {
    "jupyter_server": "2.21.0",
    "notebook": "7.5.6",
    "jupyterlab": "4.6.2",
    # GHSA-mpf4-983q-p7j4 (one request stalls the server) is fixed in 6.5.8; 6.5.9 keeps static
    # files from following links out of their folder (docs/releases/v6.5.9.rst), and with 6.5.9
    # Jupyter does not load (v6.5.10.rst).
    "tornado": "6.5.10",
}


def installed() -> Dict[str, str]:
    """Of the packages in `MINIMUM`, those that this interpreter has: `{"tornado": "6.5.10"}`."""
    found = {}
    for name in MINIMUM:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def old(versions: Optional[Mapping[str, str]] = None) -> List[str]:
    """What has published holes: `["tornado 6.4.2 (6.5.10 or later has no known holes)"]`.

    versions: as `installed` tells them, and by default just these; a text that is no version
    counts as old. A release candidate counts as its release.
    """
    return [
        "%s %s (%s or later has no known holes)" % (name, version, MINIMUM[name])
        for name, version in (installed() if versions is None else versions).items()
        if name in MINIMUM and _numbers(version) < _numbers(MINIMUM[name])
    ]


def _numbers(version: str) -> Tuple[int, ...]:
    match = re.match(r"\d+(?:\.\d+)*", version)
    numbers = [int(part) for part in match.group().split(".")] if match else []
    return tuple(numbers + [0] * (4 - len(numbers)))
END-OF-KIT

cat >"$run_dir/kit/slurm_nb_watch.py" <<'END-OF-KIT' || full
"""Runs inside the Jupyter server: looks every few seconds how the session does, and says so.

Self-contained: jupyter_server's own objects and the standard library only, Python 3.8 and later.
Whatever goes wrong here is told once in the log, and the session goes on.
"""

from __future__ import annotations

import functools
import os
import signal
import threading
import time
from typing import Any, Callable, Dict, NamedTuple, Optional, Set

from slurm_nb_activity import ActivityFile
from slurm_nb_idle import Changes, Idle, activity
from slurm_nb_memory import Levels, Memory, gibibytes, twice
from slurm_nb_notices import Notices, serve
from slurm_nb_time import TimeLimit

# Jupyter looks every 3 seconds whether a kernel lives.
_KERNEL_DIES_WITHIN_S = 20.0
_SERVER_STOPS_WITHIN_S = 60.0


class Job(NamedTuple):
    """What is watched."""

    cluster: str
    job_id: str
    run_dir: str
    session_dir: str
    idle_timeout_s: Optional[int]


Tell = Callable[[str, Dict[str, Any]], None]


class Watch:
    """The looks at one session."""

    def __init__(self, app: Any, job: Job, tell: Tell, clock: Callable[[], float]) -> None:
        self.notices = Notices(clock)
        self._clock = clock
        self._app = app
        self._job = job
        self._tell = tell
        self._memory = Memory()
        self._levels = Levels()
        self._kills = self._memory.kills()
        self._killed_at: Optional[float] = None
        self._kernel_was_killed = False
        self._kernels: Set[str] = set()
        self._time_limit = TimeLimit(os.path.join(job.run_dir, "end-time"))
        self._idle = Idle(job.idle_timeout_s, clock)
        self._changes = Changes(app)
        self._stopping = False
        self._file = ActivityFile(os.path.join(job.session_dir, "activity.json"), self._log, clock)
        self._failed: Set[str] = set()

    def start(self) -> None:
        """Look from now on, and have the pages show what is seen."""
        serve(self._app, self.notices)
        self._look()

    def _look(self) -> None:
        for part in (self._look_at_time, self._look_at_memory, self._look_at_use):
            try:
                part()
            except Exception as error:  # the session goes on, whatever it is
                if part.__name__ not in self._failed:
                    self._failed.add(part.__name__)
                    self._log("%s: %s: %s" % (part.__name__, type(error).__name__, error))
        self._app.io_loop.call_later(self._idle.period_s, self._look)

    def _warn(self, kind: str, text: str) -> None:
        self.notices.add(kind, text)
        self._log(text)
        self._tell("warning", {"kind": kind, "text": text})

    def _log(self, text: str) -> None:
        self._app.log.warning("slurm-nb: %s", text)

    def _look_at_time(self) -> None:
        text = self._time_limit.look()
        if text:
            self._warn("time", text)

    def _look_at_memory(self) -> None:
        self._look_at_kills()
        manager = self._app.kernel_manager
        for kernel_id in set(manager.list_kernel_ids()) - self._kernels:
            for event in ("restart", "dead"):
                died = functools.partial(self._died, kernel_id)
                manager.add_restart_callback(kernel_id, died, event)
        self._kernels = set(manager.list_kernel_ids())
        usage = self._memory.usage()
        if usage and self._levels.due(usage.fraction):
            text = "%d %% of this session's memory is in use (%s of %s)" % (
                100 * usage.fraction,
                gibibytes(usage.used),
                gibibytes(usage.limit),
            )
            self._warn("memory", text + ": at the limit kernels are killed; shut some down")

    def _look_at_kills(self) -> None:
        kills = self._memory.kills()
        now = self._clock()
        if kills > self._kills:
            self._kills, self._killed_at, self._kernel_was_killed = kills, now, False
        elif self._killed_at is not None and now - self._killed_at > _KERNEL_DIES_WITHIN_S:
            self._killed_at = None
            if not self._kernel_was_killed:
                self._warn("memory", "a program of this session was killed: " + self._cure())

    def _died(self, kernel_id: str) -> None:
        """Jupyter has found a kernel dead."""
        self._look_at_kills()
        if self._killed_at is not None:
            self._kernel_was_killed = True
            self._app.io_loop.add_callback(self._tell_of_kernel, kernel_id)

    async def _tell_of_kernel(self, kernel_id: str) -> None:
        try:
            name = await self._name(kernel_id)
        except Exception:  # it is gone, or Jupyter does it in another way
            name = kernel_id
        self._warn("memory", "the kernel of %s was killed: %s" % (name, self._cure()))

    async def _name(self, kernel_id: str) -> str:
        """`analysis.ipynb`; of a kernel without a notebook `python3 (5f0c1d2e)`."""
        for session in await self._app.session_manager.list_sessions():
            if session["kernel"] and session["kernel"]["id"] == kernel_id:
                return "".join(char if char.isprintable() else " " for char in session["path"])
        kernel = self._app.kernel_manager.get_kernel(kernel_id)
        return "%s (%s)" % (kernel.kernel_name, kernel_id[:8])

    def _cure(self) -> str:
        usage = self._memory.usage()
        if usage is None:
            return "the memory was used up"
        used_up = "the memory of this session, %s, was used up" % gibibytes(usage.limit)
        if self._job.cluster == "local":
            return used_up
        again = "slurm-nb submit --again %s --mem %s" % (self._job.job_id, twice(usage.limit))
        return "%s; for more: %s" % (used_up, again)

    def _look_at_use(self) -> None:
        found = activity(self._app)
        found.marks.append(self._changes.count)
        too_long = self._idle.look(found)
        self._keep_file(found.kernels)
        if too_long and not self._stopping:
            self._stopping = True
            self._stop()

    def _keep_file(self, kernels: int) -> None:
        idle_s, timeout_s = self._idle.idle_s, self._idle.timeout_s
        active_at = None if self._idle.in_use else round(time.time() - idle_s)
        stops = active_at is not None and timeout_s is not None
        usage = self._memory.usage()
        self._file.keep(
            {
                "active_at": active_at,
                "idle_stop_at": active_at + timeout_s if stops else None,
                "memory_fraction": round(usage.fraction, 2) if usage else None,
                "kernels": kernels,
            }
        )

    def _stop(self) -> None:
        """Kernels get their clean shutdown, as when the server is stopped from its page."""
        hurry = threading.Timer(_SERVER_STOPS_WITHIN_S, os._exit, (0,))
        hurry.daemon = True
        hurry.start()
        text = "nothing ran and nobody was connected for %s (--idle-timeout)" % (
            _shown(self._idle.timeout_s or 0)
        )
        try:
            self._log("stopping: " + text)
            self._tell("stopping", {"kind": "idle", "text": text})
        finally:
            self._app.stop()


def _shown(seconds: int) -> str:
    if seconds < 120:
        return "%d seconds" % seconds
    return "%d minutes" % (seconds // 60)


def _stop_once() -> None:
    """Let one SIGTERM be enough.

    Slurm sends it to every process of the job, and the job script to the server: Jupyter would
    stop twice at once, and one close the sockets that the other one needs (jupyter_server 2.21).
    """
    stop = signal.getsignal(signal.SIGTERM)
    if not callable(stop):
        return

    def once(number: int, frame: Any) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        stop(number, frame)

    signal.signal(signal.SIGTERM, once)


def start(app: Any, job: Job, tell: Tell, clock: Callable[[], float] = time.monotonic) -> Notices:
    """Watch `app`, a ServerApp that is announced.

    tell: writes a line of the job's own. What is added to the notices is shown on the pages.
    """
    _stop_once()
    watch = Watch(app, job, tell, clock)
    watch.start()
    return watch.notices
END-OF-KIT

find_module() { # defines `module`, which may be a function of login shells alone
  local file
  # Names of 00-modulepath.sh, lmod.sh, z00_lmod.sh, modules.sh; then what packages install.
  for file in $(grep -liE 'module|lmod' /etc/profile.d/*.sh 2>/dev/null) /etc/profile \
    "${LMOD_PKG:-/usr/share/lmod/lmod}/init/bash" "${MODULESHOME:-/usr/share/modules}/init/bash" \
    /usr/share/Modules/init/bash; do
    type module >/dev/null 2>&1 && return
    [ ! -r "$file" ] || . "$file" >&2
  done
  type module >/dev/null 2>&1
}

load_module() { # load_module NAME: of Lmod or Environment Modules
  find_module || fail "there is no command \`module\` on $node" \
    "leave out --module, or define it with --setup"
  # Environment Modules 3 and 4 say what is wrong, and succeed.
  if ! module load "$1" 2>"$slurm_nb_said" || grep -qE '(^|[: ])ERROR:' "$slurm_nb_said"; then
    cat "$slurm_nb_said"
    fail "the module $1 can't be loaded on $node: $(grep -m 1 -iE 'unable|unknown|error' "$slurm_nb_said")" \
      "\`module avail\` lists the modules there are; --setup 'module use DIRECTORY' adds to them"
  fi
  cat "$slurm_nb_said" >&2
}

find_env() { # find_env NAME: the directory of a conda environment; as conda looks for it
  local name=$1 folder
  local -a roots=("$HOME/.conda" "$HOME"/{miniforge3,mambaforge,miniconda3,anaconda3,micromamba} /opt/conda)
  [ -z "${MAMBA_ROOT_PREFIX:-}" ] || roots=("$MAMBA_ROOT_PREFIX" "${roots[@]}")
  folder=${CONDA_EXE:-$(type -P conda mamba | head -n 1)}
  [ -z "$folder" ] || roots=("${folder%/*/*}" "${roots[@]}")
  roots=("${roots[@]/%//envs}")
  IFS=: read -ra folder_list <<<"${CONDA_ENVS_PATH:-${CONDA_ENVS_DIRS:-}}"
  for folder in ${folder_list[@]+"${folder_list[@]}"} "${roots[@]}"; do
    if [ -d "$folder/$name/conda-meta" ]; then
      printf %s "$folder/$name"
      return
    fi
  done
  # Where conda notes each environment that it makes, wherever it is.
  while read -r folder; do
    if [ "${folder##*/}" = "$name" ] && [ -d "$folder/conda-meta" ]; then
      printf %s "$folder"
      return
    fi
  done 2>/dev/null <"$HOME/.conda/environments.txt"
  return 1
}

use_env() { # use_env PATH_OR_NAME
  local folder=$1 file
  case $folder in
    */*) ;;
    *)
      folder=$(find_env "$1") || fail "there is no conda environment named $1 on $node" \
        "\`conda env list\` lists them; or name it by its directory: --env /PATH/OF/IT"
      ;;
  esac
  [ -d "$folder" ] || fail "the environment $folder is not there on $node" \
    "make it on a file system that the nodes see"
  [ -x "$folder/bin/python3" ] || fail "the environment $folder has no bin/python3 on $node" \
    "make it with an interpreter that the nodes have too, or name another one: --env"
  export PATH="$folder/bin:$PATH"
  unset PYTHONHOME
  if [ ! -d "$folder/conda-meta" ]; then
    export VIRTUAL_ENV=$folder
    return
  fi
  # What `conda activate` does, without the second that it takes; conda need not be here.
  export CONDA_PREFIX=$folder CONDA_DEFAULT_ENV=$1 CONDA_SHLVL=1
  if [ -s "$folder/conda-meta/state" ]; then # conda env config vars set
    eval "$("$folder/bin/python3" -I -c 'import json, shlex, sys
for name, value in json.load(sys.stdin).get("env_vars", {}).items():
    if name.isidentifier(): print("export %s=%s" % (name, shlex.quote(value)))' \
      <"$folder/conda-meta/state")"
  fi
  for file in "$folder"/etc/conda/activate.d/*.sh; do
    [ ! -r "$file" ] || . "$file"
  done
}

inside=() # words before the interpreter: what brings it into a container
use_container() { # use_container IMAGE
  local program folder
  eval "$slurm_nb_own"
  program=$(type -P apptainer || type -P singularity) ||
    fail "there is neither apptainer nor singularity on $node" \
      "if your site has it as a module: --module apptainer"
  [[ $1 == *://* || -e $1 ]] || fail "the image $1 is not there on $node" \
    "put it on a file system that the nodes see"
  inside=("$program" exec --pwd "$run_dir/kit")
  for folder in "$run_dir" "$state_dir" "$notebook_dir"; do
    [[ $folder != *[,:]* ]] || fail "$folder can't be seen in a container: it holds a comma or a colon" \
      "use a directory without them"
    inside+=(--bind "$folder")
  done
  if [ -n "${SLURM_JOB_GPUS:-}${SLURM_GPUS_ON_NODE:-}${CUDA_VISIBLE_DEVICES:-}" ]; then
    if [ -e /dev/kfd ]; then inside+=(--rocm); else inside+=(--nv); fi
  fi
  inside+=("$1")
}

# What the user and the site run here may not be written for -u, and may use the same names.
for name in IFS cluster job_id node nonce notebook_dir run_dir session_dir state_dir ui; do
  slurm_nb_own+=$(declare -p "$name")$'\n'
done
slurm_nb_said=$run_dir/said slurm_nb_sourcing=yes
set +u

use_env /sw/conda/envs/jupyter
python=python3
# Packages that users add with conda do not fill their homes.
if [ -d "/scratch/$USER" ]; then
  export CONDA_PKGS_DIRS=/scratch/$USER/conda-pkgs
fi

set +aef -u
eval "$slurm_nb_own"
slurm_nb_sourcing=
trap clean_up EXIT
trap 'exit 143' TERM INT HUP

# Libraries that compute in threads take the whole node's CPUs for theirs.
cpus=${SLURM_CPUS_PER_TASK:-${SLURM_CPUS_ON_NODE:-}}
if [ -n "$cpus" ]; then
  for name in OMP OPENBLAS MKL NUMEXPR BLIS NUMBA RAYON JULIA; do
    name=${name}_NUM_THREADS
    [ -n "${!name:-}" ] || export "$name=$cpus"
  done
fi

if [ -z "${inside[*]-}" ]; then
  found=$(type -P -- "$python") || fail "there is no Python interpreter $python on $node" \
    "name one that the nodes have: --python PATH, --env or --module"
  python=$found
fi


export SLURM_NB_UI=$ui SLURM_NB_NOTEBOOK_DIR=$notebook_dir SLURM_NB_RUN_DIR=$run_dir
export SLURM_NB_NONCE=$nonce SLURM_NB_IDLE_TIMEOUT_S=3600
export SLURM_NB_LISTEN=port SLURM_NB_ROUTE=jump
export SLURM_NB_AUTH=token SLURM_NB_DEBUGGER=no
export SLURM_NB_TOKEN_FILE=$session_dir/token SLURM_NB_PASSWORD_FILE=$state_dir/password
export SLURM_NB_JUPYTER_CONFIG_PATH=${JUPYTER_CONFIG_PATH:-}
export SLURM_NB_JUPYTER_RUNTIME_DIR=${JUPYTER_RUNTIME_DIR:-}
export JUPYTER_CONFIG_PATH=$run_dir/kit${JUPYTER_CONFIG_PATH:+:$JUPYTER_CONFIG_PATH}
export JUPYTER_RUNTIME_DIR=$run_dir/runtime
unset JUPYTER_NO_CONFIG

case $ui in
  lab) module=jupyterlab ;;
  *) module=notebook ;;
esac

# Jupyter starts in the kit's directory: a file such as token.py in the user's own
# directory would be imported in place of Python's.
cd "$run_dir/kit" || exit 1
${inside[@]+"${inside[@]}"} "$python" -m slurm_nb_start "$module" --no-browser &
server=$!

stopping=
say_if_time_is_up() {
  local end reason
  read -r end 2>/dev/null <"$run_dir/end-time" || end=${SLURM_JOB_END_TIME:-}
  [[ $end =~ ^[0-9]+$ ]] && [ "$(date +%s)" -ge $((end - 5)) ] || return # clocks differ a little
  # It may have been extended since, and the job cancelled.
  [ "$cluster" = local ] || reason=$(timeout 2 squeue -h -t all -j "$job_id" -o %r 2>/dev/null)
  case ${reason:-TimeLimit} in
    TimeLimit) tell stopping ', "kind": "time", "text": "the time limit was reached"' ;;
  esac
}
stop_server() {
  stopping=yes interrupted=yes
  trap '' TERM INT HUP USR1
  kill -TERM "$server" 2>/dev/null
  say_if_time_is_up
  for _ in {1..50}; do
    kill -0 "$server" 2>/dev/null || return
    sleep 0.2
  done
  kill -KILL "$server" 2>/dev/null
}
trap stop_server TERM INT HUP

while :; do
  interrupted=
  wait "$server"
  code=$?
  [ -n "$interrupted" ] || break # a signal ends the wait, not the server
done
if [ ! -e "$run_dir/python-started" ] && [ -z "$stopping" ]; then
  fail "$python did not start on $node${inside[*]+ in the container}: exit code $code" \
    "another interpreter: --python, --env, --module or --container" false # the output says why
fi
exit "$code"
