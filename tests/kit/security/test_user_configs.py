"""No user configuration gives a second user of the node access to the server.

The settings are not listed by hand: every configurable trait of the installed Jupyter that takes
a path, a class, an address or a switch gets a value that would open the server.
"""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import traitlets

from tests import time_limits

HERE = Path(__file__).parent
_ALL_S = 900.0  # 220 servers, half a second of CPU time each, on a busy machine
HOME = "@HOME@"
"""The user's home in a value."""
CLASSES = [
    "jupyter_server.serverapp.ServerApp",
    "jupyter_core.application.JupyterApp",
    "traitlets.config.application.Application",
    "jupyter_server.auth.identity.IdentityProvider",
    "jupyter_server.auth.identity.PasswordIdentityProvider",
    "jupyter_server.auth.identity.LegacyIdentityProvider",
    "jupyter_server.auth.authorizer.Authorizer",
    "jupyter_client.connect.ConnectionFileMixin",
    "jupyter_client.manager.KernelManager",
    "jupyter_client.multikernelmanager.MultiKernelManager",
    "jupyter_client.kernelspec.KernelSpecManager",
    "jupyter_server.services.kernels.kernelmanager.ServerKernelManager",
    "jupyter_server.services.kernels.kernelmanager.MappingKernelManager",
    "jupyter_server.services.kernels.kernelmanager.AsyncMappingKernelManager",
    "jupyter_server.services.kernels.connection.base.BaseKernelWebsocketConnection",
    "jupyter_server.gateway.gateway_client.GatewayClient",
    "jupyter_server.services.sessions.sessionmanager.SessionManager",
    "jupyter_server.services.contents.manager.ContentsManager",
    "jupyter_server.services.contents.filemanager.FileContentsManager",
    "jupyter_server.extension.application.ExtensionApp",
    "jupyterlab_server.app.LabServerApp",
    "jupyterlab_server.config.LabConfig",
    "jupyterlab.labapp.LabApp",
    "notebook.app.JupyterNotebookApp",
]
FILES = (
    "jupyter_server_config.py", "jupyter_config.json", "jupyter_config.py",
    "jupyter_server_config.json", "jupyter_notebook_config.py",
)  # fmt: skip
# With these, Jupyter does not serve: it prints its configuration or builds its pages.
ENDING = {"generate_config", "show_config", "show_config_json", "watch"}
X_PY = """
c.ServerApp.ip = '0.0.0.0'
c.ServerApp.allow_remote_access = True
c.IdentityProvider.token = ''
c.PasswordIdentityProvider.token = ''
c.ServerApp.tornado_settings = {'headers': {'Access-Control-Allow-Origin': '*'}}
"""
ENVIRONMENTS: dict[str, dict[str, str]] = {
    "no config": {"JUPYTER_NO_CONFIG": "1"},
    "other config path": {"JUPYTER_CONFIG_PATH": HOME},
    "config dir": {"JUPYTER_CONFIG_DIR": HOME},
    "data path": {"JUPYTER_PATH": HOME},
    "empty token": {"JUPYTER_TOKEN": ""},
    "token of others": {"JUPYTER_TOKEN": "known"},
    "token file": {"JUPYTER_TOKEN_FILE": f"{HOME}/canary.txt"},
    "port": {"JUPYTER_PORT": "8888"},
    "gateway": {"JUPYTER_GATEWAY_URL": "http://127.0.0.1:9"},
    "hub": {"JUPYTERHUB_SERVICE_PREFIX": "/", "JUPYTERHUB_API_TOKEN": "x"},
    "insecure writes": {"JUPYTER_ALLOW_INSECURE_WRITES": "1"},
    "env first": {"JUPYTER_PREFER_ENV_PATH": "1"},
}
CODE: dict[str, str] = {
    "a leaky extension": "c.ServerApp.jpserver_extensions = {'hostile': True}",
    "extra services": "c.ServerApp.extra_services = ['hostile']",
    "a patched server": (
        "from jupyter_server.serverapp import ServerApp\n"
        "def init(app):\n"
        "    from tornado.httpserver import HTTPServer\n"
        "    app._http_server = HTTPServer(app.web_app)\n"
        "    app.io_loop.add_callback(app._http_server.listen, 8899, '0.0.0.0')\n"
        "ServerApp.init_httpserver = init\n"
    ),
    "a patched bind": (
        "from jupyter_server.serverapp import ServerApp\n"
        "ServerApp._bind_http_server = lambda app: app.http_server.listen(8898, '0.0.0.0')\n"
    ),
    "a server of its own": (
        "from jupyter_server.serverapp import ServerApp\n"
        "before = ServerApp.init_webapp\n"
        "def init(app):\n"
        "    before(app)\n"
        "    import socket\n"
        "    from tornado.httpserver import HTTPServer\n"
        "    HTTPServer(app.web_app).add_socket(socket.create_server(('0.0.0.0', 8897)))\n"
        "ServerApp.init_webapp = init\n"
    ),
    "a token taken away": (
        "from jupyter_server.serverapp import ServerApp\n"
        "before = ServerApp.init_webapp\n"
        "def init(app):\n"
        "    before(app)\n"
        "    app.identity_provider.token = app.identity_provider.hashed_password = ''\n"
        "ServerApp.init_webapp = init\n"
    ),
    "a replaced method": (
        "from jupyter_server.serverapp import ServerApp\n"
        "before = ServerApp.init_webapp\n"
        "def init(app):\n"
        "    before(app)\n"
        "    import hostile\n"
        "    app.identity_provider.get_user = hostile._user\n"
        "ServerApp.init_webapp = init\n"
    ),
    "a door taken away": (
        "from jupyter_server.serverapp import ServerApp\n"
        "before = ServerApp.init_webapp\n"
        "def init(app):\n"
        "    before(app)\n"
        "    take = lambda: setattr(app.http_server, 'request_callback', app.web_app)\n"
        "    app.io_loop.add_callback(take)\n"
        "ServerApp.init_webapp = init\n"
    ),
    "a listener taken away": (
        "from jupyter_server.serverapp import ServerApp\n"
        "before = ServerApp.init_webapp\n"
        "def init(app):\n"
        "    before(app)\n"
        "    take = lambda: vars(app.http_server).pop('add_sockets')\n"
        "    app.io_loop.add_callback(take)\n"
        "ServerApp.init_webapp = init\n"
    ),
    "a setting changed late": (
        "from jupyter_server.serverapp import ServerApp\n"
        "before = ServerApp.init_webapp\n"
        "def init(app):\n"
        "    before(app)\n"
        "    change = dict(disable_check_xsrf=True, allow_origin='*', cookie_secret=b'x')\n"
        "    app.io_loop.add_callback(lambda: app.web_app.settings.update(change))\n"
        "ServerApp.init_webapp = init\n"
    ),
}


