"""Limits static files and page templates to directories of Jupyter and of the environment."""

from __future__ import annotations

import os
import site
import sys
from typing import Any, Iterator, List, Sequence

from jupyter_server.base.handlers import AuthenticatedFileHandler
from jupyter_server.files.handlers import FilesHandler
from tornado import web

from . import routes

_USERS_FILES = (AuthenticatedFileHandler, FilesHandler)  # they serve the user's files on purpose


def drop_others(app: Any, *, ours: str, secret: Sequence[str]) -> List[str]:
    """Stop serving files of other directories, and return the directories dropped.

    ours: the kit's own directory. secret: directories that a served one must not contain.
    """
    homes = [ours, *_own_directories(app)]
    dropped = []
    for rule in routes.rules(app.web_app):
        kwargs = rule.target_kwargs or {}
        if "path" in kwargs and _is_static(rule.target):
            given = kwargs["path"]
            roots = [given] if isinstance(given, str) else list(given or ())
            kept = [root for root in roots if _may_be_served(root, homes, secret)]
            dropped += [root for root in roots if root not in kept and os.path.isdir(_real(root))]
            if len(kept) < len(roots):
                nothing = os.path.join(ours, "nothing")
                kwargs["path"] = (kept or [nothing])[0] if isinstance(given, str) else kept
    for value in list(app.web_app.settings.values()):
        searched = getattr(getattr(value, "loader", None), "searchpath", None)  # jinja2's
        if isinstance(searched, list):
            given = list(searched)
            searched[:] = [root for root in given if _may_be_served(root, homes, secret)]
            dropped += [root for root in given if root not in searched and os.path.isdir(root)]
    return sorted(set(dropped))


def _is_static(target: Any) -> bool:
    is_class = isinstance(target, type)
    return is_class and issubclass(target, web.StaticFileHandler) and target not in _USERS_FILES


def _may_be_served(root: str, homes: Sequence[str], secret: Sequence[str]) -> bool:
    real = _real(root)
    holds_secret = any(_is_within(_real(folder), real) for folder in secret)
    return not holds_secret and any(_is_within(real, home) for home in homes)


def _own_directories(app: Any) -> Iterator[str]:
    yield from map(_real, (sys.prefix, sys.base_prefix))
    yield from map(_real, [*site.getsitepackages(), site.getusersitepackages()])
    yield from map(_real, app.jupyter_path)
    yield _real(os.path.join(app.config_dir, "custom"))
    for module in list(sys.modules.values()):
        # Of packages, wherever installed; a .pth file may create one with None.
        for folder in list(getattr(module, "__path__", None) or ()):
            if isinstance(folder, str):
                yield _real(folder)


def _real(path: str) -> str:
    return os.path.realpath(os.path.expanduser(path))


def _is_within(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip(os.sep) + os.sep)
