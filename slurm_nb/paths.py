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
    """Where the user's file is looked for. A relative XDG_CONFIG_HOME is none (XDG base dirs)."""
    base = Path(environ.get("XDG_CONFIG_HOME", ""))
    if not base.is_absolute():
        base = Path(os.path.expanduser("~/.config"))  # noqa: PTH111  where there is no home either
    return base / "slurm-nb/config.toml"


def template_folders(environ: Mapping[str, str]) -> tuple[Path, ...]:
    """Where a template is looked up by its name: the user's folder, the site's, the examples."""
    site = Path(environ.get("SLURM_NB_SITE_CONFIG") or SITE_CONFIG).absolute()
    beside = (user_config_path(environ), site)
    return (*(path.parent / "templates" for path in beside), templates_folder() / "sites")


def templates_folder() -> Path:
    """The folder of job templates: beside the package, or one level up in a checkout."""
    package = Path(__file__).parent
    inside = package / "job_templates"
    return inside if inside.is_dir() else package.parent / "job_templates"
