#!/bin/bash
#SBATCH --job-name=slurm-nb
#SBATCH --output=/home/alice/.local/state/slurm-nb/jobs/%j_0_log.out
#SBATCH --open-mode=append

# Starts Jupyter on this node and tells slurm-nb, through the job's output, where it
# listens. Needs bash, coreutils, grep and the Python below; slurm-nb itself is not needed.
# `sbatch THIS-FILE` works too: `slurm-nb tunnel-cmd JOBID` then prints the way in.

# shellcheck disable=SC2329,SC2016  # traps call functions; values in quotes are meant literally
set -u

python=/usr/bin/python3
ui=notebook
notebook_dir=/home/alice
state_dir=/home/alice/.local/state/slurm-nb

# Outside Slurm, `slurm-nb submit --cluster local` gives the job's id as the argument.
if [ $# -gt 0 ]; then
  cluster=local
  job_id=$1
else
  cluster=${SLURM_CLUSTER_NAME:-}
  job_id=${SLURM_JOB_ID:?run this script with sbatch}
fi

tell() { # tell started|ended MORE-JSON
  printf '\nslurm-nb %s: {"cluster": "%s", "job_id": "%s"%s}\n' "$1" "$cluster" "$job_id" "$2"
}

chmod 600 "$state_dir/jobs/${job_id}_0_log.out" 2>/dev/null
tell started ''

session_dir=$state_dir/sessions/$cluster/$job_id
(umask 077 && mkdir -p "$session_dir") || exit 1

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
  trap '' TERM INT HUP
  for pid in $(ours); do
    kill -KILL "$pid" 2>/dev/null
  done
  [ -z "$run_dir" ] || rm -rf "$run_dir"
  tell ended ", \"exit_code\": $code"
}
run_dir=
trap clean_up EXIT
trap 'exit 143' TERM INT HUP

# Node-local and private (mktemp makes it 0700): sockets, connection files, the kit.
# A signal waits until the name is known, so that no directory stays behind.
make_run_dir() { (trap '' TERM INT HUP && mktemp -d "$1/slurm-nb.XXXXXXXX"); }
run_dir=$(make_run_dir "${TMPDIR:-/tmp}") || run_dir=$(make_run_dir /tmp) || exit 1
mkdir -m 700 "$run_dir/kit" "$run_dir/runtime" || exit 1

cat >"$run_dir/kit/jupyter_server_config.py" <<'END-OF-KIT' || exit 1
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

cat >"$run_dir/kit/slurm_nb_kit.py" <<'END-OF-KIT' || exit 1
"""Runs inside the Jupyter server: its settings, and the line that says where it listens.

Self-contained: standard library and jupyter_server only, Python 3.8 and later. The job
script hands over its values in SLURM_NB_* variables, which kernels do not get to see.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import socket
from typing import TYPE_CHECKING, Dict, List

import jupyter_server

if TYPE_CHECKING:
    from jupyter_server.serverapp import ServerApp
    from traitlets.config import Config

_UI_PATHS = {"notebook": "tree", "lab": "lab"}
_JOB: Dict[str, str] = {}


def configure(c: Config) -> None:
    """Set what slurm-nb stands on in `c`, the traitlets Config of jupyter_server_config.py."""
    if int(jupyter_server.__version__.partition(".")[0]) < 2:
        # It would make a token of its own and write it to the log.
        raise RuntimeError(
            "jupyter_server %s is too old; 2.0 or later is needed, in the environment of --python"
            % jupyter_server.__version__
        )
    cluster, _, job_id = os.environ["SLURM_NB_SESSION"].partition("/")
    _JOB.update(cluster=cluster, job_id=job_id, ui=os.environ.pop("SLURM_NB_UI"))
    server = c.ServerApp
    server.ip = "127.0.0.1"
    server.port = 0  # the kernel chooses a free one: nothing to race for
    server.port_retries = 0
    server.sock = ""
    server.certfile = server.keyfile = ""  # the way here is ssh
    server.open_browser = False
    server.root_dir = os.environ.pop("SLURM_NB_NOTEBOOK_DIR")
    server.allow_root = os.geteuid() == 0
    server.jpserver_extensions.update({__name__: True})
    # Named for each class that may carry it: a user's setting on a subclass would win.
    server.identity_provider_class = "jupyter_server.auth.identity.PasswordIdentityProvider"
    token = _token(os.environ.pop("SLURM_NB_TOKEN_FILE"))
    c.IdentityProvider.token = c.PasswordIdentityProvider.token = token


def _token(path: str) -> str:
    """256 random bits in hex, the same for every run of this job, in a 0600 file."""
    token = _read(path)
    if not re.fullmatch("[0-9a-f]{64}", token):
        token = secrets.token_hex(32)
        fresh = path + ".new"
        if os.path.lexists(fresh):
            os.unlink(fresh)
        handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w") as file:
            file.write(token)
        os.rename(fresh, path)
    return token


def _read(path: str) -> str:
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            return file.read()
    except FileNotFoundError:
        return ""


def _jupyter_server_extension_points() -> List[Dict[str, str]]:
    return [{"module": __name__}]


def _load_jupyter_server_extension(app: ServerApp) -> None:
    app.io_loop.call_later(0, _announce, app)


def _announce(app: ServerApp) -> None:
    """Write the ready line once the server's socket listens (it is bound by the event loop)."""
    sockets = list(app.http_server._sockets.values())
    if not sockets:
        app.io_loop.call_later(0.01, _announce, app)
        return
    # Started in the kit's directory; kernels that name no directory of their own inherit it.
    os.chdir(app.root_dir)
    # From here on the user's own: `jupyter lab` in a terminal is not this session.
    original = os.environ.pop("SLURM_NB_JUPYTER_CONFIG_PATH", "")
    if original:
        os.environ["JUPYTER_CONFIG_PATH"] = original
    else:
        os.environ.pop("JUPYTER_CONFIG_PATH", None)
    ready = {
        "cluster": _JOB["cluster"],
        "job_id": _JOB["job_id"],
        "node": os.environ.get("SLURMD_NODENAME") or socket.gethostname(),
        "port": sockets[0].getsockname()[1],
        "path": app.base_url + _UI_PATHS[_JOB["ui"]],
    }
    print("\nslurm-nb ready: " + json.dumps(ready), flush=True)
END-OF-KIT

export SLURM_NB_UI=$ui SLURM_NB_NOTEBOOK_DIR=$notebook_dir
export SLURM_NB_TOKEN_FILE=$session_dir/token
export SLURM_NB_JUPYTER_CONFIG_PATH=${JUPYTER_CONFIG_PATH:-}
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
"$python" -m "$module" --no-browser &
server=$!

stopping=
stop_server() {
  stopping=yes
  trap '' TERM INT HUP
  kill -TERM "$server" 2>/dev/null
  for _ in {1..50}; do
    kill -0 "$server" 2>/dev/null || return
    sleep 0.2
  done
  kill -KILL "$server" 2>/dev/null
}
trap stop_server TERM INT HUP

wait "$server"
code=$?
if [ -n "$stopping" ]; then # the signal ended the wait, not the server
  wait "$server"
  code=$?
fi
exit "$code"
