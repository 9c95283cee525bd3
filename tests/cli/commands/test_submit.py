"""slurm-nb submit"""

from __future__ import annotations

import json
import os
import re
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from slurm_nb.job.kit import digest, is_sound
from slurm_nb.scheduler.job import Job
from slurm_nb.session.session import Session
from slurm_nb.session.store import Store
from tests.conftest import AddProgram
from tests.fakes import (
    ADDRESS,
    DIRECT,
    FINGERPRINT,
    READY,
    SECURED,
    TOKEN,
    Run,
    calls,
    running,
    shown,
    told,
)


def test_the_options_of_submit_stand_in_groups(run: Run) -> None:
    """Who looks for the memory or the tunnel reads one group of some 35 options."""
    parts = re.split(r"^(\w+):\n", run("submit", "--help").out, flags=re.MULTILINE)
    groups = dict(zip(parts[1::2], parts[2::2], strict=True))

    assert list(groups) == [
        "Options", "Resources", "Environment", "Jupyter", "Connection", "Waiting", "Output",
    ]  # fmt: skip
    for name, options in (
        ("Options", ("--profile", "--again", "--help")),
        ("Resources", ("--account", "--mem", "--gpus", "--cluster")),
        ("Environment", ("--python", "--container", "--setup")),
        ("Jupyter", ("--ui", "--notebook-dir", "--idle-timeout")),
        ("Connection", ("--listen", "--route", "--tls", "--auth", "--local-port")),
        ("Waiting", ("--wait-timeout", "--notify", "--no-wait")),
        ("Output", ("--dry-run", "--json")),
    ):
        assert [each for each in options if f"{each} " not in groups[name]] == []


def test_a_dry_run_prints_the_script_and_touches_nothing(
    run: Run, slurm: AddProgram, store: Store, tmp_path: Path
) -> None:
    """--dry-run is exactly the script: no session, no sbatch, no talk."""
    slurm("sbatch", 'echo called >>"$0.calls"; exit 1')

    result = run(
        "submit", "--dry-run", "-A", "project", "-t", "2:00:00", "-c", "4", "--mem", "8G",
        "-p", "main", "-q", "high", "-G", "1", "--gres", "tmp:1", "-C", "ib", "-w", "c1",
        "-x", "c2", "--reservation", "r", "-J", "name", "--notebook-dir", str(tmp_path),
        "--python", "/opt/python", "--ui", "lab", "--", "--exclusive", "--comment=a b",
    )  # fmt: skip

    lines = result.out.splitlines()
    assert (result.code, result.err) == (0, "")
    assert lines[0] == "#!/bin/bash"
    for option in (
        "--account=project", "--time=2:00:00", "--cpus-per-task=4", "--mem=8G",
        "--partition=main", "--qos=high", "--gpus=1", "--gres=tmp:1", "--constraint=ib",
        "--nodelist=c1", "--exclude=c2", "--reservation=r", "--job-name=name",
        "--exclusive --comment='a b'",
    ):  # fmt: skip
        assert f"#SBATCH {option}" in lines
    assert "python=/opt/python" in lines
    assert "export SLURM_NB_UI=lab" in lines
    assert f"slurm_nb_notebook_dir={tmp_path}" in lines
    assert f"slurm_nb_state_dir={store.folder}" in lines
    assert is_sound(store.kits / digest())  # so that it can be sbatched
    assert calls(slurm, "sbatch") == []
    assert store.all() == ([], [])


@pytest.mark.usefixtures("slurm")
def test_what_is_submitted_is_what_a_dry_run_prints(run: Run, store: Store) -> None:
    """The script that sbatch gets is the one that was shown, but for what tells it from others."""
    shown = run("submit", "--dry-run", "--no-wait", "-t", "90").out

    run("submit", "-t", "90", "--no-wait")

    submission = store.load("7").submission
    assert re.fullmatch("[0-9a-f]{32}", submission or "")
    assert store.script_path("7").read_text(encoding="utf-8") == shown.replace(
        "slurm_nb_submission='' ", f"slurm_nb_submission={submission} "
    )


@pytest.mark.usefixtures("slurm")
def test_no_wait_returns_with_the_session_saved(run: Run, store: Store) -> None:
    """The user is told the job's id and how to come back; stdout is left to answers."""
    result = run("submit", "--no-wait", "--login-host", "login:2222", "--local-port", "9999")

    assert (result.code, result.out) == (0, "")
    assert "slurm-nb tunnel-cmd 7" in result.err
    assert "slurm-nb cancel 7" in result.err
    session = store.load("7")
    assert str(session.job.script).startswith(f"{store.folder}/jobs/")
    assert abs(time.time() - (session.submitted_at or 0)) < 60
    assert replace(session, submitted_at=None, options=(), submission=None) == Session(
        job=Job("7", "hpc", script=session.job.script),
        login_host="login:2222",
        local_port=9999,
        python=sys.executable,
        job_name="slurm-nb",
    )


