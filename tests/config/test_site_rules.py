"""Locks and maxima, held against values in force."""

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
    """Check with the options that every submit has, if nothing else is said of them."""
    always = [option(key, None) for key in ("gres", "sbatch-options")]
    check_site(site, {each.key: each for each in [*always, *options]})


def limited(key: str, value: str) -> ConfigFile:
    return ConfigFile(FILE, maximum={key: Setting(key, value, LOCK)})


def test_the_locked_value_itself_may_be_given() -> None:
    """Who says the same as the site overrides nothing."""
    check(ConfigFile(FILE, locked={"listen": LOCK}), option("listen", "socket", "socket"))


def test_another_value_than_the_locked_one_is_refused() -> None:
    """The error names who locked it, and who says otherwise."""
    with pytest.raises(UserError, match=rf"listen is locked to socket by {FILE}:3, but --listen"):
        check(ConfigFile(FILE, locked={"listen": LOCK}), option("listen", "port", "socket"))


def test_switching_off_what_is_off_overrides_nothing() -> None:
    """A switch that nobody set is the same as one that is off."""
    check(ConfigFile(FILE, locked={"tls": LOCK}), option("tls", False, None))  # noqa: FBT003


@pytest.mark.parametrize(
    ("key", "maximum", "value"), [("mem", "4G", "4097"), ("time", "60", "0"), ("gpus", "1", "2")]
)
def test_more_than_the_maximum_is_refused(key: str, maximum: str, value: str) -> None:
    """The error names value, maximum, file and line."""
    with pytest.raises(UserError, match=rf"--{key} {value}: more than {maximum}, .* {FILE}:3 sets"):
        check(limited(key, maximum), option(key, value))


def test_the_maximum_itself_and_no_value_at_all_pass() -> None:
    """What is not asked for is Slurm's to choose."""
    check(limited("mem", "4G"), option("mem", "4096"))
    check(limited("mem", "4G"), option("mem", None))


def test_gpus_are_counted_in_gres_too() -> None:
    """The maximum of GPUs has no way round by the other option."""
    with pytest.raises(UserError, match="--gres gpu:a100:4: more than 2"):
        check(limited("gpus", "2"), option("gpus", None), option("gres", "gpu:a100:4"))


@pytest.mark.parametrize("word", ["--mem=1T", "--mem", "--me=1T", "--mem-per-cpu=1T", "-m1T", "-m"])
def test_what_is_ruled_does_not_go_past_slurm_nb_to_sbatch(word: str) -> None:
    """Neither long nor short, nor shortened, nor per CPU."""
    with pytest.raises(UserError, match=rf"'{word}' cannot be passed on: {FILE}:3 restricts"):
        check(
            limited("mem", "4G"),
            option("mem", None, short="-m"),
            option("sbatch-options", (word,)),
        )


@pytest.mark.parametrize("word", ["-Ht6", "-Hst", "-t6"])
def test_a_short_option_behind_others_in_one_word_is_seen(word: str) -> None:
    """sbatch takes `-H -t6` as `-Ht6`, too; the value of another option is none."""
    time = option("time", None, short="-t")
    with pytest.raises(UserError, match=f"'{word}' cannot be passed on"):
        check(limited("time", "5"), time, option("sbatch-options", (word,)))
    check(limited("time", "5"), time, option("sbatch-options", ("-Jt6",)))


@pytest.mark.parametrize(
    ("word", "cure"),
    [("--gres=gpu:8", "--gres"), ("--gpus-per-node=8", "--gpus"), ("--tres-per-t=x", "--gpus")],
)
def test_a_maximum_of_gpus_is_not_passed_by(word: str, cure: str) -> None:
    """All the names by which sbatch gives GPUs are counted among slurm-nb's own options alone."""
    with pytest.raises(UserError, match=f"'{word}' cannot be passed on") as caught:
        check(limited("gpus", "2"), option("gpus", None), option("sbatch-options", (word,)))

    assert caught.value.hint.endswith(f": {cure}")


def test_what_the_site_itself_passes_on_and_what_is_not_ruled_goes_to_sbatch() -> None:
    """The rules are for those who do not make them."""
    words = ("--mem=1T",)
    site = limited("mem", "4G")

    check(site, option("mem", None), option("sbatch-options", words, words))
    check(site, option("mem", None, short="-m"), option("sbatch-options", ("--exclusive", "-H")))
