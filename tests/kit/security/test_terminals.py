"""A session without terminals offers none, even if the user's Jupyter settings do."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests import time_limits

HERE = Path(__file__).parent
WRAP = """from jupyter_server.serverapp import ServerApp
before = ServerApp.load_server_extensions
def init(app):
    app.terminals_enabled = True
    before(app)
ServerApp.load_server_extensions = init
"""
OWN = """from jupyter_server_terminals.app import TerminalsExtensionApp
def settings(ext):
    ext.initialize_configurables()
    ext.serverapp.web_app.settings["terminal_manager"] = ext.terminal_manager
TerminalsExtensionApp.initialize_settings = settings
"""
CASES = {
    "on": ("yes", ""),
    "off": ("no", ""),
    "a setting": ("no", "c.ServerApp.terminals_enabled = True\n"),
    "a changed server": ("no", WRAP),
    "an extension": ("no", OWN),
}


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory, kit_dir: Path) -> dict[str, dict[str, Any]]:
    """Return the result of each configuration with the real Jupyter."""
    time_limits.allow(120)
    cases = [
        {
            "name": name,
            "files": {"jupyter_server_config.py": config},
            "env": {"SLURM_NB_TERMINALS": asked},
        }
        for name, (asked, config) in CASES.items()
    ]
    folder = tmp_path_factory.mktemp("terminals")
    done = subprocess.run(
        [sys.executable, str(HERE / "many_servers.py"), str(folder), str(kit_dir)],
        input=json.dumps(cases),
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(HERE)},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return {each["name"]: each for each in json.loads(done.stdout)}


def test_terminals_are_offered_by_default(results: dict[str, dict[str, Any]]) -> None:
    """As Jupyter does."""
    assert results["on"]["terminals"] == 200, results["on"]


@pytest.mark.parametrize("name", ["off", "a setting"])
def test_terminals_that_are_off_are_not_served(
    results: dict[str, dict[str, Any]], name: str
) -> None:
    """The server starts and does not know the route, even if the user's file turns it on."""
    assert (results[name]["ready"], results[name]["terminals"]) == (True, 404), results[name]


@pytest.mark.parametrize("name", ["a changed server", "an extension"])
def test_a_server_that_still_offers_terminals_does_not_listen(
    results: dict[str, dict[str, Any]], name: str
) -> None:
    """Code of the user's that turns them on is found before the server binds, and named."""
    assert (results[name]["ready"], results[name]["listeners"]) == (False, []), results[name]
    assert "terminals_enabled" in results[name]["why"]