@pytest.mark.usefixtures("slurm")
def test_no_wait_as_json(run: Run) -> None:
    """One object on stdout, with null for what is not known yet."""
    record = json.loads(run("submit", "--no-wait", "--json", "--login-host", "login").out)

    assert record == {
        "job_id": "7",
        "cluster": "hpc",
        "state": None,
        "reason": None,
        "node": None,
        "port": None,
        "socket": None,
        "fingerprint": None,
        "local_port": None,
        "login_host": "login",
        "tunnel_command": None,
        "url": None,
        "server_url": None,
    }


@pytest.mark.usefixtures("slurm")
def test_submit_notes_whether_the_login_host_is_a_guess(
    run: Run, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An address is a guess; the value of an option, a variable or a file is not."""
    monkeypatch.setenv("SSH_CONNECTION", "192.0.2.9 50000 198.51.100.7 22")
    guessed = run("submit", "--no-wait")
    first = store.load("7")
    monkeypatch.setenv("SLURM_NB_SUBMIT_LOGIN_HOST", "hpc")
    given = run("submit", "--no-wait")
    second = store.load("7")

    assert (guessed.code, given.code) == (0, 0)
    assert (first.login_host, first.login_is_guess) == ("198.51.100.7", True)
    assert (second.login_host, second.login_is_guess) == ("hpc", False)


@pytest.mark.usefixtures("slurm")
def test_submit_prints_the_way_in(run: Run, store: Store) -> None:
    """When Jupyter is ready, stdout holds the ssh line and the URL, each on a line of its own."""
    running(store)

    result = run("submit", "--login-host", "login", "--local-port", "9999")

    lines = result.out.splitlines()
    assert result.code == 0
    assert any(
        line.startswith("ssh -N ") and " -L 127.0.0.1:9999:127.0.0.1:40123 " in line
        for line in lines
    )
    assert f"http://127.0.0.1:9999/?token={TOKEN}" in lines
    assert "Open in your laptop's browser, unless ssh has ended with an error:" in lines
    assert "Ends:        2026-11-23 14:00" in result.out
    assert "slurm-nb tunnel-cmd 7" in result.out
    assert "slurm-nb cancel 7" in result.out
    assert TOKEN not in result.err


def test_a_wait_that_times_out_says_how_to_come_back(
    run: Run, slurm: AddProgram, store: Store
) -> None:
    """After --wait-timeout the job goes on, the code is 5, and the way back is named."""
    result = run("submit", "--wait-timeout", "0")

    assert (result.code, result.out) == (5, "")
    assert "slurm-nb tunnel-cmd 7" in result.err
    assert "slurm-nb cancel 7" in result.err
    assert calls(slurm, "scancel") == []
    assert store.load("7").job_id == "7"


def test_a_refused_job_is_told_and_not_saved(run: Run, slurm: AddProgram, store: Store) -> None:
    """Slurm's words, once, and the exit code 3."""
    slurm("sbatch", "echo 'sbatch: error: Batch job submission failed: no' >&2; exit 1")

    result = run("submit")

    assert (result.code, result.out) == (3, "")
    assert result.err.count("Batch job submission failed: no") == 1
    assert store.all() == ([], [])


def test_what_a_filter_says_is_noted_once_the_job_is_saved(run: Run, slurm: AddProgram) -> None:
    """First that there is a job, then what sbatch had to say of it, unable to steer a terminal."""
    slurm("sbatch", r"printf 'sbatch: 5 h left\n\033[2Jx\n' >&2; echo 7")

    result = run("submit", "--no-wait")

    lines = result.err.splitlines()
    assert lines[0].startswith("Submitted job 7.")
    assert lines[1:3] == ["Note: sbatch: 5 h left", "Note: \\x1b[2Jx"]


@pytest.mark.parametrize(
    ("answer", "cancel"),
    [("7", "scancel 7"), ("7;hpc", "scancel 7"), ("7;big", "scancel -M big 7")],
)
def test_a_job_that_could_not_be_saved_can_be_cancelled(
    run: Run, slurm: AddProgram, answer: str, cancel: str
) -> None:
    """The line that is told ends this job, not one of the same id on another cluster."""
    slurm("sbatch", f'rm -r "$SLURM_NB_HOME/sessions"; touch "$_"; echo "{answer}"')

    result = run("submit", "--no-wait")

    assert result.code == 1
    assert result.err.endswith(f"cancel it with: {cancel}\n")


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (["--time", "9" * 5000], "not a time limit"),
        (["--login-host", "login:" + "9" * 5000], "not a host name"),
        (["--python", "~nosuchuser/bin/python"], "no such user"),
        (["--notebook-dir", "~nosuchuser"], "no such user"),
    ],
)
def test_an_absurd_value_is_an_error_like_any_other(run: Run, words: list[str], what: str) -> None:
    """One line that says what is wrong, with exit code 1."""
    result = run("submit", "--dry-run", *words)

    assert result.code == 1
    assert what in result.err


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--listen", "socket", "--route", "direct"], "cannot be combined"),
        (["--tls"], "--tls needs --route direct"),
        (["--tls", "--route", "jump"], "--tls needs --route direct"),
        (["--tls", "--listen", "socket"], "--tls needs --route direct"),
        (["--auth", "password"], "you have not set a password"),
    ],
)
def test_options_that_exclude_each_other_are_refused(
    run: Run, slurm: AddProgram, options: list[str], words: str
) -> None:
    """What can't be had together is told before anything is submitted."""
    result = run("submit", *options)

    assert (result.code, result.out) == (1, "")
    assert words in result.err
    assert calls(slurm, "sbatch") == []


