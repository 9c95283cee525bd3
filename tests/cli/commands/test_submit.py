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


def test_the_help_of_submit_has_groups_of_options(run: Run) -> None:
    """To find the option for memory or the tunnel, you read one group of some 35 options."""
    parts = re.split(r"^(\w+):\n", run("submit", "--help").out, flags=re.MULTILINE)
    groups = dict(zip(parts[1::2], parts[2::2], strict=True))

    assert list(groups) == [
        "Options", "Resources", "Environment", "Jupyter", "Connection", "Waiting", "Output",
    ]  # fmt: skip
    for name, options in (
        ("Options", ("--profile", "--again", "--help")),
        ("Resources", ("--account", "--mem", "--gpus", "--local")),
        ("Environment", ("--python", "--container", "--setup")),
        ("Jupyter", ("--ui", "--notebook-dir", "--idle-timeout")),
        ("Connection", ("--listen", "--route", "--tls", "--auth", "--local-port")),
        ("Waiting", ("--wait-timeout", "--notify", "--no-wait")),
        ("Output", ("--dry-run", "--json")),
    ):
        assert [each for each in options if f"{each} " not in groups[name]] == []


def test_the_name_that_local_had_in_older_sessions_is_still_understood(run: Run) -> None:
    """`--again` repeats what a session saved, and 791f880 saved `--cluster=local`."""
    assert (
        run("submit", "--cluster=local", "--dry-run").out
        == run("submit", "--local", "--dry-run").out
    )


def test_a_dry_run_prints_the_script_and_changes_nothing(
    run: Run, slurm: AddProgram, store: Store, tmp_path: Path
) -> None:
    """--dry-run prints only the script; there is no session, no sbatch and no message."""
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
    assert is_sound(store.kits / digest())  # so that the printed script can be submitted
    assert calls(slurm, "sbatch") == []
    assert store.all() == ([], [])


@pytest.mark.usefixtures("slurm")
def test_submit_sends_the_script_that_a_dry_run_prints(run: Run, store: Store) -> None:
    """Only the submission's identifier differs."""
    shown = run("submit", "--dry-run", "--no-wait", "-t", "90").out

    run("submit", "-t", "90", "--no-wait")

    submission = store.load("7").submission
    assert re.fullmatch("[0-9a-f]{32}", submission or "")
    assert store.script_path("7").read_text(encoding="utf-8") == shown.replace(
        "slurm_nb_submission='' ", f"slurm_nb_submission={submission} "
    )


@pytest.mark.usefixtures("slurm")
def test_no_wait_returns_once_the_session_is_saved(run: Run, store: Store) -> None:
    """stderr gives the job's id and how to connect later; stdout is empty."""
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
    """One object on stdout has null for unknown values."""
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
def test_submit_prints_how_to_connect(run: Run, store: Store) -> None:
    """When Jupyter is ready, stdout has the ssh line and the URL on separate lines."""
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


def test_a_wait_that_times_out_says_how_to_connect_later(
    run: Run, slurm: AddProgram, store: Store
) -> None:
    """After --wait-timeout the job keeps running, and the exit code is 5."""
    result = run("submit", "--wait-timeout", "0")

    assert (result.code, result.out) == (5, "")
    assert "slurm-nb tunnel-cmd 7" in result.err
    assert "slurm-nb cancel 7" in result.err
    assert calls(slurm, "scancel") == []
    assert store.load("7").job_id == "7"


def test_a_rejected_job_is_reported_and_not_saved(
    run: Run, slurm: AddProgram, store: Store
) -> None:
    """Slurm's message appears once, and the exit code is 3."""
    slurm("sbatch", "echo 'sbatch: error: Batch job submission failed: no' >&2; exit 1")

    result = run("submit")

    assert (result.code, result.out) == (3, "")
    assert result.err.count("Batch job submission failed: no") == 1
    assert store.all() == ([], [])


def test_a_filters_message_appears_after_the_job_is_saved(run: Run, slurm: AddProgram) -> None:
    """sbatch's message follows the job's id and cannot control the terminal."""
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
    """The line on the screen cancels this job, not one with the same id on another cluster."""
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
    """One line says what is wrong, with exit code 1."""
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
def test_options_that_cannot_be_combined_are_rejected(
    run: Run, slurm: AddProgram, options: list[str], words: str
) -> None:
    """The error comes before anything is submitted."""
    result = run("submit", *options)

    assert (result.code, result.out) == (1, "")
    assert words in result.err
    assert calls(slurm, "sbatch") == []


@pytest.mark.parametrize("options", [[], ["--dry-run"], ["--no-wait"]])
@pytest.mark.usefixtures("slurm")
def test_a_missing_password_is_reported_with_its_command(run: Run, options: list[str]) -> None:
    """--auth password says how to set one."""
    assert "slurm-nb password" in run("submit", "--auth", "password", *options).err


@pytest.mark.parametrize(
    "options",
    [["--listen", "pipe"], ["--route", "vpn"], ["--auth", "none"], ["--auth", ""], ["--no-auth"]],
)
def test_there_is_no_other_mode_of_connection(run: Run, options: list[str]) -> None:
    """No option turns authentication off or listens anywhere else."""
    assert run("submit", *options).code == 2


