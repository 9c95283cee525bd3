"""Config files in layers: where they are, which value wins, what `slurm-nb config` shows."""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path

import click
import pytest

from slurm_nb.cli.config_options import Configured, profile_option
from slurm_nb.config.layers import choose_profile, load
from slurm_nb.config.toml_file import Key
from slurm_nb.errors import UserError
from slurm_nb.files import write_private
from slurm_nb.paths import user_config_path
from slurm_nb.scheduler.job import Job
from slurm_nb.session.session import Session
from slurm_nb.session.store import Store
from tests.conftest import NONCE, AddProgram
from tests.fakes import Run, run

__all__ = ["run"]  # a fixture

KEYS = [Key("partition", "text"), Key("profile", "text")]


@dataclass(frozen=True)
class Files:
    """A site's and a user's file of this test."""

    site_path: Path
    user_path: Path

    def site(self, text: str) -> None:
        self.site_path.write_text(text, encoding="utf-8")

    def user(self, text: str) -> None:
        self.user_path.parent.mkdir(parents=True, exist_ok=True)
        self.user_path.write_text(text, encoding="utf-8")


@pytest.fixture
def files(clean_environ: pytest.MonkeyPatch, tmp_path: Path, store: Store) -> Files:
    """Both are named by variables; the site's is there, and empty."""
    assert store.folder.is_relative_to(tmp_path)
    site_path = tmp_path / "site.toml"
    site_path.touch()
    clean_environ.setenv("SLURM_NB_SITE_CONFIG", str(site_path))
    return Files(site_path, user_config_path(os.environ))


# --- where the files are, and whether they are read ---


def test_the_users_file_is_where_xdg_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """XDG_CONFIG_HOME if it is absolute, else ~/.config."""
    monkeypatch.setenv("HOME", "/home/alice")
    at_home = Path("/home/alice/.config/slurm-nb/config.toml")

    assert user_config_path({"XDG_CONFIG_HOME": "/x"}) == Path("/x/slurm-nb/config.toml")
    assert user_config_path({"XDG_CONFIG_HOME": "x"}) == user_config_path({}) == at_home


def test_no_files_are_no_settings(tmp_path: Path) -> None:
    """Neither file need be there."""
    config = load({"XDG_CONFIG_HOME": str(tmp_path)}, KEYS, site_path=tmp_path / "none")

    assert config.in_force == {}


def test_a_site_file_that_a_variable_names_must_be_there(tmp_path: Path) -> None:
    """It may carry the site's locks: that they went missing is said."""
    with pytest.raises(UserError, match=r"SLURM_NB_SITE_CONFIG '.*none': there is no such file"):
        load({"SLURM_NB_SITE_CONFIG": str(tmp_path / "none")}, KEYS)


@pytest.mark.parametrize("mode", [0o666, 0o602])
def test_a_file_that_others_may_change_is_not_read(files: Files, run: Run, mode: int) -> None:
    """It could take a safe default away; the chmod line is told."""
    files.user('listen = "socket"')
    files.user_path.chmod(mode)

    result = run("submit", "--dry-run")

    assert result.code == 1
    assert f"other users can change {files.user_path}" in result.err
    assert f"chmod go-w {files.user_path}" in result.err


@pytest.mark.skipif(os.geteuid() != 0, reason="takes root to give a file away")
def test_a_file_of_another_user_is_not_read(files: Files, run: Run) -> None:
    """Neither the site's nor the user's."""
    files.user('listen = "socket"')
    os.chown(files.user_path, 65534, 65534)

    result = run("submit", "--dry-run")

    assert result.code == 1
    assert f"{files.user_path} belongs to nobody" in result.err


@pytest.mark.parametrize(
    ("content", "words"), [(b"partition = '\xff'", "not UTF-8 text"), (None, "is not a file")]
)
def test_what_is_no_text_file_is_told(
    files: Files, run: Run, content: bytes | None, words: str
) -> None:
    """Bytes that are no UTF-8, or a directory."""
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


def test_a_pipe_in_place_of_a_file_does_not_hang_it(files: Files, run: Run) -> None:
    """It is no file, and nobody waits for what may come out of it."""
    files.user("")
    files.user_path.unlink()
    os.mkfifo(files.user_path)

    assert f"{files.user_path}: is not a file" in run("submit", "--dry-run").err


def test_a_byte_order_mark_and_line_ends_of_windows_are_no_mistake(files: Files, run: Run) -> None:
    """As some editors write them."""
    files.user("")
    files.user_path.write_bytes(b"\xef\xbb\xbftime = 5\r\nmem = '1G'\r\n")

    assert run("submit", "--dry-run").directives == ["--time=5", "--mem=1G"]


# --- which value wins ---


