"""The user's own Jupyter settings work as in a plain Jupyter."""

from __future__ import annotations

import json
from typing import Any

from tests.e2e.scientist import Scientist

# As the laptop's browser would: with the token of the URL.
GET = """
import sys, urllib.request
request = urllib.request.Request(sys.argv[1], headers={"Authorization": "token " + sys.argv[2]})
print(urllib.request.urlopen(request, timeout=20).read().decode())
"""
KERNEL = {
    "argv": ["/srv/venv/bin/python", "-m", "ipykernel_launcher", "-f", "{connection_file}"],
    "display_name": "Mine",
    "language": "python",
    "env": {"WHO": "my kernel"},
}
EXTENSION = """
from jupyter_server.base.handlers import JupyterHandler

class Own(JupyterHandler):
    def get(self):
        self.finish('"my extension"')

def _jupyter_server_extension_points():
    return [{"module": "own_extension"}]

def _load_jupyter_server_extension(app):
    app.web_app.add_handlers(".*", [(app.base_url + "own", Own)])
"""
THEMES = "@jupyterlab/apputils-extension"
FILES = {
    ".local/share/jupyter/kernels/mine/kernel.json": json.dumps(KERNEL),
    ".jupyter/jupyter_server_config.py": "c.MappingKernelManager.default_kernel_name = 'mine'",
    ".jupyter/jupyter_server_config.json": json.dumps(
        {"ServerApp": {"jpserver_extensions": {"own_extension": True}}}
    ),
    f".jupyter/lab/user-settings/{THEMES}/themes.jupyterlab-settings": (
        '{"theme": "JupyterLab Dark"} // mine'
    ),
    ".ipython/profile_default/startup/00.py": "started = 'my startup file'",
    ".ipython/profile_default/ipython_kernel_config.py": "c.IPKernelApp.exec_lines = ['own = 7']",
    "bin/own_extension.py": EXTENSION,
}


def test_kernels_configuration_extensions_and_lab_settings_are_the_users(alice: Scientist) -> None:
    """One session has: the user's own default kernel, IPython's start-up file and configuration, a
    server extension, a setting of the server's, one of Lab's.
    """
    for name, text in FILES.items():
        path = alice.home / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    for name in (".local", ".jupyter", ".ipython", "bin"):
        alice.cluster.login.run(["chown", "-R", "alice:alice", f"/home/alice/{name}"])
    cell = "import os; print([os.environ['WHO'], started, own])"

    record = alice.submit("--ui", "lab", "--setup", "export PYTHONPATH=$HOME/bin")
    with alice.tunnel(record["tunnel_command"]):
        seen = alice.run_cell(record["url"], cell)
        extension = get(alice, record, "own")
        theme = get(alice, record, f"lab/api/settings/{THEMES}:themes")
        specs = get(alice, record, "api/kernelspecs")
    audit = alice.slurm_nb("audit", record["job_id"])

    assert seen["output"] == "['my kernel', 'my startup file', 7]\n"
    assert extension == "my extension"
    assert theme["settings"] == {"theme": "JupyterLab Dark"}
    assert specs["default"] == "mine"
    assert specs["kernelspecs"]["mine"]["spec"]["display_name"] == "Mine"
    assert audit.exit_code == 0, audit


def get(alice: Scientist, record: dict[str, Any], path: str) -> Any:
    """Return the server's answer on the laptop."""
    base, _, token = record["url"].partition("/?token=")
    python = ["/srv/venv/bin/python", "-c", GET, f"{base}/{path}", token]
    return json.loads(alice.cluster.laptop.run(python, user="lea").stdout)
