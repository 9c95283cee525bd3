"""Configures the Jupyter server, and prints the line that says where it listens.

The job script passes its values in SLURM_NB_* variables, which kernels do not see.
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
from typing import TYPE_CHECKING, Any, Dict, Iterator, List, Optional, Set

import jupyter_server

from . import cleanup, kernels, login_page, overrides, processes, self_check, versions
from .files import read_regular, write_private
from .monitor import keep_token, labextension
from .security import guard, log_limit, peers, report, static_files
from .security.door import Door
from .security.listener import Listener, Rules
from .security.lock import Lock
from .security.run_dir import RunDir

if TYPE_CHECKING:
    from jupyter_server.serverapp import ServerApp
    from traitlets.config import Config

    from .monitor import notices

_UI_PATHS = {"notebook": "tree", "lab": "lab"}
# slurm_nb/joblog/events.py accepts these paths: they need no quoting in a URL or a shell.
_PATH = re.compile(r"(?:/[A-Za-z0-9_.~@%+-]+)+/?")
# The user can set root_dir and preferred_dir on each of these.
_CONTENTS = (
    "FileContentsManager", "AsyncFileContentsManager", "LargeFileManager", "AsyncLargeFileManager",
)  # fmt: skip
_JOB: Dict[str, str] = {}
_PAGES: List[notices.Notices] = []
_LOCK: List[Lock] = []
_RULES: List[Rules] = []
_RUN_DIR: List[RunDir] = []
_FLAWS: Set[str] = set()


def configure(c: Config) -> None:
    """Set slurm-nb's options in `c`, the traitlets Config of jupyter_server_config.py."""
    if int(jupyter_server.__version__.partition(".")[0]) < 2:
        # It would create its own token and write it to the log.
        raise RuntimeError(
            "jupyter_server %s is too old: update it to 2.0 or later in the environment of --python"
            % jupyter_server.__version__
        )
    cluster, _, job_id = os.environ["SLURM_NB_SESSION"].partition("/")
    _JOB.update(cluster=cluster, job_id=job_id, mark="SLURM_NB_SESSION=%s/%s" % (cluster, job_id))
    for name in (
        "ui", "listen", "route", "peers", "auth", "debugger", "terminals", "run_dir", "nonce",
        "idle_timeout_s",
    ):  # fmt: skip
        _JOB[name] = os.environ.pop("SLURM_NB_" + name.upper())
    _JOB["submission"] = os.environ.pop("SLURM_NB_SUBMISSION", "")
    server = c.ServerApp
    server.open_browser = False
    server.root_dir = server.preferred_dir = os.environ.pop("SLURM_NB_NOTEBOOK_DIR")
    server.file_to_run = ""  # Jupyter rejects one outside root_dir, and a preferred_dir too
    # The printed URL is the root, from which Jupyter redirects to this.
    for name in ("ServerApp", "JupyterNotebookApp", "LabApp"):
        c[name].default_url = "/" + _UI_PATHS[_JOB["ui"]]
    for name in _CONTENTS:
        c[name].root_dir, c[name].preferred_dir = server.root_dir, ""
    server.allow_root = os.geteuid() == 0
    server.jpserver_extensions.update({__name__: True})
    _set_listener(server)
    _set_lock(c)
    kernels.configure(c, allow_debugger=_JOB["debugger"] == "yes")
    try:
        labextension.configure(c, _JOB["run_dir"])
        with_password = _JOB["auth"] == "password"
        login_page.configure(c, _JOB["run_dir"], job_id, password=with_password)
    except Exception as error:  # Jupyter then shows its own pages
        print("slurm-nb: cannot extend Jupyter's pages: %s" % error, flush=True)
    _LOCK[0].seal(c)
    guard.State.prove, guard.State.wrap = _prove, _wrap
    # These protect the server's own files. Kernels and terminals get the user's umask back.
    _JOB["umask"] = "%o" % os.umask(0o077)
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))