def test_layers(files: Files, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Flag > variable > user's profile > site's profile > user > site, each over the next."""
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


def test_a_file_names_the_profile_that_is_taken_without_a_flag(files: Files, run: Run) -> None:
    """The user's choice goes before the site's, a flag before both."""
    files.site('profile = "a"\n[profiles.a]\ntime = 1\n[profiles.b]\ntime = 2\n')
    assert run("submit", "--dry-run").directives == ["--time=1"]

    files.user('profile = "b"\n[profiles.c]\ntime = 3\n')

    assert run("submit", "--dry-run").directives == ["--time=2"]
    assert run("submit", "--dry-run", "-P", "c").directives == ["--time=3"]


def test_a_profile_that_nobody_has_is_told_with_those_there_are(files: Files, run: Run) -> None:
    """And who named it: the flag, or file and line."""
    files.user("[profiles.gpu]\ntime = 1\n")
    by_flag = run("submit", "--dry-run", "-P", "gpuu")
    files.user('profile = "gup"\n[profiles.gpu]\ntime = 1\n')
    by_file = run("submit", "--dry-run")

    assert (by_flag.code, by_file.code) == (1, 1)
    assert "--profile 'gpuu': there is no such profile" in by_flag.err
    assert "did you mean gpu? the profiles are gpu" in by_flag.err
    assert f"{files.user_path}:1: profile 'gup'" in by_file.err


def test_what_a_file_switches_on_a_flag_switches_off(files: Files, run: Run) -> None:
    """Every switch has its opposite, so that flags always win."""
    files.user('route = "direct"\ntls = true\nno-wait = true\n')

    shown = run("config", "--json")
    result = run("submit", "--dry-run", "--no-tls", "--wait", "--route", "jump")

    values = {each["key"]: each["value"] for each in json.loads(shown.out)["values"]}
    assert (values["tls"], values["no-wait"], result.code) == (True, True, 0)


def test_words_for_sbatch_come_from_a_file_a_variable_or_the_command_line(
    files: Files, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A list replaces the one below it; a variable holds words as a shell has them."""
    files.user('sbatch-options = ["--comment", "a b"]')
    assert run("submit", "--dry-run").directives == ["--comment 'a b'"]

    monkeypatch.setenv("SLURM_NB_SUBMIT_SBATCH_OPTIONS", "--comment 'c d' --exclusive")

    assert run("submit", "--dry-run").directives == ["--comment 'c d' --exclusive"]
    assert run("submit", "--dry-run", "--", "--hold").directives == ["--hold"]


def test_help_needs_no_file(files: Files, run: Run) -> None:
    """A broken file does not keep anybody from reading what to write."""
    files.user("= =")

    assert run("submit", "--help").code == run("--help").code == 0


def test_an_option_that_can_be_repeated_is_a_list(
    files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A list in a file; in a variable one value on each line; flags replace both."""

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


# --- who is to blame ---


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
def test_an_impossible_value_is_told_with_file_and_line(
    files: Files, run: Run, text: str, message: str
) -> None:
    """Exit code 1, whoever finds out that it can't be."""
    files.user(text)

    result = run("submit", "--dry-run")

    assert result.code == 1
    assert f"{files.user_path}{message.format(file=files.user_path)}" in result.err


def test_a_flags_own_mistake_is_not_laid_on_a_file(files: Files, run: Run) -> None:
    """The file's value was not in force."""
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
    """Exit code 1; a misspelt one is not passed over."""
    monkeypatch.setenv(name, value)

    result = run("submit", "--dry-run")

    assert result.code == 1
    assert words in result.err


# --- the site's rules ---


def test_a_lock_holds_against_all_but_the_same_value(
    files: Files, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The default is locked where the site sets none."""
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


def test_a_users_profile_does_not_go_past_a_lock(files: Files, run: Run) -> None:
    """Nor does one of the site's name; but the site's own profile may differ."""
    files.site('tls = false\nlocked = ["tls"]\n[profiles.x]\nroute = "direct"\ntls = true\n')
    assert run("submit", "--dry-run", "-P", "x").code == 0

    files.user("[profiles.x]\ntls = false\n")
    result = run("submit", "--dry-run", "-P", "x")

    assert result.code == 1
    assert f"but profile x in {files.user_path}:2 says false" in result.err


def test_a_locked_profile_is_the_only_one(files: Files, run: Run) -> None:
    """`locked` takes the choice of a profile too."""
    files.site('profile = "a"\nlocked = ["profile"]\n[profiles.a]\n[profiles.b]\n')

    assert run("submit", "--dry-run", "-P", "a").code == 0
    assert "profile is locked to a by" in run("submit", "--dry-run", "-P", "b").err


def test_what_sbatch_would_take_from_its_own_variables_is_ruled_too(
    files: Files, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where no option beats them; they are named."""
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


def test_locked_words_for_sbatch_are_told_where_they_were_typed(files: Files, run: Run) -> None:
    """They have no option's name that the message could say."""
    files.site('locked = ["sbatch-options"]\n')

    result = run("submit", "--dry-run", "--", "--exclusive")

    assert "but the options after -- says --exclusive" in result.err


def test_a_profile_without_a_name_is_one(files: Files, run: Run) -> None:
    """TOML has such tables; who asks for it gets its values."""
    files.user('[profiles.""]\ntime = 5\n')

    assert run("submit", "--dry-run", "-P", "").directives == ["--time=5"]


def test_more_than_the_sites_maximum_in_the_users_file(files: Files, run: Run) -> None:
    """Both places are named."""
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
    """A line for each option, with the site's rules behind."""
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
    """Each long option of `submit --help` is a row, whoever added it."""
    text = run("submit", "--help").out
    text = text.partition("\nOptions:\n")[2]
    options = set(re.findall(r"^  (?:-\w, )?--([\w-]+) ", text, re.MULTILINE)) - {"help", "again"}

    keys = {each["key"] for each in json.loads(run("config", "--json").out)["values"]}

    assert options
    assert options | {"sbatch-options"} == keys


def test_config_json_tells_file_and_line(files: Files, run: Run) -> None:
    """The same for programs; values keep their kind."""
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


def test_config_shows_also_what_submit_would_refuse(files: Files, run: Run) -> None:
    """The table first, then the refusal with exit code 1."""
    files.site('locked = ["ui"]')
    files.user('ui = "lab"')

    result = run("config")

    assert result.code == 1
    assert re.search(r"^ui +lab ", result.out, re.MULTILINE)
    assert "ui is locked to notebook" in result.err


# --- slurm-nb config init ---


@pytest.fixture
def a_slurm(program: AddProgram) -> None:
    """A Slurm of shell scripts, with accounting."""
    program("sacctmgr", "printf 'project|normal,long\\n'")
    program("scontrol", "echo 'PartitionName=main Default=YES DefaultTime=NONE MaxTime=60'")
    program("sinfo", "echo 'main|8 8000 gpu:2'")


@pytest.mark.usefixtures("a_slurm")
def test_config_init_writes_what_slurm_says(files: Files, run: Run) -> None:
    """All comments, 0600, with accounts, partitions and qualities of service."""
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
def test_config_init_never_replaces_a_file_unasked(files: Files, run: Run) -> None:
    """With --force the old one is kept as .bak."""
    files.user("time = 5")
    refused = run("config", "init")
    before = files.user_path.read_text(encoding="utf-8")
    forced = run("config", "init", "--force")

    kept = files.user_path.with_name("config.toml.bak").read_text(encoding="utf-8")
    assert (refused.code, forced.code) == (1, 0)
    assert "already exists, so nothing was written" in refused.err
    assert before == kept == "time = 5"


@pytest.mark.usefixtures("a_slurm")
def test_every_line_that_config_init_wrote_can_be_taken(files: Files, run: Run) -> None:
    """With the # taken away from its line, each option but the one-off ones is in force."""
    run("config", "init")
    lines = files.user_path.read_text(encoding="utf-8").splitlines()
    taken = [re.sub(r"^# (?=[a-z-]+ = |\[)", "", line) for line in lines]
    files.user("\n".join(taken))

    values = json.loads(run("config", "--json").out)["values"]

    unset = [each["key"] for each in values if each["file"] != str(files.user_path)]
    assert unset == ["profile", "open", "dry-run", "json"]


def test_config_init_can_replace_a_broken_file(files: Files, run: Run, program: AddProgram) -> None:
    """Who can't mend the file starts anew."""
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
def test_the_files_of_the_docs_are_good_ones(files: Files, run: Run, page: str, write: str) -> None:
    """Each TOML block, in the file that its page is about, with each of its profiles."""
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
    """tunnel-cmd needs no file where submit has saved what it resolved."""
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


def test_a_profile_is_part_of_no_file_alone(files: Files) -> None:
    """A profile that only one file has is as good as one that both have."""
    files.user("[profiles.x]\npartition = 'a'\n")
    config = load(os.environ, KEYS)

    assert choose_profile(config, "x").in_force["partition"].value == "a"
    assert "partition" not in choose_profile(config, None).in_force


def test_config_shows_only_what_is_set(files: Files, run: Run) -> None:
    """33 lines of defaults would hide the five that matter; --all shows them."""
    nothing = run("config")
    files.user('ui = "lab"')
    some, everything = run("config"), run("config", "--all")

    assert (nothing.code, nothing.out) == (0, "")
    assert "Nothing is set. Show the defaults with: slurm-nb config --all\n" in nothing.err
    assert [line.split()[0] for line in some.out.splitlines()] == ["OPTION", "ui"]
    assert "\nlisten " in everything.out


def test_config_as_json_is_one_object_even_if_a_rule_is_violated(files: Files, run: Run) -> None:
    """The values and the error together."""
    files.site('locked = ["ui"]')
    files.user('ui = "lab"')

    result = run("config", "--json")

    answer = json.loads(result.out)
    assert (answer["exit_code"], result.code) == (1, 1)
    assert answer["values"]