@pytest.mark.parametrize("options", [[], ["--dry-run"], ["--no-wait"]])
@pytest.mark.usefixtures("slurm")
def test_a_password_that_is_not_there_is_named_with_its_command(
    run: Run, options: list[str]
) -> None:
    """--auth password says how to set one."""
    assert "slurm-nb password" in run("submit", "--auth", "password", *options).err


@pytest.mark.parametrize(
    "options",
    [["--listen", "pipe"], ["--route", "vpn"], ["--auth", "none"], ["--auth", ""], ["--no-auth"]],
)
def test_there_is_no_other_way_in(run: Run, options: list[str]) -> None:
    """Nothing switches authentication off, and nothing listens anywhere else."""
    assert run("submit", *options).code == 2


def test_the_modes_reach_the_script(run: Run, store: Store) -> None:
    """Every new option is in the script that is submitted."""
    store.password_path.write_text("argon2:x", encoding="ascii")

    script = run("submit", "--dry-run", "--listen", "socket", "--auth", "password").out
    direct = run("submit", "--dry-run", "--route", "direct", "--tls", "--allow-debugger").out

    assert "SLURM_NB_LISTEN=socket SLURM_NB_ROUTE=jump" in script
    assert "SLURM_NB_AUTH=password SLURM_NB_DEBUGGER=no" in script
    assert "slurm_nb_make_certificate" not in script
    assert "SLURM_NB_LISTEN=port SLURM_NB_ROUTE=direct" in direct
    assert "SLURM_NB_DEBUGGER=yes" in direct
    assert "slurm_nb_make_certificate" in direct


def test_the_debuggers_price_is_told_in_the_help(run: Run) -> None:
    """Who allows the debugger reads what it opens."""
    assert "any user of the node can run code as you" in " ".join(run("submit", "-h").out.split())


@pytest.mark.usefixtures("slurm")
def test_the_direct_route_says_what_it_exposes(run: Run, store: Store) -> None:
    """The command goes to the address, and the user is told who else reaches it."""
    running(store, output=DIRECT)

    out = run("submit", "--route", "direct", "--login-host", "login").out

    assert f":{ADDRESS}:40123 " in out
    assert " -J " not in out
    assert f"{ADDRESS}:40123" in out.partition("Open in")[2]
    assert "not encrypted" in out


@pytest.mark.usefixtures("slurm")
def test_tls_shows_the_fingerprint_beside_the_url(run: Run, store: Store) -> None:
    """The user can compare what the browser shows, and is not told of a leg in clear."""
    running(store, output=SECURED)

    out = run("submit", "--route", "direct", "--tls", "--login-host", "login").out

    assert "https://127.0.0.1:" in out
    assert FINGERPRINT in out
    assert "not encrypted" not in out


@pytest.mark.usefixtures("slurm")
def test_with_a_password_no_secret_is_printed(run: Run, store: Store) -> None:
    """Neither submit nor, later, tunnel-cmd shows the token."""
    store.password_path.write_text("argon2:x", encoding="ascii")
    running(store)

    first = run("submit", "--auth", "password", "--login-host", "login")
    again = run("tunnel-cmd", "7")
    as_json = run("tunnel-cmd", "7", "--json")

    assert (first.code, again.code, as_json.code) == (0, 0, 0)
    assert "slurm-nb password" in first.out
    assert re.search(r"^http://127\.0\.0\.1:\d+/$", first.out, re.MULTILINE)
    assert not any(TOKEN in each.out + each.err for each in (first, again, as_json))


