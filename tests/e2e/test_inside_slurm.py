"""Inside and around Slurm: variables passed to jobs, and shells, filters and homes of sites."""

from __future__ import annotations

import json
import os
import re
import shlex
from collections.abc import Iterator, Mapping

import pytest

from tests.cluster import POOR_ACCOUNT, Cluster
from tests.cluster.users import FIA, TESS, ZARA, ZOE
from tests.e2e.scientist import Said, Scientist

ENVIRON = "import json, os; print(json.dumps(dict(os.environ)))"
# A shell on a login node may have these variables.
SHELL = {
    "PATH": "/home/alice/miniforge3/bin:/srv/venv/bin:/home/alice/bin:/usr/local/bin:/usr/bin:/bin",
    "VIRTUAL_ENV": "/home/alice/venv",
    "CONDA_PREFIX": "/home/alice/miniforge3",
    "PYTHONPATH": "/home/alice/lib",
    "PYTHONSTARTUP": "/home/alice/start.py",
    "LD_LIBRARY_PATH": "/home/alice/lib",
    "OMP_NUM_THREADS": "128",
    "CUDA_VISIBLE_DEVICES": "7",
    "DISPLAY": "localhost:10",
    "XDG_RUNTIME_DIR": "/run/user/21001",
    "TMPDIR": "/tmp/only-on-login",
    "BASH_ENV": "/home/alice/no-such-file",
    "BASH_FUNC_ml%%": "() { echo ml; }",
    "AWS_SECRET_ACCESS_KEY": "hunter2",
    "PMI_RANK": "3",
    "SLURM_JOB_ID": "999999",
    "SLURM_JOB_CPUS_PER_NODE": "64",
    "SLURM_NTASKS": "9",
    "SLURM_CPUS_PER_TASK": "9",
    "SLURM_NB_SESSION": "testbed/999999",
    "JUPYTER_TOKEN": "mine",
}
CROSSES = {
    "LANG": "C.UTF-8",
    "TZ": "Europe/Stockholm",
    "XDG_DATA_HOME": "/home/alice/.local/share",
    "http_proxy": "http://proxy.test:3128",
    "no_proxy": "localhost,127.0.0.1",
}