def test_the_modes_reach_the_script(run: Run, store: Store) -> None:
    """Every option about the connection is in the submitted script."""
    store.password_path.write_text("argon2:x", encoding="ascii")

    script = run("submit", "--dry-run", "--listen", "socket", "--auth", "password").out
    direct = run("submit", "--dry-run", "--route", "direct", "--tls", "--allow-debugger").out

    assert "SLURM_NB_LISTEN=socket SLURM_NB_ROUTE=jump" in script
    assert "SLURM_NB_AUTH=password SLURM_NB_DEBUGGER=no" in script
    assert "slurm_nb_make_certificate" not in script
    assert "SLURM_NB_LISTEN=port SLURM_NB_ROUTE=direct" in direct
    assert "SLURM_NB_DEBUGGER=yes" in direct
    assert "slurm_nb_make_certificate" in direct


def test_the_help_says_what_the_debugger_exposes(run: Run) -> None:
    """You learn this before you allow it."""
    assert "any user of the node can run code as you" in " ".join(run("submit", "-h").out.split())


@pytest.mark.usefixtures("slurm")
def test_the_direct_route_says_what_it_exposes(run: Run, store: Store) -> None:
    """The ssh command goes to the address, and the output says who else can reach it."""
    running(store, output=DIRECT)

    out = run("submit", "--route", "direct", "--login-host", "login").out

    assert f":{ADDRESS}:40123 " in out
    assert " -J " not in out
    assert f"{ADDRESS}:40123" in out.partition("Open in")[2]
    assert "not encrypted" in out


@pytest.mark.usefixtures("slurm")
def test_tls_shows_the_fingerprint_with_the_url(run: Run, store: Store) -> None:
    """You can compare it with the browser's; there is no warning about unencrypted traffic."""
    running(store, output=SECURED)

    out = run("submit", "--route", "direct", "--tls", "--login-host", "login").out

    assert "https://127.0.0.1:" in out
    assert FINGERPRINT in out
    assert "not encrypted" not in out


@pytest.mark.usefixtures("slurm")
def test_with_a_password_no_secret_is_printed(run: Run, store: Store) -> None:
    """Neither submit nor a later tunnel-cmd shows the token."""
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
def test_notices_of_the_job_are_shown_and_cannot_control_the_terminal(
    run: Run, store: Store
) -> None:
    """They go to stderr with their control characters escaped."""
    texts = ["your setting was overruled", "a\x1b[2Jb\rc\x9b\x07"]
    running(store, output="".join(told("notice", text=text) for text in texts) + READY)

    err = run("submit", "--login-host", "login").err

    assert "Note: your setting was overruled\n" in err
    assert "Note: a\\x1b[2Jb\\rc\\x9b\\x07\n" in err


@pytest.mark.usefixtures("slurm")
def test_a_notice_is_one_line(run: Run, store: Store) -> None:
    """A newline in it cannot forge a line of slurm-nb's output."""
    running(store, output=told("notice", text="a\nJupyter is running on evil") + READY)

    err = run("submit", "--login-host", "login").err

    assert "Jupyter is running on evil" not in err.splitlines()


def test_submit_accepts_a_template(run: Run, tmp_path: Path) -> None:
    """`--template FILE` renders it; an error in it is one line with file and line number."""
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
def test_submit_accepts_the_worked_examples_by_name(run: Run, name: str) -> None:
    """A site can look at their scripts before it copies one."""
    assert run("submit", "--dry-run", "--template", name).code == 0


@pytest.mark.parametrize(
    ("ui", "path"), [("notebook", "/tree/my%20data.ipynb"), ("lab", "/lab/tree/my%20data.ipynb")]
)
@pytest.mark.usefixtures("slurm")
def test_submit_opens_a_notebook(  # noqa: PLR0913, PLR0917  fixtures and parameters
    run: Run, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ui: str, path: str
) -> None:
    """`submit FILE.ipynb` and later commands send the browser to it."""
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
    """The notebook is in Jupyter's root, unless --notebook-dir names another."""
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
def test_a_time_limit_that_is_probably_too_short_gets_a_note(
    run: Run, time: str, note: str
) -> None:
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
    """One sentence gives the available names, with exit code 3."""
    slurm("sbatch", _REFUSED.format(words))
    slurm("sacctmgr", "printf 'project|normal,long\\n'")
    slurm("scontrol", "case $2 in config) echo 'ClusterName = hpc';; *)"
          " printf 'PartitionName=main\\nPartitionName=gpu\\n';; esac")  # fmt: skip
    slurm("sinfo", "printf '4|4000|(null)\\n8|8000|gpu:a100:2\\n'")

    result = run("submit", *options)

    assert result.code == 3
    assert said in result.err
    assert result.err.endswith("  nothing was submitted\n")


def test_a_pending_job_that_no_node_can_run_gets_a_note(run: Run, slurm: AddProgram) -> None:
    """The note gives the number that would work."""
    slurm("squeue", shown("PENDING", reason="PartitionConfig"))
    slurm("sinfo", "printf '4|4000|(null)\\n'")

    err = run("submit", "-c", "64", "--wait-timeout", "3").err

    assert err.count("cannot start (--cpus-per-task 64: the largest node has 4 CPUs)") == 1


@pytest.mark.usefixtures("slurm")
def test_the_block_after_submit_is_short(run: Run, store: Store) -> None:
    """It says what to paste, what to open and when the session ends."""
    running(store)

    lines = run("submit", "--login-host", "login", "--local-port", "9999").out.splitlines()

    assert len(lines) <= 18
    assert "In a new terminal on your laptop, leave this" in lines[3]
    assert [line.split()[0] for line in lines[-4:]] == ["Ends:", "Status:", "Show", "Cancel:"]


@pytest.mark.parametrize("umask", [0o777, 0o277, 0o022])
def test_a_umask_that_restricts_the_owner_does_no_harm(
    run: Run, slurm: AddProgram, umask: int
) -> None:
    """slurm-nb can read its own files, and the umask still restricts other users."""
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