@pytest.mark.usefixtures("slurm")
def test_notices_of_the_job_are_shown_and_steer_nothing(run: Run, store: Store) -> None:
    """What the job has to say is told on stderr, its control characters spelt out."""
    texts = ["your setting was overruled", "a\x1b[2Jb\rc\x9b\x07"]
    running(store, output="".join(told("notice", text=text) for text in texts) + READY)

    err = run("submit", "--login-host", "login").err

    assert "Note: your setting was overruled\n" in err
    assert "Note: a\\x1b[2Jb\\rc\\x9b\\x07\n" in err


@pytest.mark.usefixtures("slurm")
def test_a_notice_is_one_line(run: Run, store: Store) -> None:
    """A newline in it makes no line that looks like slurm-nb's own."""
    running(store, output=told("notice", text="a\nJupyter is running on evil") + READY)

    err = run("submit", "--login-host", "login").err

    assert "Jupyter is running on evil" not in err.splitlines()


def test_a_template_is_taken_by_submit(run: Run, tmp_path: Path) -> None:
    """`--template FILE` renders it, and a fault in it is one line with file and line number."""
    good, bad = tmp_path / "good.sh.j2", tmp_path / "bad.sh.j2"
    good.write_text('{% extends "jupyter.sh.j2" %}{% block before_server %}# ours{% endblock %}')
    bad.write_text(
        '{% extends "jupyter.sh.j2" %}\n{% block before_server %}{{ nope }}{% endblock %}'
    )

    rendered = run("submit", "--dry-run", "--template", str(good))
    refused = run("submit", "--dry-run", "--template", str(bad))

    assert (rendered.code, rendered.err) == (0, "")
    assert "\n# ours" in rendered.out
    assert (refused.code, refused.out) == (1, "")
    assert refused.err.startswith(f"slurm-nb: {bad}, line 2: 'nope' is undefined\n")


@pytest.mark.parametrize("name", ["modules", "conda", "container"])
def test_the_worked_examples_are_there_by_name(run: Run, name: str) -> None:
    """A site can look at what each would do before it copies one."""
    assert run("submit", "--dry-run", "--template", name).code == 0


@pytest.mark.parametrize(
    ("ui", "path"), [("notebook", "/tree/my%20data.ipynb"), ("lab", "/lab/tree/my%20data.ipynb")]
)
@pytest.mark.usefixtures("slurm")
def test_submit_opens_a_notebook(  # noqa: PLR0913, PLR0917  fixtures and parameters
    run: Run, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ui: str, path: str
) -> None:
    """`submit FILE.ipynb` leads the browser to it, and so do later commands."""
    (tmp_path / "my data.ipynb").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PWD", raising=False)
    running(store, output=told("ready", node="c1", port=1, path=path.partition("/my")[0]
                               if ui == "notebook" else "/lab"))  # fmt: skip

    first = run("submit", "--ui", ui, "my data.ipynb", "--", "--exclusive")

    assert f"{path}?token=" in first.out
    assert re.search(
        rf"^URL for VS Code: http://127\.0\.0\.1:\d+/\?token={TOKEN}$", first.out, re.MULTILINE
    )
    url = run("url", "7")
    assert f"{path}?token=" in url.out
    assert "URL for VS Code: " in url.err
    assert "URL for VS Code: " in run("tunnel-cmd", "7").err
    assert store.load("7").options[-2:] == ("--", "--exclusive")


@pytest.mark.usefixtures("slurm")
def test_submit_of_a_notebook_elsewhere_opens_its_directory(
    run: Run, store: Store, tmp_path: Path
) -> None:
    """The notebook is in Jupyter's root, unless --notebook-dir says otherwise."""
    (tmp_path / "a.ipynb").touch()

    run("submit", "--no-wait", str(tmp_path / "a.ipynb"))
    outside = run("submit", "--notebook-dir", "/usr", str(tmp_path / "a.ipynb"))
    missing = run("submit", "none.ipynb")
    forged = run("submit", "a\nb.ipynb")

    assert f"--notebook-dir={tmp_path}" in store.load("7").options
    assert (outside.code, missing.code, forged.code) == (1, 1, 1)
    assert "contains a newline" in forged.err
    assert "is not in --notebook-dir '/usr'" in outside.err
    assert "--open 'none.ipynb': there is no such file" in missing.err


