"""Overrides the user's Jupyter settings that would give others access, and reports them."""

from __future__ import annotations

import os
from typing import Any, Callable, Dict, List

from jupyter_server.serverapp import ServerApp
from traitlets.config.loader import (
    JSONFileConfigLoader,
    LazyConfigValue,
    PyFileConfigLoader,
)

from . import kernels


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
    "local_hostnames": lambda value: set(value) > {"localhost"},
    "cookie_secret": bool,
    "cookie_secret_file": bool,
    "login_handler_class": bool,
    "identity_provider_class": bool,
    "authorizer_class": bool,
}
# Jupyter would read another file instead of the kit's.
_FILES: Dict[str, Callable[[Any], bool]] = {
    "config_file": bool,
    "config_file_name": lambda value: value not in ("", "jupyter_server_config"),
}
# With ipc, `ip` is the first part of the path of a kernel's sockets.
_KERNELS: Dict[str, Callable[[Any], bool]] = {
    "transport": lambda value: value == "tcp",
    "ip": bool,
}
# Keys of tornado_settings, which override every other setting.
_HARMLESS = (
    "websocket_max_message_size", "websocket_ping_interval", "websocket_ping_timeout",
    "websocket_compression_options",
)  # fmt: skip
# Section: setting: whether a value gives others access. NotebookApp is the section of notebook 6.
_DISARM: Dict[str, Dict[str, Callable[[Any], bool]]] = {
    "ServerApp": {**_SERVER, **_FILES},
    "JupyterApp": _FILES,
    "NotebookApp": _SERVER,
    "IdentityProvider": _SECRETS,
    "PasswordIdentityProvider": _SECRETS,
}


_NAMES = (
    "jupyter_config", "jupyter_server_config", "jupyter_notebook_config", "jupyter_lab_config",
)  # fmt: skip


def describe(app: Any) -> List[str]:
    """Return a sentence for each of the user's settings that has no effect.

    The setting would give others access, or belongs to Notebook 6: notebook_shim passes on only
    the settings that ServerApp has.
    """
    known = {*ServerApp.class_trait_names(config=True), *_DISARM["NotebookApp"]}
    unread = [
        "Jupyter no longer reads NotebookApp.%s, which your configuration (%s) sets" % (name, where)
        for where, config in _own_configs(app)
        for name in dict(config.get("NotebookApp", {}))
        if name not in known
    ]
    return unread + [
        "your Jupyter configuration (%s) sets %s, which could give other users access: %s"
        % (where, setting, what)
        for where, config in _own_configs(app)
        for setting, what in [
            *((each, "slurm-nb overrides it") for each in _disarming(config)),
            *((each, "kernels of this kind cannot start") for each in _stopping(config)),
        ]
    ]


def enforce(app: Any) -> None:
    """Put the lock into effect in the web application, and restore the user's harmless settings.

    Those are the harmless keys of `tornado_settings`, and all headers except those that would let
    other pages frame this one or read its answers.
    """
    settings = app.web_app.settings
    for config in (config for _, config in _own_configs(app)):
        own = _tornado_settings(config)
        settings.update({name: own[name] for name in _HARMLESS if name in own})
        settings["headers"] = {**settings.get("headers", {}), **(own.get("headers") or {})}
    headers = settings.get("headers", {})
    settings["headers"] = {name: value for name, value in headers.items() if not _opens(name)}
    settings.update(in_force(app))


def in_force(app: Any) -> Dict[str, Any]:
    """Return the settings of the web application that make up the lock."""
    return {
        "allow_remote_access": False,
        "local_hostnames": ["localhost"],
        "allow_origin": "",
        "allow_origin_pat": "",
        "allow_credentials": False,
        "disable_check_xsrf": False,
        "xsrf_cookies": True,
        "cookie_secret": app.cookie_secret,
        "identity_provider": app.identity_provider,
        "authorizer": app.authorizer,
    }


def _opens(header: str) -> bool:
    name = header.lower()
    return name == "content-security-policy" or name.startswith("access-control-")


def _tornado_settings(config: Dict[str, Any]) -> Dict[str, Any]:
    values = config.get("ServerApp")
    own = values.get("tornado_settings") if isinstance(values, dict) else None
    return own if isinstance(own, dict) else {}


def _disarming(config: Dict[str, Any]) -> List[str]:
    opened = [
        "%s.%s = %r" % (section, name, values[name])
        for section, names in _DISARM.items()
        for values in [config.get(section)]
        if isinstance(values, dict)
        for name, opens in names.items()
        # A LazyConfigValue is a setting that the file read but did not set.
        if name in values and not isinstance(values[name], LazyConfigValue) and opens(values[name])
    ]
    settings = _tornado_settings(config)
    framing = [
        "ServerApp.tornado_settings[%r]" % name
        for name in settings
        if name not in _HARMLESS and (name != "headers" or any(map(_opens, settings[name])))
    ]
    on_tcp = [
        "%s.%s = %r" % (section, name, values[name])
        for section, values in config.items()
        if isinstance(values, dict) and section in kernels.KERNEL_MANAGERS
        for name, opens in _KERNELS.items()
        if name in values and not isinstance(values[name], LazyConfigValue) and opens(values[name])
    ]
    return opened + framing + on_tcp


def _stopping(config: Dict[str, Any]) -> List[str]:
    """Return settings of kernel managers that slurm-nb does not know and cannot override."""
    return [
        "%s.transport = 'tcp'" % section
        for section, values in config.items()
        if isinstance(values, dict) and section not in kernels.KERNEL_MANAGERS
        if values.get("transport") == "tcp"
    ]


def _own_configs(app: Any) -> List[Any]:
    """Return (file, config) of every configuration file that Jupyter loaded, except the kit's."""
    # Python knows the kit's real path; the job script may have used a link, such as a home.
    kit = os.path.dirname(os.path.realpath(__file__))
    folders = [path for path in app.config_file_paths if os.path.realpath(path) != kit]
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
    except Exception:  # Jupyter has reported the error
        return []
