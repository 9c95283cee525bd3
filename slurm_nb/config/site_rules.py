"""Check the values in effect against the locks and limits of a site's file.

They prevent mistakes and are not a security boundary: anyone who can run sbatch can request
anything.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from slurm_nb.config.amounts import amount, gpus_of_gres
from slurm_nb.config.settings import ConfigFile, Place, Setting
from slurm_nb.errors import UserError
from slurm_nb.job.spec import short_options

# sbatch(1), INPUT ENVIRONMENT VARIABLES (22.05).
_VARIABLES = {
    "account": "SBATCH_ACCOUNT", "time": "SBATCH_TIMELIMIT", "partition": "SBATCH_PARTITION",
    "qos": "SBATCH_QOS", "mem": "SBATCH_MEM_PER_NODE", "gpus": "SBATCH_GPUS",
    "gres": "SBATCH_GRES", "constraint": "SBATCH_CONSTRAINT",
    "reservation": "SBATCH_RESERVATION", "clusters": "SBATCH_CLUSTERS",
}  # fmt: skip
# Another option for the same resources (sbatch(1), 24.11).
_ALSO = dict.fromkeys(("gpus", "gres", "cpus-per-task", "mem"), "tres-per-task")


@dataclass(frozen=True)
class InForce:
    """One option of submit with its value."""

    key: str
    """As in config files: `cpus-per-task`."""
    short: str
    """Its short option on the command line, `-c`; empty when it has none."""
    value: object
    """The value for submit; None, False or () if nobody set it."""
    site_value: object
    """The value that the site's file or slurm-nb would set."""
    source: Setting | str | None
    """A file's setting, a variable, a flag; None: the default."""

    @property
    def origin(self) -> str:
        """`FILE:LINE`, `profile NAME in FILE:LINE`, `SLURM_NB_SUBMIT_TIME`, `--time`, `default`."""
        if isinstance(self.source, Setting):
            place = self.source.place
            return f"profile {place.profile} in {place}" if place.profile else str(place)
        return self.source or "default"


def with_sbatch_variables(
    values: Mapping[str, InForce], environ: Mapping[str, str]
) -> dict[str, InForce]:
    """Return `values`, completed with those that sbatch reads from its own variables."""
    found = dict(values)
    for key, name in _VARIABLES.items():
        if key in values and values[key].value is None and environ.get(name):
            found[key] = replace(values[key], value=environ[name], source=name)
    return found


def check_site(site: ConfigFile, values: Mapping[str, InForce]) -> None:
    """Raise `UserError` for the first of `values` that violates a lock or a maximum.

    Rejects the same options among those for sbatch as well, by their names.
    """
    for key, place in site.locked.items():
        check_locked(values[key], place)
    for key, setting in site.maximum.items():
        _check_maximum(values[key], setting)
    if "gpus" in site.maximum:
        _check_gres(values["gres"], site.maximum["gpus"])
    _check_passed_on(site, values)


def shown(value: object) -> str:
    """Return a value as text without quotes; empty if there is no value."""
    if isinstance(value, tuple):
        return " ".join(str(item) for item in value)
    if isinstance(value, bool):
        return str(value).lower()
    return "" if value is None else str(value)


def _given(value: object) -> object:
    """Return `value`, or None if nobody set it."""
    return None if value is False or value == () else value


def check_locked(option: InForce, place: Place) -> None:
    """Raise `UserError` if an option that `place` locks has another value than the site's."""
    if option.source is None or _given(option.value) == _given(option.site_value):
        return
    raise UserError(
        f"{option.key} is locked to {shown(option.site_value) or 'its default'} by {place},"
        f" but {option.origin} says {shown(option.value) or 'nothing'}",
        hint=f"leave {option.key} out; the maintainers of {place.path} can unlock it",
    )


def _check_maximum(option: InForce, maximum: Setting) -> None:
    if option.value is not None:
        _compare(option, str(option.value), maximum)


def _check_gres(gres: InForce, maximum: Setting) -> None:
    gpus = gpus_of_gres(shown(gres.value))
    if gpus:
        _compare(gres, gpus, maximum)


def _compare(option: InForce, text: str, maximum: Setting) -> None:
    if amount(maximum.key, text) > amount(maximum.key, str(maximum.value)):
        from_sbatch = option.source in _VARIABLES.values()
        name = option.source if from_sbatch else f"--{option.key}"
        raise UserError(
            f"{name} {shown(option.value)}: more than {maximum.value}, the maximum that"
            f" {maximum.place} sets",
            hint="request less",
            options=() if from_sbatch else (option.key,),
        )


def _check_passed_on(site: ConfigFile, values: Mapping[str, InForce]) -> None:
    """Reject sbatch options that would bypass a lock or a maximum, unless the site set them."""
    passed_on = values["sbatch-options"]
    words = passed_on.value if isinstance(passed_on.value, tuple) else ()
    places = {**site.locked} | {key: setting.place for key, setting in site.maximum.items()}
    if "gpus" in site.maximum:
        places["gres"] = site.maximum["gpus"].place
    for word in words if passed_on.value != passed_on.site_value else ():
        for key, place in places.items():
            if _is(word, values[key]):
                raise UserError(
                    f"sbatch option {word!r} cannot be passed on: {place} restricts {key}",
                    hint=f"write it before the --, as a slurm-nb option: --{key}",
                    options=(passed_on.key,),
                )


def _is(word: str, option: InForce) -> bool:
    """Return whether a word for sbatch is this option, or its variant per CPU or GPU."""
    if word.startswith("--"):
        name = word[2:].partition("=")[0]
        # sbatch accepts any unambiguous beginning of a long option (getopt_long).
        known = (option.key, _ALSO.get(option.key, ""))
        return name != "" and (
            any(each.startswith(name) for each in known) or name.startswith(f"{option.key}-per-")
        )
    return option.short != "" and option.short[1] in short_options(word)
