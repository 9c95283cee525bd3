"""Paths of slurm-nb's own files: state directory, config files, job templates."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

SITE_CONFIG = Path("/etc/slurm-nb/config.toml")
# For a user without a home (Debian Policy, 9.2.3), in place of the current directory.
_NO_HOME = Path("/nonexistent")
TEMPLATE_SUFFIX = ".sh.j2"


def state_dir(environ: Mapping[str, str]) -> Path:
    """Return SLURM_NB_HOME, else $XDG_STATE_HOME/slurm-nb, else ~/.local/state/slurm-nb."""
    if environ.get("SLURM_NB_HOME"):
        folder = Path(environ["SLURM_NB_HOME"])
    elif Path(environ.get("XDG_STATE_HOME", "")).is_absolute():
        folder = Path(environ["XDG_STATE_HOME"], "slurm-nb")
    else:
        folder = Path("~/.local/state/slurm-nb").expanduser()
    return Path(os.path.abspath(folder))


def user_config_path(environ: Mapping[str, str]) -> Path:
    """Return the path of the user's config file, ignoring a relative XDG_CONFIG_HOME (XDG)."""
    base = Path(environ.get("XDG_CONFIG_HOME", ""))
    if not base.is_absolute():
        base = Path(os.path.expanduser("~/.config"))  # noqa: PTH111  works without a home as well
    if not base.is_absolute():
        base = _NO_HOME
    return base / "slurm-nb/config.toml"


def site_config_path(environ: Mapping[str, str]) -> Path:
    """Return the path of the site's config file; it need not exist.

    SLURM_NB_SITE_CONFIG, else the one in /etc, else the one next to the installation.
    """
    if environ.get("SLURM_NB_SITE_CONFIG"):
        return Path(environ["SLURM_NB_SITE_CONFIG"]).absolute()
    beside = site_config_beside()
    return beside if not _may_exist(SITE_CONFIG) and _may_exist(beside) else SITE_CONFIG


def site_config_beside() -> Path:
    """Return `/srv/slurm-nb/etc/slurm-nb/config.toml` for an environment `/srv/slurm-nb/0.1.0`."""
    return Path(sys.prefix).parent / "etc/slurm-nb/config.toml"


def _may_exist(path: Path) -> bool:
    """Return whether there is something at a path, or an error keeps this user from knowing."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
    return True


def template_folders(environ: Mapping[str, str]) -> tuple[Path, ...]:
    """Return the folders of named templates: the user's, the site's, the examples."""
    configs = (user_config_path(environ), site_config_path(environ))
    return (*(path.parent / "templates" for path in configs), templates_folder() / "sites")


def named_templates(folders: Iterable[Path]) -> dict[str, Path]:
    """Return the templates in folders by name; an earlier folder takes precedence."""
    found: dict[str, Path] = {}
    for folder in folders:
        for path in sorted(folder.glob(f"*{TEMPLATE_SUFFIX}")):
            found.setdefault(path.name.removesuffix(TEMPLATE_SUFFIX), path)
    return found


def templates_folder() -> Path:
    """Return the folder of job templates: in the package, or one level up in a checkout."""
    package = Path(__file__).parent
    inside = package / "job_templates"
    return inside if inside.is_dir() else package.parent / "job_templates"
