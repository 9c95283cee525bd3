"""Find, read, check and layer the config files. Their values are submit's options.

paths.py says where they are; docs/reference/config.md lists the keys.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from slurm_nb.config.toml_file import ConfigFile, Key, Setting, help_in, parse
from slurm_nb.errors import UserError, did_you_mean
from slurm_nb.files import read_trusted
from slurm_nb.paths import site_config_beside, site_config_path, user_config_path


@dataclass(frozen=True)
class Config:
    """Both files; the user's overrides the site's."""

    site: ConfigFile
    user: ConfigFile
    profile: str | None
    """The chosen one."""

    @property
    def profiles(self) -> list[str]:
        """Names of the profiles in either file."""
        return sorted({*self.site.profiles, *self.user.profiles})

    @property
    def of_site(self) -> dict[str, Setting]:
        """The site's values by key; its part of the profile overrides its other values."""
        return {**self.site.settings, **self._profile_of(self.site)}

    @property
    def in_force(self) -> dict[str, Setting]:
        """profile > user > site, and within the profile user > site; by key."""
        return {
            **self.site.settings,
            **self.user.settings,
            **self._profile_of(self.site),
            **self._profile_of(self.user),
        }

    def _profile_of(self, file: ConfigFile) -> Mapping[str, Setting]:
        return {} if self.profile is None else file.profiles.get(self.profile, {})


def load(environ: Mapping[str, str], keys: Collection[Key]) -> Config:
    """Read both files that `environ` names; no profile is chosen yet.

    Raises `UserError`, naming file and line, for an error in either.
    """
    site_path, site = _read_site(environ)
    user_path = user_config_path(environ)
    user = read_trusted(user_path, {0, os.geteuid()})
    return Config(
        site=parse(site_path, site, keys, is_site=True),
        user=parse(user_path, user or "", keys, is_site=False),
        profile=None,
    )


def find_help(environ: Mapping[str, str]) -> str:
    """Return where the site's users get help, if its file says so and can be read; else empty."""
    try:
        return help_in(_read_site(environ)[1])
    except UserError:
        return ""


def _read_site(environ: Mapping[str, str]) -> tuple[Path, str]:
    """Return the path of the site's file and its text."""
    path, named = site_config_path(environ), environ.get("SLURM_NB_SITE_CONFIG")
    owners = {0}
    if named:
        owners.add(os.geteuid())
    elif path == site_config_beside():
        owners.add(Path(sys.prefix).stat().st_uid)  # they can change the program too
    text = read_trusted(path, owners)
    if named and text is None:
        raise UserError(
            f"SLURM_NB_SITE_CONFIG {named!r}: there is no such file",
            hint="contact your site, or run: unset SLURM_NB_SITE_CONFIG",
        )
    return path, text or ""


def choose_profile(config: Config, asked: str | None) -> Config:
    """Return `config` with the profile `asked`, else the one that the files name.

    Raises `UserError` if neither file has it.
    """
    named = config.user.settings.get("profile") or config.site.settings.get("profile")
    profile = asked if asked is not None else str(named.value) if named else None
    known = config.profiles
    if profile is not None and profile not in known:
        where = "--profile" if asked is not None or named is None else f"{named.place}: profile"
        listed = f"the profiles are {', '.join(known)}" if known else "neither file has a profile"
        raise UserError(
            f"{where} {profile!r}: there is no such profile",
            hint=f"{did_you_mean(profile, known)}{listed} ({config.site.path}, {config.user.path})",
        )
    return Config(config.site, config.user, profile)