def _set_listener(server: Any) -> None:
    server.port = 0  # the kernel chooses a free one, so there is no race
    server.port_retries = 0
    server.sock = ""
    server.sock_mode = "0600"
    server.ip = "127.0.0.1"
    server.certfile = server.keyfile = server.client_ca = ""
    if _JOB["listen"] == "socket":
        server.sock = os.path.join(_JOB["run_dir"], "jupyter.sock")
        # With a socket, Jupyter accepts only this port, and does not open it.
        server.port = jupyter_server.DEFAULT_JUPYTER_SERVER_PORT
    elif _JOB["route"] == "direct":
        server.ip = _JOB["address"] = _address_towards_login()
        certificate = os.path.join(_JOB["run_dir"], "certificate.pem")
        if os.path.exists(certificate):
            _JOB["certificate"] = server.certfile = certificate
            server.keyfile = os.path.join(_JOB["run_dir"], "key.pem")


def _address_towards_login() -> str:
    """Return this node's address that faces the login node, without sending a packet.

    Try Slurm's name of that host first, then the addresses that it had at submission. Of those,
    prefer one that does not use the default route.
    """
    told = os.environ.pop("SLURM_NB_LOGIN_ADDRESSES", "").split()
    submit_host = os.environ.get("SLURM_SUBMIT_HOST") or "localhost"
    by_name = _address_towards(submit_host)
    if by_name:
        return by_name
    found = [address for address in map(_address_towards, told) if address]
    if not found:
        raise RuntimeError(
            "%s cannot find an address of the login node (%s); use --route jump"
            % (socket.gethostname(), ", ".join([submit_host, *told]))
        )
    default = _address_towards("198.51.100.1")  # RFC 5737: no network has this address
    return next((address for address in found if address != default), found[0])


def _address_towards(host: str) -> str:
    """Return this node's address that faces a host; empty if there is no route."""
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect((host, 9))
            address: str = probe.getsockname()[0]
    except OSError:
        return ""
    return address


def _set_lock(c: Config) -> None:
    token_file = os.environ.pop("SLURM_NB_TOKEN_FILE")
    _JOB["session_dir"] = os.path.dirname(token_file)
    password = _password(os.environ.pop("SLURM_NB_PASSWORD_FILE"))
    lock = Lock(
        secrets.token_hex(32),
        password,
        allow_debugger=_JOB["debugger"] == "yes",
        terminals=_JOB["terminals"] == "yes",
    )
    _LOCK[:] = [lock]
    write_private(token_file, lock.token)
    _keep_out_of_logs(lock.token, password)
    lock.configure(c)


def _password(path: str) -> str:
    """Return the argon2 hash that `slurm-nb password` stored; empty without --auth password."""
    if _JOB["auth"] != "password":
        return ""
    hashed = read_regular(path).strip()
    if not hashed.startswith("argon2:"):
        raise RuntimeError("%s does not contain a password: run `slurm-nb password`" % path)
    return hashed


def _keep_out_of_logs(*texts: str) -> None:
    """Hide secrets from the log: at level DEBUG, Jupyter logs its whole configuration."""

    class Record(logging.LogRecord):
        def getMessage(self) -> str:  # noqa: N802  logging's own name
            message = super().getMessage()
            for text in filter(None, texts):
                message = message.replace(text, "[secret]")
            return message

    logging.setLogRecordFactory(Record)


def _jupyter_server_extension_points() -> List[Dict[str, str]]:
    return [{"module": __name__}]


def _load_jupyter_server_extension(app: ServerApp) -> None:
    _JOB["loaded"] = "yes"
    cleanup.clean_up_in_place_of_the_script(_JOB["run_dir"], _JOB["session_dir"], _LOCK[0].token)
    kernels.offer(app, os.path.join(_JOB["run_dir"], "kernels"))
    run_dir = RunDir(_JOB["run_dir"], [app.runtime_dir])
    _RUN_DIR[:] = [run_dir]
    run_dir.keep()
    kernels.watch(app, run_dir, allow_debugger=_JOB["debugger"] == "yes", notice=notice)
    app.io_loop.call_later(0, _announce, app)


