"""One config file: its values, and the errors in it."""

from __future__ import annotations

from pathlib import Path

import pytest

from slurm_nb.config.settings import ConfigFile, Key
from slurm_nb.config.toml_file import parse
from slurm_nb.errors import UserError

FILE = Path("/etc/slurm-nb/config.toml")
KEYS = [
    Key("partition", "text", "p"),
    Key("time", "text", "t"),
    Key("cpus-per-task", "number", "c"),
    Key("tls", "switch"),
    Key("module", "list"),
    Key("login-host", "text"),
    Key("profile", "text", "P"),
]


def site(text: str) -> ConfigFile:
    return parse(FILE, text, KEYS, is_site=True)


def test_each_kind_of_option_has_its_kind_of_value() -> None:
    """They are strings, numbers, switches and lists; `time = 90` is accepted as a string."""
    file = site(
        'partition = "core"\ntime = 90\ncpus-per-task = 4\ntls = false\nmodule = ["gcc", "R"]\n'
    )

    assert {key: setting.value for key, setting in file.settings.items()} == {
        "partition": "core",
        "time": "90",
        "cpus-per-task": 4,
        "tls": False,
        "module": ("gcc", "R"),
    }


def test_an_empty_file_has_no_settings() -> None:
    """A file with nothing but comments has none either."""
    assert site("").settings == site("# partition = 1\n").settings == {}


def test_every_value_knows_its_line() -> None:
    """This is true below comments, other tables, quoted names, long lists and inline tables."""
    file = site(
        "# first\n"
        'module = [\n  "a=b",\n  "time = 5",\n]\n'
        'partition = "a"\n'
        '[profiles."big mem"]\n'
        'partition = "b" # = c\n'
        "[maximum]\n"
        "time = 5\n"
        "[profiles]\n"
        "small = { time = 1 }\n"
    )

    assert file.settings["partition"].place.line == 6
    assert str(file.profiles["big mem"]["partition"].place) == f"{FILE}:8"
    assert file.profiles["big mem"]["partition"].place.profile == "big mem"
    assert file.maximum["time"].place.line == 10
    assert file.profiles["small"]["time"].place.line == 12


def test_only_a_newline_ends_a_line() -> None:
    """TOML and editors ignore Unicode's other line ends."""
    file = site('# a\u2028b\u0085c\npartition = "\u2028"\ntime = 5\n')

    assert [setting.place.line for setting in file.settings.values()] == [2, 3]


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ('partiton = "core"', "1: unknown key 'partiton'", "did you mean partition? "),
        ("\ncpus_per_task = 4", "2: unknown key 'cpus_per_task'", "did you mean cpus-per-task? "),
        ('[profile.big]\nmem = "8G"', "1: profile is the name", "write [profiles.big]"),
        ('p = "core"', "1: unknown key 'p'", "did you mean partition? "),
        ('[profiles.a]\ntme = "1"', "2: unknown key 'tme'", "did you mean time? "),
        ("lockd = []", "1: unknown key 'lockd'", "did you mean locked? "),
        ("[maximums]\ntime = 5", "1: unknown key 'maximums'", "did you mean maximum? "),
        ("xyzzy = 1", "1: unknown key 'xyzzy'", "list the keys with: slurm-nb config --all"),
        (
            "time = 02:00:00",
            "1: time must be a string, not a TOML time",
            'write: time = "02:00:00"',
        ),
        ("time = true", "1: time must be a string, not a boolean", 'time = "..."'),
        ("time = 1.5", "1: time must be a string, not a decimal number", 'time = "..."'),
        ('cpus-per-task = "4"', "1: cpus-per-task must be a whole number, not a string", "= 4"),
        ("cpus-per-task = true", "1: cpus-per-task must be a whole number, not a boolean", "= 4"),
        ('tls = "yes"', "1: tls must be true or false, not a string", "tls = true"),
        ('module = "gcc"', "1: module must be a list of strings, not a string", 'module = ["..."]'),
        ("module = [1]", "1: module must be a list of strings, not a list", 'module = ["..."]'),
        ("[partition]\nx = 1", "1: partition must be a string, not a table", "write: partition"),
        ("partition = core", "1: is not TOML: Invalid value", 'partition = "core"'),
        ("time = 1\nmem = 4G", "2: is not TOML", 'mem = "4G"'),
        ('a = 1\npartition = "core', "2: is not TOML", "strings in quotes"),
        (
            'time = "1"\ntime = "2"',
            "2: is not TOML: Cannot overwrite a value",
            "one value per line",
        ),
        ("time = " + "9" * 5000, "1: is not TOML", "strings in quotes"),
        ("time = " + "[" * 5000, "1: is not TOML", "strings in quotes"),
        ('locked = "tls"', "1: locked must be a list", 'write ["..."]'),
        ('locked = ["tsl"]', "1: locked: unknown key 'tsl'", "did you mean tls? "),
        ("locked = [1]", "1: locked: unknown key 1", "slurm-nb config"),
        ("maximum = 4", "1: maximum must be a table", "write [maximum]"),
        ('[maximum]\nmme = "4G"', "2: maximum: unknown key 'mme'", "did you mean mem? "),
        ('[maximum]\nmem = "lots"', "2: maximum: --mem 'lots': is not a size", "write 4G"),
        ("[maximum]\ntime = true", "2: time must be a string, not a boolean", "write: time"),
        ('profiles = ["a"]', "1: profiles must be a table", "write [profiles]"),
        ('[profiles]\ntime = "5"', "2: a profile must be a table", "[profiles.NAME]"),
        ('[profiles.a]\nprofile = "b"', "2: profile must be at the top", ""),
        ("[profiles.a]\nlocked = []", "2: locked must be at the top", ""),
    ],
)
def test_an_error_has_file_line_and_the_likely_meaning(text: str, message: str, hint: str) -> None:
    """It is one line with file, line and key, and a hint what to write."""
    with pytest.raises(UserError) as caught:
        site(text)

    assert f"{FILE}:{message}" in str(caught.value)
    assert hint in caught.value.hint
    assert "\n" not in str(caught.value) + caught.value.hint
    assert len(caught.value.hint) < 200


@pytest.mark.parametrize("text", ['locked = ["tls"]', "[maximum]\ntime = 5"])
def test_only_a_site_can_lock_and_limit(text: str) -> None:
    """The error in a user's file says that these keys are the site's."""
    with pytest.raises(UserError, match=r"1: (locked|maximum) is only allowed in the site's file"):
        parse(FILE, text, KEYS, is_site=False)
