"""Static files and templates come only from the directories of Jupyter and the environment."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import jinja2
import pytest
from jupyter_server import DEFAULT_STATIC_FILES_PATH
from jupyter_server.base.handlers import FileFindHandler
from jupyter_server.files.handlers import FilesHandler
from tornado import web

from slurm_nb.kit.security import static_files


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Return a home with the session's directory and folders with files."""
    for name in ("state/session", "private", ".local/share/jupyter/labextensions", ".jupyter"):
        (tmp_path / "home" / name).mkdir(parents=True)
    return tmp_path / "home"


def an_app(home: Path, rules: list[Any], templates: list[str] | None = None) -> Any:
    loader = jinja2.FileSystemLoader(templates or [])
    return SimpleNamespace(
        web_app=web.Application(rules, jinja2_env=jinja2.Environment(loader=loader)),  # noqa: S701
        jupyter_path=[str(home / ".local/share/jupyter"), f"{sys.prefix}/share/jupyter"],
        config_dir=str(home / ".jupyter"),
    )


def dropped(app: Any, home: Path) -> list[str]:
    secret = [str(home / "state/session"), str(home)]
    return static_files.drop_others(app, ours=str(home / "run/page"), secret=secret)


def test_the_directories_of_jupyter_and_the_environment_stay(home: Path) -> None:
    """Extensions installed with --user stay too."""
    paths = [
        DEFAULT_STATIC_FILES_PATH, f"{sys.prefix}/share/jupyter/labextensions",
        str(home / ".local/share/jupyter/labextensions"), str(home / "run/page"),
    ]  # fmt: skip
    app = an_app(home, [("/static/(.*)", FileFindHandler, {"path": list(paths)})], paths[:1])

    assert dropped(app, home) == []
    (rule, *_) = app.web_app.wildcard_router.rules
    assert rule.target_kwargs["path"] == paths
    assert app.web_app.settings["jinja2_env"].loader.searchpath == paths[:1]


@pytest.mark.parametrize("name", ["private", ".", "..", "state", "state/session", "../../.."])
def test_another_directory_is_dropped(home: Path, name: str) -> None:
    """It may be the home, or a directory inside or above it."""
    folder = str(home / name)
    kwargs = {"path": [folder, DEFAULT_STATIC_FILES_PATH]}
    app = an_app(home, [("/static/(.*)", FileFindHandler, kwargs)], [folder])

    assert dropped(app, home) == [folder]
    assert app.web_app.wildcard_router.rules[0].target_kwargs["path"] == [DEFAULT_STATIC_FILES_PATH]
    assert app.web_app.settings["jinja2_env"].loader.searchpath == []


def test_a_link_from_a_good_directory_to_a_bad_one_is_dropped(home: Path) -> None:
    link = home / ".local/share/jupyter/themes"
    link.symlink_to(home)
    app = an_app(home, [("/themes/(.*)", FileFindHandler, {"path": [str(link)]})])

    assert dropped(app, home) == [str(link)]


def test_a_handler_that_loses_its_only_folder_finds_nothing(home: Path) -> None:
    """Tornado's own handler takes exactly one path."""
    folder = str(home / "private")
    app = an_app(home, [("/p/(.*)", web.StaticFileHandler, {"path": folder})])

    assert dropped(app, home) == [folder]
    assert not Path(app.web_app.wildcard_router.rules[0].target_kwargs["path"]).exists()


def test_the_files_of_the_notebook_directory_stay(home: Path) -> None:
    """/files serves them, and asks for the token itself."""
    app = an_app(home, [("/files/(.*)", FilesHandler, {"path": str(home)})])

    assert dropped(app, home) == []
    assert app.web_app.wildcard_router.rules[0].target_kwargs["path"] == str(home)


def test_a_handler_or_package_without_a_path_is_ignored(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A .pth file may create packages, and an extension handlers, with None as their path."""
    package = ModuleType("package_of_a_pth_file")
    package.__path__ = None  # type: ignore[assignment]
    monkeypatch.setitem(sys.modules, package.__name__, package)
    app = an_app(home, [("/static/(.*)", FileFindHandler, {"path": None})], [])

    assert dropped(app, home) == []
