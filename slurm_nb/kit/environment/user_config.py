"""Classes that the user's Jupyter configuration names and this Python does not have."""

from __future__ import annotations

import importlib
import os
from typing import Iterator, Optional, Tuple

from jupyter_server.serverapp import ServerApp
from traitlets.config.loader import JSONFileConfigLoader, PyFileConfigLoader

_NAMES = (
    "jupyter_config", "jupyter_server_config", "jupyter_notebook_config", "jupyter_lab_config",
)  # fmt: skip


def missing_class() -> Optional[Tuple[str, str]]:
    """Return the package of the first such class, and the words `(FILE) sets NAME = 'CLASS'`."""
    for path, section, name, value in _classes():
        package = value.partition(".")[0]
        try:
            importlib.import_module(value.rpartition(".")[0])
        except ImportError:
            return package, "(%s) sets %s.%s = %r" % (path, section, name, value)
    return None


def _classes() -> Iterator[Tuple[str, str, str, str]]:
    """Every setting that holds the dotted name of a class: path, section, name, value."""
    kit = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
    for folder in ServerApp().config_file_paths:
        if os.path.realpath(folder) == kit:
            continue
        for name in _NAMES:
            for loader, suffix in ((PyFileConfigLoader, ".py"), (JSONFileConfigLoader, ".json")):
                path = os.path.join(folder, name + suffix)
                if not os.path.exists(path):
                    continue
                try:
                    config = loader(name + suffix, path=folder).load_config()
                except Exception:  # Jupyter has said what is wrong with it
                    continue
                for section, values in config.items():
                    for key, value in dict(values).items():
                        if key.endswith("_class") and isinstance(value, str) and "." in value:
                            yield path, section, key, value