def _environ(owner: Scientist, record: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a cell of the session."""
    with owner.tunnel(record["tunnel_command"]):
        environ: dict[str, str] = json.loads(owner.run_cell(record["url"], ENVIRON)["output"])
    return environ


def test_the_shell_that_called_submit_does_not_leak_into_the_job(alice: Scientist) -> None:
    """A cell sees this job's SLURM_*, the variables of a login, and nothing else from the shell."""
    record = alice.submit("-w", "c1", env=SHELL | CROSSES)

    environ = _environ(alice, record)

    assert {name: environ.get(name) for name in CROSSES} == CROSSES
    assert environ["SLURM_JOB_ID"] == record["job_id"]
    assert environ["SLURM_NB_SESSION"] == f"testbed/{record['job_id']}"
    assert environ["SLURM_JOB_CPUS_PER_NODE"] == "1"
    assert environ["PATH"] == "/home/alice/bin:/usr/local/bin:/usr/bin:/bin"
    assert environ["HOME"] == "/home/alice"
    told = {name for name in SHELL if environ.get(name) == SHELL[name]}
    assert told == set()
    assert "SLURM_CPUS_PER_TASK" not in environ


def test_no_value_of_the_shell_shows_in_a_list_of_processes(alice: Scientist) -> None:
    """While sbatch works, arguments contain neither values nor secrets of the caller's shell."""
    env = alice.program(
        "sbatch",
        '#!/bin/bash\nps -e -o args= >"$HOME/bin/seen"\nexec /usr/bin/sbatch "$@"\n',
    )

    alice.submit(env=SHELL | CROSSES | env)

    seen = (alice.home / "bin/seen").read_text()
    assert "sbatch --parsable" in seen
    assert not [value for value in ("hunter2", "proxy.test", "miniforge3") if value in seen]


def test_export_passes_the_variables_that_it_names(alice: Scientist) -> None:
    """`-- --export` is sbatch's: ALL is the whole shell, except for the job around it."""
    record = alice.submit("--", "--export=ALL,MINE=1", env=SHELL)

    environ = _environ(alice, record)

    assert (environ["MINE"], environ["OMP_NUM_THREADS"]) == ("1", "128")
    assert environ["SLURM_JOB_ID"] == record["job_id"]
    assert environ["SLURM_JOB_CPUS_PER_NODE"] == "1"
    assert "SLURM_NTASKS" not in environ


def test_export_of_a_name_passes_the_variable(alice: Scientist) -> None:
    """A variable that `--export` names has the value of the shell."""
    record = alice.submit("--", "--export=OMP_NUM_THREADS", env=SHELL)

    environ = _environ(alice, record)

    assert environ["OMP_NUM_THREADS"] == "128"
    assert "CONDA_PREFIX" not in environ
    assert environ["HOME"] == "/home/alice"


def test_a_local_session_has_the_environment_of_a_login_too(alice: Scientist) -> None:
    """The variables of the shell stay behind without Slurm too."""
    env = {name: value for name, value in SHELL.items() if name != "TMPDIR"}
    said = alice.slurm_nb("submit", "--local", "--json", env=env)

    environ = _environ(alice, json.loads(said.stdout))

    assert {name for name in env if environ.get(name) == env[name]} == set()
    assert not [name for name in environ if name.startswith("SLURM_") and "_NB_" not in name]


BATCH_STEP = "-5"
"""Slurm 26.05 sets this for the job script; 22.05 and 24.11 set nothing."""


@pytest.mark.parametrize("way", ["sbatch", "srun"])
def test_submit_from_within_a_job_starts_a_separate_job(alice: Scientist, way: str) -> None:
    """The new job has its own id, CPUs and memory, not those of the job that started it."""
    inner = "slurm-nb submit --json -c 2 --mem 1G -w c2"
    run = ["srun", "-n1", "-c4", "--mem=2G", "-w", "c1", "bash", "-c", inner]
    if way == "sbatch":
        run = ["sbatch", "--wait", "-n3", "-c2", "-w", "c1", "-o", "inner.json", f"--wrap={inner}"]
    done = alice.cluster.login.run(run, user="alice", timeout_s=90)
    text = (alice.home / "inner.json").read_text() if way == "sbatch" else done.stdout
    record = json.loads(next(line for line in text.splitlines() if line.startswith("{")))

    record = json.loads(
        alice.slurm_nb("tunnel-cmd", "--json", "--login-host", "10.97.0.1", record["job_id"]).stdout
    )
    environ = _environ(alice, record)

    assert environ["SLURM_JOB_ID"] == record["job_id"]
    assert environ["SLURM_JOB_NODELIST"] == "c2"
    assert (environ["SLURM_CPUS_PER_TASK"], environ["SLURM_JOB_CPUS_PER_NODE"]) == ("2", "2")
    assert environ["SLURM_MEM_PER_NODE"] == "1024"
    assert environ.get("SLURM_STEP_ID", BATCH_STEP) == BATCH_STEP
    assert "SLURM_NTASKS" not in environ


def test_submit_from_a_session_starts_another_job(alice: Scientist) -> None:
    """A cell of a session starts another job, which outlives the first."""
    first = alice.submit("-w", "c1", "-c", "3")
    code = (
        "import subprocess; print(subprocess.run(['/srv/venv/bin/slurm-nb', 'submit', '--json',"
        " '--login-host', '10.97.0.1', '-w', 'c1', '-c', '2'], capture_output=True, text=True,"
        " check=True).stdout)"
    )
    with alice.tunnel(first["tunnel_command"]):
        second = json.loads(alice.run_cell(first["url"], code)["output"])
    alice.slurm_nb("cancel", first["job_id"])

    environ = _environ(alice, second)

    assert second["job_id"] != first["job_id"]
    assert environ["SLURM_JOB_ID"] == second["job_id"]
    assert environ["SLURM_CPUS_PER_TASK"] == "2"
    assert environ["SLURM_NB_SESSION"] == f"testbed/{second['job_id']}"


def test_variables_of_sbatch_apply_and_flags_take_precedence(alice: Scientist) -> None:
    """SBATCH_TIMELIMIT applies if no time is given; SBATCH_PARTITION does not override -p."""
    env = {"SBATCH_TIMELIMIT": "7", "SBATCH_PARTITION": "closed", "SBATCH_OUTPUT": "/tmp/x"}

    alice.submit("-p", "main", env=env)

    assert alice.squeue("%P|%l") == ["main|7:00"]


# --- what a job asks for, and waits for ---


@pytest.mark.parametrize(
    ("words", "devices"), [(["-G", "1"], "0"), (["--gres", "gpu:2"], "0,1")], ids=["gpus", "gres"]
)
def test_kernels_see_the_gpus_of_the_job(alice: Scientist, words: list[str], devices: str) -> None:
    """They see the requested number, whatever CUDA_VISIBLE_DEVICES the shell had."""
    record = alice.submit(*words, env=SHELL)

    assert _environ(alice, record)["CUDA_VISIBLE_DEVICES"] == devices


def test_accounts_and_exclusive_nodes_reach_slurm(alice: Scientist) -> None:
    """The named one of several accounts is used (without accounting, Slurm takes any word); an
    exclusive job has all CPUs of its node.
    """
    account = "two" if alice.cluster.accounting else "one,two"
    alice.submit("-A", account, "--", "--exclusive")

    assert alice.squeue("%a|%h|%C") == [f"{account}|NO|8"]


@pytest.mark.parametrize(
    ("words", "reason", "help_"),
    [
        (["--begin=now+1hour"], "BeginTime", "the job starts at its --begin time"),
        (
            ["--dependency=afterok:{job}"],
            "Dependency",
            "the job waits for the jobs in its --dependency",
        ),
        (["--hold"], "JobHeldUser", "scontrol release"),
    ],
    ids=["begin", "dependency", "hold"],
)
def test_the_reason_of_a_job_that_waits_on_purpose_is_explained(
    alice: Scientist, words: list[str], reason: str, help_: str
) -> None:
    """submit, tunnel-cmd and cancel explain the reason, and cancel ends the job."""
    login = alice.cluster.login
    other = login.run(["sbatch", "--parsable", "--wrap=sleep 60"], user="alice").stdout.strip()
    words = [word.format(job=other) for word in words]

    said = alice.slurm_nb("submit", "--wait-timeout", "2", "--", *words)
    (job_id,) = (each for each in alice.squeue("%i") if each != other)
    tunnel = alice.slurm_nb("tunnel-cmd", job_id)
    cancel = alice.slurm_nb("cancel", job_id)

    assert (said.exit_code, tunnel.exit_code, tunnel.stdout) == (5, 5, "")
    for text in (said.stderr, tunnel.stderr):
        assert f"PENDING ({reason})" in text
        assert help_ in text
    assert cancel.stderr.endswith(f"Cancelled job {job_id}.\n")
    assert alice.squeue("%i") == [other]


# --- filters of the site's ---


def test_the_output_of_a_job_submit_plugin_is_shown(alice: Scientist) -> None:
    """The message of a controller's plugin reaches the user, and the job is found."""
    said = alice.slurm_nb("submit", "-A", POOR_ACCOUNT)

    assert said.exit_code == 0
    assert f"Note: sbatch: account {POOR_ACCOUNT} has 5 hours left" in said.stderr


def test_a_cli_filter_that_prints_does_not_hide_the_job(alice: Scientist) -> None:
    """sbatch's own plugin prints to stdout and stderr before the answer."""
    folder = alice.home / ".jupyter"
    folder.mkdir(exist_ok=True)
    conf = (alice.cluster.login.root / "etc/slurm/slurm.conf").read_text()
    (folder / "slurm.conf").write_text(f"{conf}CliFilterPlugins=lua\n")
    (folder / "cli_filter.lua").write_text(
        "function slurm_cli_setup_defaults(options, early)\n  return slurm.SUCCESS\nend\n"
        "function slurm_cli_pre_submit(options, offset)\n  print('Budget:\\n17')\n"
        "  io.stdout:flush()\n  slurm.log_info('nothing')\n  slurm.log_error('be kind')\n"
        "  return slurm.SUCCESS\nend\n"
        "function slurm_cli_post_submit(offset, job, step)\n  return slurm.SUCCESS\nend\n"
    )
    said = alice.slurm_nb(
        "submit", "--no-wait", env={"SLURM_CONF": "/home/alice/.jupyter/slurm.conf"}
    )

    (job_id,) = alice.squeue("%i")
    assert said.exit_code == 0, said
    assert f"Submitted job {job_id}." in said.stderr
    assert "be kind" in said.stderr


def test_a_wrapper_that_prints_any_bytes_does_not_hide_the_job(alice: Scientist) -> None:
    """It prints before and after the answer, on both outputs, even if it is not UTF-8."""
    env = alice.program(
        "sbatch",
        "#!/bin/bash\nprintf 'Willkommen f\\374r heute\\n5 h left\\n'\nprintf 'gr\\374n\\n' >&2\n"
        '/usr/bin/sbatch "$@" || exit\nprintf "Bye.\\n"\n',
    )

    said = alice.slurm_nb("submit", "--no-wait", env=env)

    (job_id,) = alice.squeue("%i")
    assert f"Submitted job {job_id}." in said.stderr
    assert "Note: gr\ufffdn" in said.stderr


# --- languages, homes, shells, hosts ---


@pytest.fixture(scope="module")
def locales(cluster: Cluster) -> None:
    """Install the tests' locales only on login; nodes need not have them."""
    folder = cluster.login.root / "home/alice/locales"
    folder.mkdir(exist_ok=True)
    for name in ("de_DE.UTF-8", "ja_JP.EUC-JP", "de_DE.ISO-8859-1"):
        lang, _, charmap = name.partition(".")
        cluster.login.run(
            ["localedef", "-i", lang, "-f", charmap, f"/home/alice/locales/{name}"], timeout_s=120
        )


LOCALES = [
    {"LANG": "C"},
    {"LANG": "POSIX"},
    {"LC_ALL": "C"},
    {"LC_ALL": "de_DE.UTF-8"},
    {"LC_ALL": "ja_JP.EUC-JP"},
    {"LC_ALL": "de_DE.ISO-8859-1"},
    {"LC_ALL": "no_such.locale"},
]


def _submit_speaking(alice: Scientist, env: Mapping[str, str], *words: str) -> Said:
    """Submit in a folder and with a job name in the user's language, as bytes in UTF-8."""
    (alice.home / "é dir").mkdir(exist_ok=True)
    os.chown(alice.home / "é dir", alice.user.uid, alice.user.uid)
    done = alice.cluster.login.run(
        ["slurm-nb", "submit", "--login-host", "10.97.0.1", *words],
        user="alice", env={**env, "LOCPATH": "/home/alice/locales"}, cwd="/home/alice/é dir",
        check=False, timeout_s=60,
    )  # fmt: skip
    return Said(done.returncode, done.stdout, done.stderr)


@pytest.mark.usefixtures("locales")
def test_the_script_is_the_same_bytes_in_any_language(alice: Scientist) -> None:
    """Neither the folder nor the kit changes with the locale; each submission has its number."""
    wanted = _submit_speaking(alice, {"LANG": "C.UTF-8"}, "--dry-run").stdout
    for env in LOCALES:
        said = _submit_speaking(alice, env, "--no-wait", "--", "--hold")
        assert said.exit_code == 0, said
    kept = [path.read_text("utf-8") for path in (alice.state / "jobs").glob("*_submission.sh")]

    own = r"(?<=^slurm_nb_submission=)[0-9a-f]{32}(?= #)"
    assert len({*re.findall(own, "".join(kept), re.MULTILINE)}) == len(LOCALES)
    texts = [re.sub(own, "''", text, flags=re.MULTILINE) for text in kept]
    assert [text.replace("#SBATCH --hold\n", "") for text in texts] == [wanted] * len(LOCALES)


@pytest.mark.usefixtures("locales")
def test_a_path_that_the_locale_cannot_encode_is_reported(alice: Scientist) -> None:
    """The user's locale has no such characters: one line says what to check."""
    (alice.home / "日本").mkdir(exist_ok=True)

    said = _submit_speaking(alice, LOCALES[5], "--notebook-dir", "/home/alice/日本")

    assert said.exit_code == 1
    assert "a byte that is not UTF-8" in said.stderr
    assert "check that your locale uses UTF-8" in said.stderr


@pytest.mark.usefixtures("locales")
@pytest.mark.parametrize("env", [LOCALES[2], LOCALES[5]], ids=str)
def test_a_session_works_in_other_languages(alice: Scientist, env: dict[str, str]) -> None:
    """The kernel starts in the folder, though the node does not know the locale."""
    record = json.loads(_submit_speaking(alice, env, "--json").stdout)

    with alice.tunnel(record["tunnel_command"]):
        seen = alice.run_cell(record["url"], "import os; print(os.fsencode(os.getcwd()))")

    assert seen["output"] == f"{'/home/alice/é dir'.encode()!r}\n"


@pytest.fixture
def owner(cluster: Cluster, request: pytest.FixtureRequest) -> Iterator[Scientist]:
    """Yield an owner other than alice."""
    scientist = Scientist(cluster, request.param)
    yield scientist
    scientist.clean_up()
    assert scientist.run_folders() == []


@pytest.mark.parametrize("owner", [ZOE], indirect=True, ids=["zoe"])
@pytest.mark.parametrize(("listen", "lang"), [("port", "C.UTF-8"), ("socket", "C")])
def test_a_home_with_odd_characters_works(owner: Scientist, listen: str, lang: str) -> None:
    """Quotes, blanks and other special characters in the path of the home are only characters."""
    record = owner.submit("--listen", listen, env={"LANG": lang})

    again = owner.slurm_nb("tunnel-cmd", record["job_id"])
    audit = owner.slurm_nb("audit", record["job_id"])
    with owner.tunnel(record["tunnel_command"]):
        seen = owner.run_cell(record["url"], "import os; print(os.getcwd())")
    cancel = owner.slurm_nb("cancel", record["job_id"])

    assert seen["output"] == f"{ZOE.home}\n"
    assert again.stdout == record["tunnel_command"] + "\n"
    assert audit.exit_code == 0, audit
    assert cancel.stderr.endswith(f"Cancelled job {record['job_id']}.\n")


@pytest.mark.parametrize("owner", [ZOE, ZARA, FIA, TESS], indirect=True, ids=lambda user: user.name)
def test_any_login_shell_works_even_if_it_prints(owner: Scientist) -> None:
    """Start-up files of bash, zsh, fish and tcsh print: submit by ssh, the tunnel, the audit."""
    for name in (".zshenv", ".cshrc", ".config/fish/config.fish", ".profile", ".bashrc"):
        path = owner.home / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("echo Welcome to the cluster\n")
    call = f"ssh {owner.user.name}@login /srv/venv/bin/slurm-nb submit --json"
    said = owner.cluster.laptop.run(["bash", "-c", call], user="lea", timeout_s=60).stdout
    assert said.startswith("Welcome to the cluster\n")
    record = json.loads(said.splitlines()[-1])

    audit = owner.slurm_nb("audit", record["job_id"])
    with owner.tunnel(record["tunnel_command"]):
        environ = json.loads(owner.run_cell(record["url"], ENVIRON)["output"])

    assert environ["SHELL"] == owner.user.login_shell
    assert audit.exit_code == 0, audit


def test_the_printed_line_is_the_same_in_every_shell(alice: Scientist) -> None:
    """Every shell of the laptop splits it into the intended arguments."""
    command = alice.submit()["tunnel_command"]
    words = command.replace("ssh ", "printf %s\\\\n ", 1)

    for shell in ("bash", "dash", "zsh", "fish", "tcsh"):
        done = alice.cluster.laptop.run([shell, "-c", words], user="lea")
        assert done.stdout.split("\n")[:-1] == shlex.split(command)[1:]


def test_a_session_is_found_from_another_login_host(alice: Scientist) -> None:
    """Submitted on one host, seen and cancelled from another that shares the home."""
    record = alice.submit("-w", "c1")

    tunnel = alice.slurm_nb("tunnel-cmd", record["job_id"], host="c2", env={"SSH_CONNECTION": ""})
    with alice.tunnel(tunnel.stdout):
        seen = alice.run_cell(record["url"], "import socket; print(socket.gethostname())")
    cancel = alice.slurm_nb("cancel", record["job_id"], host="c2")

    assert tunnel.stdout == record["tunnel_command"] + "\n"
    assert seen["output"] == "c1\n"
    assert cancel.stderr.endswith(f"Cancelled job {record['job_id']}.\n")