@pytest.mark.parametrize(
    ("time", "note"),
    [
        ("2:00", "Note: --time 2:00 is 2 min; for 2 h write 2:00:00\n"),
        ("8", "Note: --time 8 is 8 min; for 8 h write 8:00:00\n"),
        ("2:00:00", ""),
        ("90", ""),
        ("90:00", ""),
        ("0", ""),
    ],
)
@pytest.mark.usefixtures("slurm")
def test_a_time_limit_that_is_probably_too_short_is_noted(run: Run, time: str, note: str) -> None:
    """Slurm reads 2:00 as two minutes."""
    err = run("submit", "--no-wait", "-t", time).err

    assert note in err
    assert ("Note:" in err) == bool(note)


_REFUSED = "echo 'sbatch: error: Batch job submission failed: {}' >&2; exit 1"


@pytest.mark.parametrize(
    ("options", "words", "said"),
    [
        (["-p", "x"], "Invalid partition name specified",
         "you cannot use partition 'x'. Your partitions: main, gpu"),
        (["-A", "x"], "Invalid account or account/partition combination specified",
         "you cannot use account 'x'. Your accounts: project"),
        ([], "Invalid account or account/partition combination specified",
         "Slurm needs another account. Your accounts: project"),
        (["-q", "x"], "Invalid qos specification",
         "you cannot use QOS 'x'. Your QOS: normal, long"),
        (["-c", "64"], "Requested node configuration is not available",
         "--cpus-per-task 64: the largest node has 8 CPUs"),
        (["--mem", "9G"], "Requested node configuration is not available",
         "--mem 9G: the largest node has 8000M of memory"),
        (["-G", "h100:1"], "Invalid generic resource (gres) specification",
         "no node has the requested GPUs (h100:1). GPUs: gpu:a100:2"),
        (["-p", "x"], "Something else", "sbatch rejected the job: sbatch: error: Batch job"),
    ],
)  # fmt: skip
def test_a_rejected_job_is_explained_with_what_slurm_offers(
    run: Run, slurm: AddProgram, options: list[str], words: str, said: str
) -> None:
    """One sentence, the names there are, and exit code 3."""
    slurm("sbatch", _REFUSED.format(words))
    slurm("sacctmgr", "printf 'project|normal,long\\n'")
    slurm("scontrol", "case $2 in config) echo 'ClusterName = hpc';; *)"
          " printf 'PartitionName=main\\nPartitionName=gpu\\n';; esac")  # fmt: skip
    slurm("sinfo", "printf '4|4000|(null)\\n8|8000|gpu:a100:2\\n'")

    result = run("submit", *options)

    assert result.code == 3
    assert said in result.err
    assert result.err.endswith("  nothing was submitted\n")


def test_a_job_that_no_node_can_run_is_noted_while_it_waits(run: Run, slurm: AddProgram) -> None:
    """With the number that would work."""
    slurm("squeue", shown("PENDING", reason="PartitionConfig"))
    slurm("sinfo", "printf '4|4000|(null)\\n'")

    err = run("submit", "-c", "64", "--wait-timeout", "3").err

    assert err.count("cannot start (--cpus-per-task 64: the largest node has 4 CPUs)") == 1


@pytest.mark.usefixtures("slurm")
def test_the_block_after_submit_is_short(run: Run, store: Store) -> None:
    """What to paste, what to open, when it ends; nothing else."""
    running(store)

    lines = run("submit", "--login-host", "login", "--local-port", "9999").out.splitlines()

    assert len(lines) <= 18
    assert "In a new terminal on your laptop, leave this" in lines[3]
    assert [line.split()[0] for line in lines[-4:]] == ["Ends:", "Status:", "Show", "Cancel:"]


@pytest.mark.parametrize("umask", [0o777, 0o277, 0o022])
def test_a_umask_that_takes_from_the_owner_does_no_harm(
    run: Run, slurm: AddProgram, umask: int
) -> None:
    """What slurm-nb writes it can read; what the umask takes from others stays taken."""
    slurm("sbatch", 'umask >"$0.umask"; echo 7')
    old = os.umask(umask)
    try:
        result = run("submit", "--no-wait", "--notebook-dir", "/")
        left = run("list")
    finally:
        os.umask(old)

    assert result.code == 0, result
    assert left.code == 0
    assert "submitting" not in left.err
    told = slurm("unused", "").with_name("sbatch.umask").read_text(encoding="ascii")
    assert int(told, 8) == umask & 0o077
