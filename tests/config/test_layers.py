"""Config files in layers: their location, their priority, and the output of `slurm-nb config`."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

import click
import pytest

from slurm_nb import paths
from slurm_nb.cli.config_options import Configured, profile_option
from slurm_nb.config.layers import choose_profile, load
from slurm_nb.config.settings import Key
from slurm_nb.errors import UserError
from slurm_nb.files import write_private
from slurm_nb.operations.installation import closed_to_others
from slurm_nb.paths import site_config_path, template_folders, user_config_path
from slurm_nb.scheduler.job import Job
from slurm_nb.session.session import Session
from slurm_nb.session.store import Store
from tests.conftest import NONCE, AddProgram
from tests.fakes import Run, run, running, slurm

__all__ = ["run", "slurm"]  # fixtures

KEYS = [Key("partition", "text"), Key("profile", "text")]


@dataclass(frozen=True)
class Files:
    """The site's and the user's file in a test."""

    site_path: Path
    user_path: Path

    def site(self, text: str) -> None:
        self.site_path.write_text(text, encoding="utf-8")

    def user(self, text: str) -> None:
        self.user_path.parent.mkdir(parents=True, exist_ok=True)
        self.user_path.write_text(text, encoding="utf-8")


@pytest.fixture
def files(clean_environ: pytest.MonkeyPatch, tmp_path: Path, store: Store) -> Files:
    """Return both files, which variables name; the site's file exists and is empty."""
    assert store.folder.is_relative_to(tmp_path)
    site_path = tmp_path / "site.toml"
    site_path.touch()
    clean_environ.setenv("SLURM_NB_SITE_CONFIG", str(site_path))
    return Files(site_path, user_config_path(os.environ))


# --- where the files are, and whether slurm-nb reads them ---


def test_the_users_file_is_where_xdg_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """This is XDG_CONFIG_HOME if it is absolute, otherwise ~/.config."""
    monkeypatch.setenv("HOME", "/home/alice")
    at_home = Path("/home/alice/.config/slurm-nb/config.toml")

    assert user_config_path({"XDG_CONFIG_HOME": "/x"}) == Path("/x/slurm-nb/config.toml")
    assert user_config_path({"XDG_CONFIG_HOME": "x"}) == user_config_path({}) == at_home


def test_without_files_there_are_no_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both files are optional."""
    monkeypatch.setattr("slurm_nb.paths.SITE_CONFIG", tmp_path / "none")
    config = load({"XDG_CONFIG_HOME": str(tmp_path)}, KEYS)

    assert config.in_force == {}


def test_a_site_file_named_by_a_variable_must_exist(tmp_path: Path) -> None:
    """It may have the site's locks, so its absence is an error."""
    with pytest.raises(UserError, match=r"SLURM_NB_SITE_CONFIG '.*none': there is no such file"):
        load({"SLURM_NB_SITE_CONFIG": str(tmp_path / "none")}, KEYS)


@pytest.fixture
def beside(clean_environ: pytest.MonkeyPatch, tmp_path: Path, store: Store) -> Path:
    """Return the path of a site's file next to an installation, before there is a file."""
    assert store.folder.is_relative_to(tmp_path)
    prefix = tmp_path / "srv/slurm-nb/0.1.0"
    prefix.mkdir(parents=True)
    clean_environ.setattr("sys.prefix", str(prefix))
    clean_environ.setattr("slurm_nb.paths.SITE_CONFIG", tmp_path / "etc/config.toml")
    path = prefix.parent / "etc/slurm-nb/config.toml"
    path.parent.mkdir(parents=True)
    return path


def test_a_site_file_may_be_next_to_the_installation(beside: Path, run: Run) -> None:
    """All versions in the same directory share it, with the templates next to it."""
    beside.write_text('partition = "beside"\n')

    assert run("submit", "--dry-run").directives == ["--partition=beside"]
    assert template_folders(os.environ)[1] == beside.parent / "templates"


def test_the_file_in_etc_takes_precedence_over_one_next_to_the_installation(
    beside: Path, run: Run, tmp_path: Path
) -> None:
    """The file that the variable names takes precedence over both."""
    beside.write_text('partition = "beside"\n')
    for folder in ("etc", "named"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "config.toml").write_text(f'partition = "{folder}"\n')

    assert run("submit", "--dry-run").directives == ["--partition=etc"]
    named = {"SLURM_NB_SITE_CONFIG": str(tmp_path / "named/config.toml")}
    assert site_config_path(named) == tmp_path / "named/config.toml"


