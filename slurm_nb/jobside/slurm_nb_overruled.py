"""Runs inside the Jupyter server: which of the user's own settings slurm-nb did not let stand.

Self-contained: standard library and jupyter_server's own only, Python 3.8 and later.
"""

from __future__ import annotations

import os
from typing import Any, Callable, Dict, List

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
}
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
        "your Jupyter configuration (%s) sets %s, which would let others in: overruled"
        % (where, setting)
        for where, config in _own_configs(app)
        for setting in _disarming(config)
    ]


def take_back_headers(app: Any) -> None:
    """Remove headers that would let other pages frame this one or read its answers."""
    headers = app.web_app.settings.get("headers", {})
    for name in list(headers):
        if name.lower() == "content-security-policy" or name.lower().startswith("access-control-"):
            del headers[name]


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
    framing = [
        "ServerApp.tornado_settings"
        for values in [config.get("ServerApp")]
        if isinstance(values, dict)
        for settings in [values.get("tornado_settings")]
        if isinstance(settings, dict) and settings.get("headers")
    ]
    on_tcp = [
        "%s.transport = 'tcp'" % section
        for section, values in config.items()
        if isinstance(values, dict) and values.get("transport") == "tcp"
    ]
    return opened + framing + on_tcp


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