def _prove(app: Any) -> None:
    """Put the lock into effect, and raise `Refused` if that fails. Called before each bind."""
    lock = _LOCK[0]
    if "loaded" not in _JOB:
        raise self_check.Refused(
            "Jupyter did not load slurm-nb's extension (ServerApp.jpserver_extensions)"
        )
    if not hasattr(app, "_http_server"):
        lock.enforce(app)
        _drop_static_files(app)
    for flaw in _flaws(app):
        raise self_check.Refused(flaw)


def _flaws(app: Any) -> Iterator[str]:
    """Yield deviations from slurm-nb's setup, including the HTTP server once it exists."""
    yield from _LOCK[0].flaws(app)
    server = getattr(app, "_http_server", None)
    if server is not None and type(server.request_callback) is not Door:
        yield "slurm-nb's door is not in front of the web application"
    if server is not None and not all(type(each) is Listener for each in server._sockets.values()):
        yield "a socket of the server does not check which user connects"


def _drop_static_files(app: Any) -> None:
    ours = os.path.join(_JOB["run_dir"], "page")
    secret = [_JOB["run_dir"], _JOB["session_dir"], os.path.expanduser("~")]
    dropped = static_files.drop_others(app, ours=ours, secret=secret)
    if dropped:
        notice("Jupyter serves no static files or templates from %s" % ", ".join(dropped[:5]))


def _wrap(app: Any) -> None:
    """Put the door in front of the web application, and the listener around its socket."""
    log_limit.install(app)

    def log(text: str) -> None:
        app.log.warning("slurm-nb: %s", text)

    server = app.http_server
    server.request_callback = Door(app, _LOCK[0].token, log, _flaw_of_run_dir)
    # At a network address, clients are on other machines and have no local uid.
    only_user = "address" not in _JOB and _JOB["peers"] == "user"
    trusted = peers.trusted() if only_user else None
    # Not on the pages: if one opens, the tunnel works.
    rules = Rules(
        trusted, lambda: len(server._connections), log, lambda text: _tell("notice", {"text": text})
    )
    _RULES[:] = [rules]
    add_sockets = server.add_sockets
    server.add_sockets = lambda sockets: add_sockets([Listener(each, rules) for each in sockets])


def _flaw_of_run_dir() -> str:
    """Return what is wrong with the job's directory, and show it to the user once."""
    flaw = _RUN_DIR[0].flaw()
    if flaw and flaw not in _FLAWS:
        _FLAWS.add(flaw)
        notice(flaw)
    return flaw


def _announce(app: Any) -> None:
    """Check the door once the server's socket listens (the event loop binds it)."""
    sockets = list(app.http_server._sockets.values())
    if not sockets:
        app.io_loop.call_later(0.01, _announce, app)
        return
    app.io_loop.add_callback(_check_then_tell, app, sockets)


async def _check_then_tell(app: Any, sockets: List[socket.socket]) -> None:
    try:
        _prove(app)
        self_check.check_one(sockets)
        self_check.check_own(sockets[0])
        self_check.check_alone(sockets[0], _JOB["mark"])
        door = app.base_url + "api/status"
        await self_check.check_door(sockets[0], door, _LOCK[0].token, _JOB.get("certificate"))
        report.serve(app, lambda: _settings(app))
        for text in versions.old():
            notice("Jupyter's environment: %s" % text)
        for text in overrides.describe(app):
            notice(text)
        if _JOB["debugger"] == "yes":
            notice("while a notebook's debugger is on, any user on this node can run code as you")
        if _JOB["listen"] == "socket" and processes.is_private(
            _JOB["run_dir"],
            *(os.fsdecode(processes.read("/proc/%s/mountinfo" % pid)) for pid in ("self", "1")),
        ):
            notice(
                "%s is private to this job, so ssh may answer `open failed`: if it does, submit"
                " with --listen port, or set TMPDIR to a directory on the node that is not private"
                % os.path.dirname(_JOB["run_dir"])
            )
        _give_back(app)
        ready = _ready(app, sockets[0])
    except Exception as error:  # any error means that the server is not proven safe
        why = str(error) or type(error).__name__
        guard.stop(why)
    guard.announced()
    for rules in _RULES:
        rules.begin()
    _tell("ready", ready)
    _watch(app)


