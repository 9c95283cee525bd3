"""Locks and maxima are compared with the values in effect."""

from __future__ import annotations

from pathlib import Path

import pytest

from slurm_nb.config.settings import ConfigFile, Place, Setting
from slurm_nb.config.site_rules import InForce, check_site
from slurm_nb.errors import UserError

FILE = Path("/etc/slurm-nb/config.toml")
LOCK = Place(FILE, 3)


def option(key: str, value: object, site_value: object = None, **of: str) -> InForce:
    return InForce(key, of.get("short", ""), value, site_value, of.get("source", f"--{key}"))


def check(site: ConfigFile, *options: InForce) -> None:
    """Check these options, and by default the options that every submit has."""
    always = [option(key, None) for key in ("gres", "sbatch-options")]
    check_site(site, {each.key: each for each in [*always, *options]})


def limited(key: str, value: str) -> ConfigFile:
    return ConfigFile(FILE, maximum={key: Setting(key, value, LOCK)})


def test_the_locked_value_itself_is_allowed() -> None:
    """It overrides nothing."""
    check(ConfigFile(FILE, locked={"listen": LOCK}), option("listen", "socket", "socket"))


def test_any_other_value_than_the_locked_one_is_rejected() -> None:
    """The error says where the lock and the other value come from."""
    with pytest.raises(UserError, match=rf"listen is locked to socket by {FILE}:3, but --listen"):
        check(ConfigFile(FILE, locked={"listen": LOCK}), option("listen", "port", "socket"))


def test_a_switch_that_is_off_may_be_switched_off() -> None:
    """An unset switch is off as well."""
    check(ConfigFile(FILE, locked={"tls": LOCK}), option("tls", False, None))  # noqa: FBT003


@pytest.mark.parametrize(
    ("key", "maximum", "value"), [("mem", "4G", "4097"), ("time", "60", "0"), ("gpus", "1", "2")]
)
def test_a_value_above_the_maximum_is_rejected(key: str, maximum: str, value: str) -> None:
    """The error names value, maximum, file and line."""
    with pytest.raises(UserError, match=rf"--{key} {value}: more than {maximum}, .* {FILE}:3 sets"):
        check(limited(key, maximum), option(key, value))


def test_the_maximum_itself_and_no_value_are_allowed() -> None:
    """Slurm chooses missing values."""
    check(limited("mem", "4G"), option("mem", "4096"))
    check(limited("mem", "4G"), option("mem", None))


def test_the_maximum_of_gpus_includes_gres() -> None:
    """The other option must not get around it."""
    with pytest.raises(UserError, match="--gres gpu:a100:4: more than 2"):
        check(limited("gpus", "2"), option("gpus", None), option("gres", "gpu:a100:4"))


@pytest.mark.parametrize("word", ["--mem=1T", "--mem", "--me=1T", "--mem-per-cpu=1T", "-m1T", "-m"])
def test_restricted_options_cannot_be_passed_to_sbatch_directly(word: str) -> None:
    """This holds for long, short and abbreviated options, and per CPU."""
    with pytest.raises(UserError, match=rf"'{word}' cannot be passed on: {FILE}:3 restricts"):
        check(
            limited("mem", "4G"),
            option("mem", None, short="-m"),
            option("sbatch-options", (word,)),
        )


@pytest.mark.parametrize("word", ["-Ht6", "-Hst", "-t6"])
def test_a_short_option_among_others_in_one_word_is_found(word: str) -> None:
    """sbatch accepts `-H -t6` as `-Ht6`; the value of another option is not an option."""
    time = option("time", None, short="-t")
    with pytest.raises(UserError, match=f"'{word}' cannot be passed on"):
        check(limited("time", "5"), time, option("sbatch-options", (word,)))
    check(limited("time", "5"), time, option("sbatch-options", ("-Jt6",)))


@pytest.mark.parametrize(
    ("word", "cure"),
    [("--gres=gpu:8", "--gres"), ("--gpus-per-node=8", "--gpus"), ("--tres-per-t=x", "--gpus")],
)
def test_a_maximum_of_gpus_covers_every_sbatch_option_for_gpus(word: str, cure: str) -> None:
    """sbatch has several, and slurm-nb checks the amount only in its own options."""
    with pytest.raises(UserError, match=f"'{word}' cannot be passed on") as caught:
        check(limited("gpus", "2"), option("gpus", None), option("sbatch-options", (word,)))

    assert caught.value.hint.endswith(f": {cure}")


def test_unrestricted_options_and_the_sites_own_go_to_sbatch() -> None:
    """The rules do not bind the site that makes them."""
    words = ("--mem=1T",)
    site = limited("mem", "4G")

    check(site, option("mem", None), option("sbatch-options", words, words))
    check(site, option("mem", None, short="-m"), option("sbatch-options", ("--exclusive", "-H")))