def hostile_values(name: str, trait: traitlets.TraitType[Any, Any]) -> Iterator[Any]:  # noqa: C901  a table
    """Yield values that would open the server, by the trait's type and name."""
    if isinstance(trait, traitlets.Union):
        for inner in trait.trait_types[:1]:
            yield from hostile_values(name, inner)
    elif isinstance(trait, traitlets.Bool):
        yield trait.default_value is False
    elif isinstance(trait, traitlets.Type):
        klass = trait.klass
        if isinstance(klass, type):
            klass = f"{klass.__module__}.{klass.__name__}"
        yield "hostile." + str(klass).replace(".", "__")
    elif isinstance(trait, traitlets.ObjectName):
        yield "hostile.jupyter_client__manager__AsyncKernelManager"
    elif isinstance(trait, traitlets.Unicode | traitlets.Bytes):
        yield _text(name)
    elif isinstance(trait, traitlets.List | traitlets.Tuple | traitlets.Set):
        yield [_text(name)]
    elif isinstance(trait, traitlets.Dict):
        yield {"headers": {"Access-Control-Allow-Origin": "*"}, "ip": "0.0.0.0"}  # noqa: S104
    elif isinstance(trait, traitlets.Any):
        yield None


def _text(name: str) -> str:  # noqa: PLR0911  a table
    if name == "config_file_name":
        return "x"
    if "dir" in name or "path" in name:
        return HOME
    if "file" in name:
        return f"{HOME}/x.py"
    if name.endswith(("ip", "address", "host", "hostname", "hostnames")):
        return "0.0.0.0"  # noqa: S104  the point of the test
    if "origin" in name:
        return "*"
    if "pat" in name:
        return ".*"
    if "url" in name:
        return "http://127.0.0.1:9/"
    return "" if any(word in name for word in ("token", "password", "secret")) else "tcp"


def cases() -> list[dict[str, Any]]:
    """Return a case for each value of each trait: its file and environment."""
    found: list[dict[str, Any]] = []
    for path in CLASSES:
        module, _, name = path.rpartition(".")
        klass = getattr(importlib.import_module(module), name)
        for trait_name, trait in sorted(klass.class_own_traits(config=True).items()):
            for value in hostile_values(trait_name, trait) if trait_name not in ENDING else ():
                file = FILES[len(found) % len(FILES)]
                content = json.dumps({name: {trait_name: value}})
                if file.endswith(".py"):
                    content = f"c.{name}.{trait_name} = {value!r}\n"
                found.append({"name": f"{name}.{trait_name}", "files": {file: content}, "env": {}})
    found += [{"name": name, "files": {}, "env": env} for name, env in ENVIRONMENTS.items()]
    found += [
        {"name": name, "files": {"jupyter_server_config.py": code}, "env": {}}
        for name, code in CODE.items()
    ]
    for case in found:
        case["files"]["x.py"] = X_PY
    return found


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory, kit_dir: Path) -> list[dict[str, Any]]:
    """Start and probe the real Jupyter with each configuration; return the results."""
    time_limits.allow(_ALL_S)
    folder = tmp_path_factory.mktemp("configs")
    done = subprocess.run(
        [sys.executable, str(HERE / "many_servers.py"), str(folder), str(kit_dir)],
        input=json.dumps(cases()),
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(HERE)},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


def test_there_are_enough_configurations() -> None:
    """The traits of the installed Jupyter provide many."""
    assert len(cases()) >= 60


def test_no_configuration_opens_the_server_to_another_user(results: list[dict[str, Any]]) -> None:
    """Every route needs the token, except Jupyter's version, the login page and its style."""
    opened = {result["name"]: result["open"] for result in results if result["open"]}

    assert opened == {}


def test_a_server_that_would_be_open_does_not_listen(results: list[dict[str, Any]]) -> None:
    """A server listens on one loopback address or on none."""
    listened = {each["name"]: each["listeners"] for each in results if each["listeners"]}
    wrong = {
        name: listeners
        for name, listeners in listened.items()
        if len(listeners) > 1 or not listeners[0].startswith("127.0.0.1:")
    }

    assert wrong == {}


def test_a_refused_server_says_why_in_one_sentence(results: list[dict[str, Any]]) -> None:
    """Either slurm-nb names the setting, or Jupyter gives the reason; nothing hangs."""
    silent = {
        each["name"]: each["said"] for each in results if not each["ready"] and not each["why"]
    }

    assert silent == {}


def test_most_configurations_still_start(results: list[dict[str, Any]]) -> None:
    """slurm-nb overrides a harmful setting where it can."""
    started = [each["name"] for each in results if each["ready"]]

    assert len(started) > 0.8 * len(results), [e["why"] for e in results if not e["ready"]]
