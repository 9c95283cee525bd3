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
