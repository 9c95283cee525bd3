"""Find, read, check and layer the config files. Their values are submit's options.

Site: SLURM_NB_SITE_CONFIG, else /etc/slurm-nb/config.toml. User: $XDG_CONFIG_HOME/slurm-nb/
config.toml, else ~/.config/slurm-nb/config.toml. docs/reference/config.md lists the keys.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from slurm_nb.config.settings import ConfigFile, Key, Setting
from slurm_nb.errors import UserError, did_you_mean
from slurm_nb.files import read_trusted
from slurm_nb.paths import SITE_CONFIG, user_config_path


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


def load(
    environ: Mapping[str, str], keys: Collection[Key], *, site_path: Path = SITE_CONFIG
) -> Config:
    """Read both files that `environ` names; no profile is chosen yet.

    Raises `UserError`, naming file and line, for an error in either.
    """
    named = environ.get("SLURM_NB_SITE_CONFIG")
    owners = {0, os.geteuid()}
    site_path = Path(named) if named else site_path
    site = read_trusted(site_path, owners if named else {0})
    if named and site is None:
        raise UserError(
            f"SLURM_NB_SITE_CONFIG {named!r}: there is no such file",
            hint="contact your site, or run: unset SLURM_NB_SITE_CONFIG",
        )
    user_path = user_config_path(environ)
    return Config(
        site=_parse(site_path, site, keys, is_site=True),
        user=_parse(user_path, read_trusted(user_path, owners), keys, is_site=False),
        profile=None,
    )


def _parse(path: Path, text: str | None, keys: Collection[Key], *, is_site: bool) -> ConfigFile:
    if text is None:
        return ConfigFile(path)
    from slurm_nb.config.toml_file import parse  # noqa: PLC0415  often there is no file

    return parse(path, text, keys, is_site=is_site)


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