def test_an_unreadable_file_in_etc_is_not_ignored(
    beside: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its locks would be lost without an error message."""
    beside.write_text("")

    def refuse(_path: Path) -> None:
        raise PermissionError

    monkeypatch.setattr(Path, "lstat", refuse)

    assert site_config_path({}) == paths.SITE_CONFIG


@pytest.mark.skipif(os.geteuid() != 0, reason="takes root to give a file away")
def test_a_file_next_to_the_installation_belongs_to_root_or_its_owner(
    beside: Path, run: Run
) -> None:
    """Only the user who installed the program may change how it runs."""
    beside.write_text('partition = "beside"\n')
    os.chown(beside, 65534, 65534)
    refused = run("submit", "--dry-run")
    os.chown(sys.prefix, 65534, 65534)

    assert refused.code == 1
    assert f"{beside} belongs to nobody" in refused.err
    assert run("submit", "--dry-run").directives == ["--partition=beside"]


@pytest.mark.parametrize("mode", [0o666, 0o602])
def test_a_file_that_others_can_change_is_not_read(files: Files, run: Run, mode: int) -> None:
    """It could remove a safe default; the error gives the chmod command."""
    files.user('listen = "socket"')
    files.user_path.chmod(mode)

    result = run("submit", "--dry-run")

    assert result.code == 1
    assert f"other users can change {files.user_path}" in result.err
    assert f"chmod go-w {files.user_path}" in result.err


@pytest.mark.skipif(os.geteuid() != 0, reason="takes root to give a file away")
def test_a_file_of_another_user_is_not_read(files: Files, run: Run) -> None:
    """This applies to the site's file too."""
    files.user('listen = "socket"')
    os.chown(files.user_path, 65534, 65534)

    result = run("submit", "--dry-run")

    assert result.code == 1
    assert f"{files.user_path} belongs to nobody" in result.err


@pytest.mark.parametrize(
    ("content", "words"), [(b"partition = '\xff'", "not UTF-8 text"), (None, "is not a file")]
)
def test_a_file_that_is_not_text_is_reported(
    files: Files, run: Run, content: bytes | None, words: str
) -> None:
    """It may be in another encoding, or a directory."""
    files.user("")
    if content is not None:
        files.user_path.write_bytes(content)
    else:
        files.user_path.unlink()
        files.user_path.mkdir()

    result = run("submit", "--dry-run")

    assert result.code == 1
    assert str(files.user_path) in result.err
    assert words in result.err or "Is a directory" in result.err


def test_a_pipe_in_place_of_a_file_does_not_hang(files: Files, run: Run) -> None:
    """slurm-nb never reads it, because it is not a regular file."""
    files.user("")
    files.user_path.unlink()
    os.mkfifo(files.user_path)

    assert f"{files.user_path}: is not a file" in run("submit", "--dry-run").err


def test_a_byte_order_mark_and_windows_line_ends_are_accepted(files: Files, run: Run) -> None:
    """Some editors write them."""
    files.user("")
    files.user_path.write_bytes(b"\xef\xbb\xbftime = 5\r\nmem = '1G'\r\n")

    assert run("submit", "--dry-run").directives == ["--time=5", "--mem=1G"]


# --- which value has priority ---


def test_the_layers_have_the_documented_priority(
    files: Files, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Flag > variable > user's profile > site's profile > user > site."""
    files.site(
        'account = "site"\nqos = "site"\npartition = "site"\nmem = "1G"\ntime = 1\nreservation="s"'
        '\n[profiles.x]\npartition = "site-x"\nmem = "3G"\ntime = 3\n'
    )
    files.user(
        'qos = "user"\npartition = "user"\nmem = "2G"\ntime = 2\nreservation = "u"\n'
        '[profiles.x]\nmem = "4G"\ntime = 4\nreservation = "ux"\n'
    )
    monkeypatch.setenv("SLURM_NB_SUBMIT_TIME", "5")
    monkeypatch.setenv("SLURM_NB_SUBMIT_RESERVATION", "env")

    result = run("submit", "--dry-run", "-P", "x", "--reservation", "flag")

    assert result.directives == [
        "--account=site", "--time=5", "--partition=site-x", "--qos=user", "--mem=4G",
        "--reservation=flag",
    ]  # fmt: skip


def test_a_file_can_choose_the_default_profile(files: Files, run: Run) -> None:
    """The user's choice overrides the site's, and a flag overrides both."""
    files.site('profile = "a"\n[profiles.a]\ntime = 1\n[profiles.b]\ntime = 2\n')
    assert run("submit", "--dry-run").directives == ["--time=1"]

    files.user('profile = "b"\n[profiles.c]\ntime = 3\n')

    assert run("submit", "--dry-run").directives == ["--time=2"]
    assert run("submit", "--dry-run", "-P", "c").directives == ["--time=3"]


def test_an_unknown_profile_is_reported_with_the_known_ones(files: Files, run: Run) -> None:
    """The error also names the flag, or file and line."""
    files.user("[profiles.gpu]\ntime = 1\n")
    by_flag = run("submit", "--dry-run", "-P", "gpuu")
    files.user('profile = "gup"\n[profiles.gpu]\ntime = 1\n')
    by_file = run("submit", "--dry-run")

    assert (by_flag.code, by_file.code) == (1, 1)
    assert "--profile 'gpuu': there is no such profile" in by_flag.err
    assert "did you mean gpu? the profiles are gpu" in by_flag.err
    assert f"{files.user_path}:1: profile 'gup'" in by_file.err


def test_a_flag_can_switch_off_a_switch_in_a_file(files: Files, run: Run) -> None:
    """Every switch has its opposite, so that flags always have priority."""
    files.user('route = "direct"\ntls = true\nno-wait = true\n')

    shown = run("config", "--json")
    result = run("submit", "--dry-run", "--no-tls", "--wait", "--route", "jump")

    values = {each["key"]: each["value"] for each in json.loads(shown.out)["values"]}
    assert (values["tls"], values["no-wait"], result.code) == (True, True, 0)


def test_sbatch_options_come_from_a_file_a_variable_or_the_command_line(
    files: Files, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each list replaces the one below it; a variable is split as a shell would."""
    files.user('sbatch-options = ["--comment", "a b"]')
    assert run("submit", "--dry-run").directives == ["--comment 'a b'"]

    monkeypatch.setenv("SLURM_NB_SUBMIT_SBATCH_OPTIONS", "--comment 'c d' --exclusive")

    assert run("submit", "--dry-run").directives == ["--comment 'c d' --exclusive"]
    assert run("submit", "--dry-run", "--", "--hold").directives == ["--hold"]


def test_help_needs_no_file(files: Files, run: Run) -> None:
    """With a broken file you can still read what to write."""
    files.user("= =")

    assert run("submit", "--help").code == run("--help").code == 0


def test_a_repeatable_option_is_a_list(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a file it is a list, and in a variable one value on each line; flags replace both."""

    @click.command("submit", cls=Configured, headings={})
    @profile_option
    @click.option("--setup", multiple=True)
    @click.argument("sbatch_options", nargs=-1)
    def command(setup: tuple[str, ...], sbatch_options: tuple[str, ...]) -> object:
        return setup, sbatch_options

    def called(*words: str) -> object:
        return command.main(list(words), standalone_mode=False)

    files.user('setup = ["module load gcc", "export A=1"]')
    assert called() == (("module load gcc", "export A=1"), ())

    monkeypatch.setenv("SLURM_NB_SUBMIT_SETUP", "module load R\n\nexport B=2\n")

    assert called() == (("module load R", "export B=2"), ())
    assert called("--setup", "x y", "--", "-H") == (("x y",), ("-H",))


# --- where an error is ---


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('\ntime = "2h"', ":2: --time '2h': is not a time limit"),
        ('listen = "sock"', ":1: listen: 'sock' is not one of 'port', 'socket'"),
        ("local-port = 80", ":1: --local-port 80"),
        ("wait-timeout = -1", ":1: wait-timeout: -1 is not in the range x>=0"),
        ('auth = "password"', ":1: --auth password: you have not set a password"),
        ('sbatch-options = ["--array=1-9"]', ":1: slurm-nb cannot pass '--array=1-9' to sbatch"),
        ('idle-timeout = "soon"', ":1: --idle-timeout 'soon': is not a time limit"),
        ("cpus-per-task = 0", ":1: --cpus-per-task 0: must be 1 or more"),
        ('mem = "lots"', ":1: --mem 'lots': is not a size"),
        ('gpus = "few"', ":1: --gpus 'few': is not a number of GPUs"),
        ('job-name = " "', ":1: --job-name ' ': is empty"),
        ('account = "a\\nb"', ":1: --account 'a\\nb': contains a newline"),
        ('notebook-dir = "/no/such"', ":1: --notebook-dir '/no/such': there is no such directory"),
        ('env = "-x"', ":1: --env '-x': must not begin with a dash"),
        ('env = "~nobody.such/x"', ":1: --env '~nobody.such/x': there is no such user"),
        ('module = [""]', ":1: --module '': is empty"),
        ('container = ""', ":1: --container '': is empty"),
        (
            'template = "none.such"',
            ":1: --template 'none.such': there is no template with this name",
        ),
        ('template = "/none.such"', ":1: --template '/none.such': there is no such file"),
        ('login-host = "a b"', ":1: --login-host 'a b': is not a host name"),
        ('route = "jump"\ntls = true', ":1, {file}:2: --tls needs --route direct"),
        ('env = "/e"\ncontainer = "/i"', ":1, {file}:2: --env and --container cannot be combined"),
        ('[profiles.unused]\nui = "x"', ":2: ui: 'x' is not one of"),
        ('route = "direct"\nlisten = "socket"', ":2, {file}:1: --listen socket and --route direct"),
    ],
)
def test_an_impossible_value_is_reported_with_file_and_line(
    files: Files, run: Run, text: str, message: str
) -> None:
    """The exit code is 1, wherever the value is checked."""
    files.user(text)

    result = run("submit", "--dry-run")

    assert result.code == 1
    assert f"{files.user_path}{message.format(file=files.user_path)}" in result.err


def test_an_error_in_a_flag_is_not_blamed_on_a_file(files: Files, run: Run) -> None:
    """The flag overrides the file's value."""
    files.user("time = 5")

    assert run("submit", "--dry-run", "-t", "2h").err.startswith("slurm-nb: --time '2h'")


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("SLURM_NB_SUBMIT_TIME", "2h", "SLURM_NB_SUBMIT_TIME: --time '2h': is not a time limit"),
        ("SLURM_NB_SUBMIT_CPUS_PER_TASK", "x", "SLURM_NB_SUBMIT_CPUS_PER_TASK: 'x' is not a"),
        ("SLURM_NB_SUBMIT_LOGIN_HOST", "-x", "SLURM_NB_SUBMIT_LOGIN_HOST: --login-host"),
        ("SLURM_NB_SUBMIT_TLS", "maybe", "SLURM_NB_SUBMIT_TLS: 'maybe' is not a valid boolean"),
        ("SLURM_NB_SUBMIT_SBATCH_OPTIONS", "'a", 'SLURM_NB_SUBMIT_SBATCH_OPTIONS: "\'a" cannot be'),
        ("SLURM_NB_SUBMIT_PARTITON", "x", "SLURM_NB_SUBMIT_PARTITON: submit has no such option"),
    ],
)
def test_a_wrong_variable_is_named(
    run: Run, monkeypatch: pytest.MonkeyPatch, name: str, value: str, words: str
) -> None:
    """The exit code is 1, and a misspelt name is an error too."""
    monkeypatch.setenv(name, value)

    result = run("submit", "--dry-run")

    assert result.code == 1
    assert words in result.err


# --- the site's rules ---


def test_a_lock_allows_only_the_same_value(
    files: Files, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the site sets no value, the default is locked."""
    files.site('listen = "socket"\nlocked = ["listen", "auth"]\n')
    files.user('listen = "socket"\nauth = "token"\n')
    same = run("submit", "--dry-run", "--listen", "socket")
    flag = run("submit", "--dry-run", "--listen", "port")
    monkeypatch.setenv("SLURM_NB_SUBMIT_AUTH", "password")
    variable = run("submit", "--dry-run")

    assert (same.code, flag.code, variable.code) == (0, 1, 1)
    place = f"{files.site_path}:2"
    assert f"listen is locked to socket by {place}, but --listen says port" in flag.err
    assert f"auth is locked to token by {place}, but SLURM_NB_SUBMIT_AUTH says" in variable.err


def test_a_users_profile_cannot_override_a_lock(files: Files, run: Run) -> None:
    """This is true even under the site's profile name; but the site's own profile may differ."""
    files.site('tls = false\nlocked = ["tls"]\n[profiles.x]\nroute = "direct"\ntls = true\n')
    assert run("submit", "--dry-run", "-P", "x").code == 0

    files.user("[profiles.x]\ntls = false\n")
    result = run("submit", "--dry-run", "-P", "x")

    assert result.code == 1
    assert f"but profile x in {files.user_path}:2 says false" in result.err


def test_a_locked_profile_is_the_only_one(files: Files, run: Run) -> None:
    """`locked` can include the choice of a profile."""
    files.site('profile = "a"\nlocked = ["profile"]\n[profiles.a]\n[profiles.b]\n')

    assert run("submit", "--dry-run", "-P", "a").code == 0
    assert "profile is locked to a by" in run("submit", "--dry-run", "-P", "b").err


def test_the_rules_apply_to_sbatchs_own_variables_too(
    files: Files, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They matter if no option overrides them; the error names them."""
    files.site('qos = "low"\nlocked = ["partition", "qos"]\n[maximum]\ntime = "1-00:00:00"\n')
    monkeypatch.setenv("SBATCH_QOS", "high")
    monkeypatch.setenv("SBATCH_TIMELIMIT", "2-0")
    longer = run("submit", "--dry-run")
    shorter = run("submit", "--dry-run", "-t", "5")
    monkeypatch.setenv("SBATCH_PARTITION", "big")
    elsewhere = run("submit", "--dry-run", "-t", "5")
    shown = run("config")

    assert (shown.code, elsewhere.code) == (1, 1)
    place = f"{files.site_path}:4"
    assert f"SBATCH_TIMELIMIT 2-0: more than 1-00:00:00, the maximum that {place}" in longer.err
    assert shorter.code == 0
    assert "but SBATCH_PARTITION says big" in elsewhere.err


def test_the_error_about_locked_sbatch_options_says_where_they_are(files: Files, run: Run) -> None:
    """They have no option name for the message."""
    files.site('locked = ["sbatch-options"]\n')

    result = run("submit", "--dry-run", "--", "--exclusive")

    assert "but the options after -- says --exclusive" in result.err


def test_a_profile_can_have_an_empty_name(files: Files, run: Run) -> None:
    """TOML allows such tables, and you can choose them."""
    files.user('[profiles.""]\ntime = 5\n')

    assert run("submit", "--dry-run", "-P", "").directives == ["--time=5"]


def test_a_value_above_the_sites_maximum_is_rejected(files: Files, run: Run) -> None:
    """The error names both places."""
    files.site("[maximum]\ncpus-per-task = 4\n")
    files.user("cpus-per-task = 5")

    result = run("submit", "--dry-run")

    assert result.code == 1
    assert f"{files.user_path}:1: --cpus-per-task 5: more than 4" in result.err
    assert f"the maximum that {files.site_path}:2 sets" in result.err


# --- slurm-nb config ---


def test_config_shows_every_value_and_where_it_comes_from(
    files: Files, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each option has one line that ends with the site's rules."""
    files.site('listen = "socket"\nlocked = ["listen"]\n[maximum]\ntime = "1-0"\n')
    files.user('[profiles.x]\ntime = "60"\n')
    monkeypatch.setenv("SLURM_NB_SUBMIT_MEM", "4G")

    result = run("config", "--profile", "x", "--all")

    rows = {line.split()[0]: line.split()[1:] for line in result.out.splitlines()}
    site, user = str(files.site_path), str(files.user_path)
    assert result.code == 0
    assert rows["time"][:5] == ["60", "profile", "x", "in", f"{user}:2"]
    assert rows["time"][5:] == ["at", "most", "1-0", "by", f"{site}:4"]
    assert rows["listen"] == ["socket", f"{site}:1", "locked", "by", f"{site}:2"]
    assert rows["mem"] == ["4G", "SLURM_NB_SUBMIT_MEM"]
    assert rows["ui"] == ["notebook", "default"]
    assert rows["profile"] == ["x", "--profile"]
    assert f"Your file: {user}\n" in result.err


def test_config_has_all_of_submits_options(run: Run) -> None:
    """Each long option of `submit --help` has its row."""
    text = run("submit", "--help").out
    text = text.partition("\nOptions:\n")[2]
    options = set(re.findall(r"^  (?:-\w, )?--([\w-]+) ", text, re.MULTILINE)) - {"help", "again"}

    keys = {each["key"] for each in json.loads(run("config", "--json").out)["values"]}

    assert options
    old = {"cluster"}  # of --local
    assert options | {"sbatch-options"} | old == keys


@pytest.mark.parametrize("locked", ["local", "cluster"])
@pytest.mark.parametrize("words", [["--local"], ["--cluster=local"]])
def test_a_lock_of_local_holds_its_old_name_as_well(
    files: Files, run: Run, locked: str, words: list[str]
) -> None:
    """A site that forbids jobs on the login node forbids them under both names."""
    files.site(f'locked = ["{locked}"]')

    assert run("submit", "--dry-run", *words).code == 1
    assert run("submit", "--dry-run").code == 0
    assert run("config").code == 0


def test_config_json_has_file_and_line(files: Files, run: Run) -> None:
    """Values keep their type for programs."""
    files.site('[maximum]\nmem = "4G"\n')
    files.user("cpus-per-task = 2\nsbatch-options = ['-H']\nlogin-host = 'login:2222'\n")

    values = {each["key"]: each for each in json.loads(run("config", "--json").out)["values"]}

    assert values["cpus-per-task"] == {
        "key": "cpus-per-task", "value": 2, "from": f"{files.user_path}:1", "locked": False,
        "file": str(files.user_path), "line": 1, "profile": None, "maximum": None,
    }  # fmt: skip
    assert values["mem"]["maximum"] == "4G"
    assert values["sbatch-options"]["value"] == ["-H"]
    assert values["login-host"]["value"] == "login:2222"
    assert values["tls"]["value"] is False


def test_config_shows_values_that_submit_would_reject(files: Files, run: Run) -> None:
    """The table comes before the error, with exit code 1."""
    files.site('locked = ["ui"]')
    files.user('ui = "lab"')

    result = run("config")

    assert result.code == 1
    assert re.search(r"^ui +lab ", result.out, re.MULTILINE)
    assert "ui is locked to notebook" in result.err


# --- slurm-nb config init ---


@pytest.fixture
def a_slurm(program: AddProgram) -> None:
    """Provide a Slurm of shell scripts, with accounting."""
    program("sacctmgr", "printf 'project|normal,long\\n'")
    program("scontrol", "echo 'PartitionName=main Default=YES DefaultTime=NONE MaxTime=60'")
    program("sinfo", "echo 'main|8 8000 gpu:2'")


@pytest.mark.usefixtures("a_slurm")
def test_config_init_writes_what_slurm_offers(files: Files, run: Run) -> None:
    """All lines are comments, in a file of mode 0600 with accounts, partitions and QOS."""
    result = run("config", "init")

    text = files.user_path.read_text(encoding="utf-8")
    one_line = text.replace("\n#   ", " ")
    assert result.code == 0
    assert files.user_path.stat().st_mode & 0o777 == 0o600
    assert {line[:1] for line in text.splitlines()} <= {"#", ""}
    assert '#   yours: project\n# account = "project"\n' in text
    assert '#   yours: normal, long\n# qos = "normal"\n' in text
    assert '# partition = "main"\n' in text
    assert (
        "time limit 60, default NONE; the default; nodes with 8 CPUs, 8000M of memory, gpu:2"
        in one_line
    )


@dataclass(frozen=True)
class _Terminal:
    """A terminal as stdin, at which the user types these lines."""

    lines: list[str]

    def isatty(self) -> bool:
        return True

    def readline(self) -> str:
        return f"{self.lines.pop(0)}\n"


@pytest.mark.usefixtures("a_slurm")
@pytest.mark.parametrize(
    ("typed", "host"),
    [
        (["login.hpc.edu"], "login.hpc.edu"),
        (["-oProxyCommand=id", " alice@hpc:2222 "], "hpc:2222"),
        ([""], None),
    ],
)
def test_config_init_asks_for_the_login_host(
    files: Files, run: Run, monkeypatch: pytest.MonkeyPatch, typed: list[str], host: str | None
) -> None:
    """Only the laptop's ssh knows it. After an error the prompt comes again."""
    terminal = _Terminal(typed)
    monkeypatch.setattr("sys.stdin", terminal)

    result = run("config", "init")

    values = json.loads(run("config", "--json").out)["values"]
    assert result.code == 0
    assert "Login node, as you write it after ssh on your laptop" in result.err
    assert terminal.lines == []
    assert [each["value"] for each in values if each["key"] == "login-host"] == [host]
    assert f"Created {files.user_path}. " in result.err


@pytest.mark.usefixtures("a_slurm")
def test_config_init_does_not_ask_for_what_the_site_sets(
    files: Files, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The site knows the name for all users."""
    files.site('login-host = "login.hpc.edu"')
    monkeypatch.setattr("sys.stdin", _Terminal([]))

    result = run("config", "init")

    assert (result.code, "Login node" in result.err) == (0, False)


@pytest.mark.usefixtures("a_slurm")
def test_config_init_replaces_a_file_only_with_force(files: Files, run: Run) -> None:
    """--force keeps the old one as .bak."""
    files.user("time = 5")
    refused = run("config", "init")
    before = files.user_path.read_text(encoding="utf-8")
    forced = run("config", "init", "--force")

    kept = files.user_path.with_name("config.toml.bak").read_text(encoding="utf-8")
    assert (refused.code, forced.code) == (1, 0)
    assert "already exists, so nothing was written" in refused.err
    assert before == kept == "time = 5"


@pytest.mark.usefixtures("a_slurm")
def test_every_line_written_by_config_init_is_valid(files: Files, run: Run) -> None:
    """Without the # at its beginning, each option takes effect, except those for one call."""
    run("config", "init")
    lines = files.user_path.read_text(encoding="utf-8").splitlines()
    taken = [re.sub(r"^# (?=[a-z-]+ = |\[)", "", line) for line in lines]
    files.user("\n".join(taken))

    values = json.loads(run("config", "--json").out)["values"]

    unset = [each["key"] for each in values if each["file"] != str(files.user_path)]
    assert unset == ["profile", "cluster", "open", "dry-run", "json"]  # cluster: local's old name


def test_config_init_can_replace_a_broken_file(files: Files, run: Run, program: AddProgram) -> None:
    """A user who cannot fix the file can start over."""
    program("sinfo", "exit 1")
    files.user("= =")

    assert run("config", "init", "--force").code == 0
    assert run("config").code == 0


# --- the docs ---


@pytest.mark.parametrize(
    ("page", "write"),
    [
        ("admin/site-config", "site"),
        ("reference/config", "user"),
        ("how-to/profiles", "user"),
        ("how-to/gpus", "user"),
        ("how-to/nodes-without-ssh", "user"),
    ],
)
def test_the_config_files_in_the_docs_are_valid(
    files: Files, run: Run, page: str, write: str
) -> None:
    """Each TOML block is loaded as its page's kind of file, with each of its profiles."""
    text = (Path(__file__).parents[2] / f"docs/{page}.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```toml\n(.*?)^```", text, re.MULTILINE | re.DOTALL)

    assert blocks
    for block in blocks:
        {"site": files.site, "user": files.user}[write](block)
        for profile in [None, *re.findall(r"^\[profiles\.(\w+)\]", block, re.MULTILINE)]:
            result = run("submit", "--dry-run", *(["-P", profile] if profile else []))
            assert result.code == 0, result.err


# --- other commands ---


def test_a_broken_file_does_not_hide_a_session(
    files: Files, run: Run, store: Store, program: AddProgram
) -> None:
    """tunnel-cmd uses the options that submit has saved."""
    files.user("= =")
    store.save(Session(job=Job("7", "hpc"), login_host="login"))
    folder = store.session_folder("hpc", "7")
    write_private(folder / "token", "ab" * 32)
    write_private(folder / "nonce", NONCE)
    ready = {"cluster": "hpc", "job_id": "7", "nonce": NONCE, "node": "c1", "port": 40123}
    line = f"slurm-nb ready: {json.dumps({**ready, 'path': '/tree'})}\n"
    store.log_path("7").write_text(line, encoding="utf-8")
    program("squeue", "exit 1")
    program("sacct", "exit 1")

    result = run("tunnel-cmd", "7")

    assert result.code == 0, result
    assert "@login " in result.out


def test_a_profile_may_be_in_only_one_file(files: Files) -> None:
    """It has the same effect as a profile in both."""
    files.user("[profiles.x]\npartition = 'a'\n")
    config = load(os.environ, KEYS)

    assert choose_profile(config, "x").in_force["partition"].value == "a"
    assert "partition" not in choose_profile(config, None).in_force


def test_config_shows_only_set_values(files: Files, run: Run) -> None:
    """33 lines of defaults would hide the five that matter; --all shows them."""
    nothing = run("config")
    files.user('ui = "lab"')
    some, everything = run("config"), run("config", "--all")

    assert (nothing.code, nothing.out) == (0, "")
    assert "Nothing is set. Show the defaults with: slurm-nb config --all\n" in nothing.err
    assert [line.split()[0] for line in some.out.splitlines()] == ["OPTION", "ui"]
    assert "\nlisten " in everything.out


def test_config_as_json_is_one_object_even_if_a_rule_is_violated(files: Files, run: Run) -> None:
    """It has the values and the error."""
    files.site('locked = ["ui"]')
    files.user('ui = "lab"')

    result = run("config", "--json")

    answer = json.loads(result.out)
    assert (answer["exit_code"], result.code) == (1, 1)
    assert answer["values"]


# --- what else a site's file says ---


@pytest.mark.usefixtures("slurm")
def test_a_site_tells_its_users_a_notice_and_where_to_get_help(
    files: Files, run: Run, store: Store
) -> None:
    """They appear at each submission, next to the answer; control characters are escaped."""
    files.site('notice = "down on\\n Monday\\u001b[2J"\nhelp = "help@hpc.test"\n')
    running(store)

    said = run("submit", "--login-host", "login")

    assert "Note from your site: down on Monday\\x1b[2J\n" in said.err
    assert said.out.endswith("\nHelp:        help@hpc.test\n")


def test_an_error_says_where_to_get_help(
    files: Files, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of slurm-nb, one of Slurm, and an internal one; not a mistyped option."""
    files.site('help = "help@hpc.test"\n')
    monkeypatch.setenv("PATH", "/nowhere")

    for words in (["submit", "--mem", "x"], ["submit"], ["status", "999"]):
        assert run(*words).err.endswith("\n  Help: help@hpc.test\n")
    assert "help@hpc.test" not in run("submit", "--nonsense").err
    monkeypatch.setattr("slurm_nb.cli.commands.submit.JobSpec", None)
    assert run("submit").err.endswith("\n  Help: help@hpc.test\n")


@pytest.mark.parametrize("site", ["help = 1", "help = ", "locked = 1\nhelp = 'x'"])
def test_a_broken_site_file_breaks_no_error(files: Files, run: Run, site: str) -> None:
    """The error says what is wrong, with or without a place to get help."""
    files.site(site)

    said = run("submit")

    assert said.code == 1
    assert str(files.site_path) in said.err
    assert said.err.count("\n") <= 3


@pytest.mark.parametrize(
    ("site", "words", "hint"),
    [
        (
            'listen = "socket"\nlocked = ["listen"]',
            ["--route", "direct"],
            "listen is locked by {path}:2: leave out route",
        ),
        ('locked = ["route"]', ["--tls"], "route is locked by {path}:1: leave out tls"),
        (
            'env = "/e"\ncontainer = "/c"\nlocked = ["env", "container"]',
            [],
            "env is locked by {path}:3; container is locked by {path}:3: contact your site",
        ),
    ],
)
def test_a_conflict_with_a_locked_option_says_that_it_is_locked(
    files: Files, run: Run, site: str, words: list[str], hint: str
) -> None:
    """The error names the file, and suggests to leave out the other option."""
    files.site(site)

    said = run("submit", "--dry-run", *words)

    assert said.code == 1
    assert said.err.splitlines()[1] == f"  {hint.format(path=files.site_path)}"


def test_a_site_locks_terminals_off(files: Files, run: Run) -> None:
    """`terminals = false` reaches the job script, and no option turns them on again."""
    files.site('terminals = false\nlocked = ["terminals"]\n')

    assert " SLURM_NB_TERMINALS=no\n" in run("submit", "--dry-run").out
    refused = run("submit", "--dry-run", "--terminals")
    assert f"terminals is locked to false by {files.site_path}:2" in refused.err


def test_a_site_marks_its_jobs_with_a_comment(files: Files, run: Run) -> None:
    """The user's own comes later and so counts for sbatch, unless the site locks it."""
    files.site('comment = "slurm-nb"\n')

    assert run("submit", "--dry-run").directives == ["--comment=slurm-nb"]
    assert run("submit", "--dry-run", "--comment", "mine").directives == ["--comment=mine"]
    passed_on = run("submit", "--dry-run", "--", "--comment=mine").directives
    assert passed_on == ["--comment=slurm-nb", "--comment=mine"]

    files.site('comment = "slurm-nb"\nlocked = ["comment"]\n')

    for words in (["--comment", "mine"], ["--", "--comm=mine"]):
        assert run("submit", "--dry-run", *words).code == 1


def test_only_a_site_has_a_notice(files: Files, run: Run) -> None:
    """In a user's file it is a mistake."""
    files.user('notice = "hello"')

    assert "notice is only allowed in the site's file" in run("submit", "--dry-run").err


# --- an installation that only root can run ---


@pytest.mark.skipif(os.geteuid() != 0, reason="takes root to act as another user")
def test_config_warns_root_that_other_users_cannot_run_the_installation(
    files: Files, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A venv may have a Python below /root: `config` names that Python."""
    assert files.site_path.exists()
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    python = closed / "python3"
    python.symlink_to(shutil.copy(os.path.realpath(sys.executable), closed / "python-real"))
    monkeypatch.setattr(sys, "executable", str(python))

    said = run("config")

    assert said.code == 0
    assert "other users cannot run this installation" in said.err
    assert "Permission denied" in said.err
    assert f"Its Python is {closed}/python-real." in said.err


def test_config_does_not_warn_other_users(monkeypatch: pytest.MonkeyPatch) -> None:
    """They cannot try it, and it runs for them."""
    monkeypatch.setattr(os, "geteuid", lambda: 65534)

    assert closed_to_others() == ""
