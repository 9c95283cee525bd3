"""Finds classes that the user's Jupyter configuration names and this Python does not have."""

from __future__ import annotations

import importlib
import os
from typing import Any, Dict, Iterator, Optional, Tuple

from jupyter_server.serverapp import ServerApp
from traitlets.config.loader import JSONFileConfigLoader, PyFileConfigLoader

_NAMES = (
    "jupyter_config", "jupyter_server_config", "jupyter_notebook_config", "jupyter_lab_config",
)  # fmt: skip


def missing_class() -> Optional[Tuple[str, str]]:
    """Return the package of the first such class, and `(FILE) sets NAME = 'CLASS'`."""
    for path, section, name, value in _classes():
        package = value.partition(".")[0]
        try:
            importlib.import_module(value.rpartition(".")[0])
        except ImportError:
            return package, "(%s) sets %s.%s = %r" % (path, section, name, value)
    return None


def _classes() -> Iterator[Tuple[str, str, str, str]]:
    """Yield path, section, name and value of each setting that names a class and its module."""
    kit = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
    for folder in ServerApp().config_file_paths:
        if os.path.realpath(folder) == kit:
            continue
        for name in _NAMES:
            for loader, suffix in ((PyFileConfigLoader, ".py"), (JSONFileConfigLoader, ".json")):
                path = os.path.join(folder, name + suffix)
                for section, values in _load(loader, path).items():
                    for key, value in dict(values).items():
                        if key.endswith("_class") and isinstance(value, str) and "." in value:
                            yield path, section, key, value


def _load(loader: Any, path: str) -> Dict[str, Any]:
    if not os.path.exists(path):
        return {}
    folder, name = os.path.split(path)
    try:
        config: Dict[str, Any] = loader(name, path=folder).load_config()
    except Exception:  # Jupyter has reported the error
        return {}
    return config
