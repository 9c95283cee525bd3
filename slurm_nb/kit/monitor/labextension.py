"""Adds slurm-nb's extension to the pages of Notebook 7 and Lab, and turns off the news prompt.

A prebuilt ("federated") extension is a directory with a package.json that names a script
(JupyterLab's documentation, "Prebuilt extensions"). The script is labextension.js, which is written
by hand and needs no build.
"""

from __future__ import annotations

import json
import os
import shutil
from typing import Any, Dict

from jupyter_core.paths import jupyter_path

_SCRIPT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "labextension.js")
_ENTRY = "static/remoteEntry.js"
_PACKAGE: Dict[str, Any] = {
    "name": "slurm-nb",
    "version": "1.0.0",
    "description": "Shows the slurm-nb session",
    "license": "MIT",
    "jupyterlab": {"extension": True, "_build": {"load": _ENTRY, "extension": "./extension"}},
}
_NEWS = "@jupyterlab/apputils-extension"
_NEWS_SCHEMA = "notification.json"


def configure(c: Any, run_dir: str) -> None:
    """Make the pages load the extension, in the configuration `c`; keep the user's extensions."""
    folder = os.path.join(run_dir, "page")
    package = os.path.join(folder, _PACKAGE["name"])
    os.makedirs(os.path.join(package, os.path.dirname(_ENTRY)), mode=0o700, exist_ok=True)
    shutil.copyfile(_SCRIPT, os.path.join(package, _ENTRY))
    with open(os.path.join(package, "package.json"), "w", encoding="ascii") as file:
        json.dump(_PACKAGE, file)
    _turn_off_news(folder)
    for page in ("LabApp", "JupyterNotebookApp"):
        c[page].extra_labextensions_path.append(folder)


def _turn_off_news(folder: str) -> None:
    """Make "no" the default of Lab's news prompt; settings of the user and the site override it.

    Lab first searches the extensions for the schema of a setting (jupyterlab_server,
    settings_utils.py).
    """
    for path in jupyter_path("lab", "schemas"):
        try:
            with open(os.path.join(path, _NEWS, _NEWS_SCHEMA), encoding="utf-8") as file:
                schema = json.load(file)
            schema["properties"]["fetchNews"]["default"] = "false"
        except (OSError, ValueError, KeyError, TypeError):
            continue  # an older Lab, which has no prompt
        target = os.path.join(folder, _NEWS, "schemas", _NEWS)
        os.makedirs(target, mode=0o700, exist_ok=True)
        with open(os.path.join(target, _NEWS_SCHEMA), "w", encoding="utf-8") as file:
            json.dump(schema, file)
        return
