"""Paths of slurm-nb's own files: state directory, config files, job templates."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

SITE_CONFIG = Path("/etc/slurm-nb/config.toml")


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
    return base / "slurm-nb/config.toml"


def template_folders(environ: Mapping[str, str]) -> tuple[Path, ...]:
    """Return the folders of named templates: the user's, the site's, the examples."""
    site = Path(environ.get("SLURM_NB_SITE_CONFIG") or SITE_CONFIG).absolute()
    configs = (user_config_path(environ), site)
    return (*(path.parent / "templates" for path in configs), templates_folder() / "sites")


def templates_folder() -> Path:
    """Return the folder of job templates: in the package, or one level up in a checkout."""
    package = Path(__file__).parent
    inside = package / "job_templates"
    return inside if inside.is_dir() else package.parent / "job_templates"