def _watch(app: Any) -> None:
    """Start the monitor; if it cannot start, the session runs without it."""
    keep_token.keep(_JOB["session_dir"], _JOB["submission"], _LOCK[0].token)
    try:
        from .monitor import monitor  # noqa: PLC0415  a module that it imports may be missing

        job = monitor.Job(
            _JOB["cluster"],
            _JOB["job_id"],
            _node(),
            _RUN_DIR[0].anchored,
            _JOB["session_dir"],
            idle_timeout_s=int(_JOB["idle_timeout_s"]) or None,
        )
        _PAGES.append(monitor.start(app, job, _tell))
    except Exception as error:
        app.log.warning("slurm-nb: cannot monitor this session: %s", error)


def _settings(app: Any) -> Dict[str, Any]:
    """Return the settings in effect, without secrets, for the checks of `slurm-nb audit`."""
    provider, manager, in_force = app.identity_provider, app.kernel_manager, app.web_app.settings
    pattern = in_force.get("allow_origin_pat") or ""
    messages = manager.allowed_message_types
    make_kernel = getattr(manager, "kernel_manager_factory", None)
    trusted = _RULES[0].trusted
    return {
        "identity_provider_class": "%s.%s" % (type(provider).__module__, type(provider).__name__),
        "token": provider.token == _LOCK[0].token,
        "password": bool(getattr(provider, "hashed_password", "")),
        "flaws": list(_flaws(app)),
        "allow_origin": in_force.get("allow_origin", ""),
        "allow_origin_pat": getattr(pattern, "pattern", pattern),
        "allow_remote_access": in_force.get("allow_remote_access"),
        "disable_check_xsrf": in_force.get("disable_check_xsrf"),
        "kernel_transport": make_kernel(parent=manager).transport if make_kernel else None,
        "debugger_allowed": not messages or "debug_request" in messages,
        "ip": app.ip,
        "sock": app.sock,
        "serves": "any" if trusted is None else sorted(trusted),
        "versions": versions.installed(),
    }


def _give_back(app: Any) -> None:
    """Restore the user's umask, directory and variables, which kernels and terminals inherit."""
    os.umask(int(_JOB["umask"], 8))
    # The server started in the kit's directory, which kernels without their own would inherit.
    os.chdir(app.root_dir)
    # `jupyter lab` in a terminal, or in a job submitted from there, is not this session.
    for name in ("JUPYTER_CONFIG_PATH", "JUPYTER_RUNTIME_DIR"):
        original = os.environ.pop("SLURM_NB_" + name, "")
        if original:
            os.environ[name] = original
        else:
            os.environ.pop(name, None)


def _ready(app: Any, listener: socket.socket) -> Dict[str, Any]:
    ready: Dict[str, Any] = {
        "node": _node(),
        "path": app.base_url + _UI_PATHS[_JOB["ui"]],
    }
    if not _PATH.fullmatch(ready["path"]):
        raise self_check.Refused("slurm-nb cannot print a URL for base_url %r" % app.base_url)
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


def _node() -> str:
    """Return this node's name as Slurm and ssh know it."""
    return os.environ.get("SLURMD_NODENAME") or socket.gethostname()


def _fingerprint(certificate: Optional[str]) -> Optional[str]:
    """Return the SHA-256 fingerprint as browsers show it: `AB:CD:...`."""
    if certificate is None:
        return None
    with open(certificate, encoding="ascii") as file:
        digest = hashlib.sha256(ssl.PEM_cert_to_DER_cert(file.read())).hexdigest().upper()
    return ":".join(digest[i : i + 2] for i in range(0, len(digest), 2))


def notice(text: str) -> None:
    """Have slurm-nb show a text to the user, and the pages too once they exist."""
    _tell("notice", {"text": text})
    for page in _PAGES:
        page.add("notice", text)


def _tell(what: str, record: Dict[str, Any]) -> None:
    who = {name: _JOB[name] for name in ("cluster", "job_id", "submission", "nonce")}
    print("\nslurm-nb %s: %s" % (what, json.dumps({**who, **record})), flush=True)
