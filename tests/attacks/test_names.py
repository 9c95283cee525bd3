"""Hostile values, given to commands or reported by Slurm, reach no shell, path or terminal."""

from __future__ import annotations

import shlex

import pytest

from tests.attacks.score_table import Trial
from tests.e2e.scientist import Said, Scientist

COMMANDS = ("tunnel-cmd", "cancel")
IDS = {
    "traversal": "../../../../tmp/evil", "absolute": "/tmp/evil", "shell": "7;touch /tmp/pwned",
    "substitution": "$(touch /tmp/pwned)", "option": "--user=alice", "glob": "*", "list": "7,8",
    "newline": "7\n8", "digits of another script": "\u0667", "escape": "7\x1b[31m",
    "step": "7.batch", "array": "7_1",
}  # fmt: skip
LOGINS = {
    "option": "-oProxyCommand=touch${IFS}/tmp/pwned", "shell": "login;touch /tmp/pwned",
    "user": "mallory@login", "hops": "login,evil", "substitution": "$(id)", "url": "ssh://evil",
    "newline": "login\nevil", "escape": "login\x1b]0;x\x07", "port": "login:22:22",
    "percent": "%h", "blank": "login -oX=y",
}  # fmt: skip
AFTER_DASHES = {
    "wrap": "--wrap=touch /tmp/pwned", "output": "--output=/tmp/planted/log",
    "short output": "-o/tmp/planted/log", "behind a flag": "-Ho/tmp/planted/log",
    "abbreviated": "--outp=/tmp/planted/log", "array": "--array=1-9", "a script": "/tmp/evil.sh",
    "newline": "--comment=x\n#SBATCH --output=/tmp/planted/log", "error": "-e/tmp/planted/err",
}  # fmt: skip


def refused(said: Said) -> bool:
    """Check that there is one line of error, no answer, and nothing that steers a terminal."""
    talk = said.stdout + said.stderr
    return said.exit_code in {1, 2} and not said.stdout and "\x1b" not in talk


@pytest.mark.parametrize("command", COMMANDS)
def test_job_ids(our_trial: Trial, alice: Scientist, command: str) -> None:
    """Give paths, shell text, options or escapes as JOBID: only an id of digits is taken."""
    done = {name: alice.slurm_nb(command, "--", value) for name, value in IDS.items()}

    got_in = [name for name, said in done.items() if not refused(said)]
    our_trial.verdict(bool(got_in) or _pwned(alice), [(name, done[name]) for name in got_in])


@pytest.mark.parametrize("command", ["tunnel-cmd", "submit"])
def test_login_hosts(our_trial: Trial, alice: Scientist, command: str) -> None:
    """Give shell text, options or more hops as --login-host: only a host and port are taken."""
    words = {"tunnel-cmd": [our_trial.target.job_id], "submit": ["--no-wait"]}[command]
    done = {
        name: alice.slurm_nb(command, f"--login-host={value}", *words)
        for name, value in LOGINS.items()
    }

    got_in = [name for name, said in done.items() if not refused(said)]
    our_trial.verdict(bool(got_in) or _pwned(alice), [(name, done[name]) for name in got_in])


def test_local_ports(our_trial: Trial, alice: Scientist) -> None:
    """Give shell text, a root's port or one that browsers refuse as --local-port: refused."""
    values = ("22", "0", "-1", "65536", "8888 -R 1:x:1", "6667", "$(id)", "1e4")
    job_id = our_trial.target.job_id
    done = [alice.slurm_nb("tunnel-cmd", f"--local-port={value}", job_id) for value in values]

    got_in = [said for said in done if not refused(said)]
    our_trial.verdict(bool(got_in) or _pwned(alice), got_in)


def test_sbatch_options(our_trial: Trial, alice: Scientist) -> None:
    """Give another script, output or array after `--`: refused, however it is abbreviated."""
    before = alice.squeue("%i")
    done = {
        name: alice.slurm_nb("submit", "--no-wait", "--", value)
        for name, value in AFTER_DASHES.items()
    }

    got_in = [name for name, said in done.items() if not refused(said)]
    planted = (alice.cluster.login.root / "tmp/planted").exists()
    changed = alice.squeue("%i") != before
    evidence = [(name, done[name]) for name in got_in]
    our_trial.verdict(bool(got_in) or planted or changed or _pwned(alice), evidence)


@pytest.mark.parametrize("name", ["$(touch /tmp/pwned)", "a'b\"c;touch /tmp/pwned", "--wrap=id"])
def test_shell_text_in_a_job_name(our_trial: Trial, alice: Scientist, name: str) -> None:
    """Name the job with shell text or an option: it is quoted, and stays a name."""
    said = alice.slurm_nb("submit", "--no-wait", "-w", "c1", "-J", name)
    shown = alice.squeue("%j")
    alice.cluster.login.run(["bash", "-c", f"scancel --name={shlex.quote(name)}"], user="alice")

    our_trial.verdict(name not in shown or _pwned(alice) or said.exit_code != 0, (said, shown))


def test_escapes_in_a_job_name(our_trial: Trial, alice: Scientist) -> None:
    """Have a job name set the terminal's title: a control character in a name is refused."""
    said = alice.slurm_nb("submit", "--no-wait", "-J", "\x1b]0;pwned\x07")

    our_trial.verdict(not refused(said), said)


def test_escapes_from_squeue(our_trial: Trial, alice: Scientist) -> None:
    """Make squeue report a state or reason with terminal escapes: slurm-nb escapes them."""
    steer = r"s/RUNNING/RUN\x1b]0;pwned\x07/; s/None/Rea\x1b[31mson/"
    said = _told(our_trial, alice, f"/usr/bin/squeue \"$@\" | sed '{steer}'", "exit 1")

    assert "x1b" in said.stderr, said
    our_trial.verdict("\x1b" in said.stdout + said.stderr, said)


def test_escapes_from_scontrol(our_trial: Trial, alice: Scientist) -> None:
    """Make scontrol report them where squeue is silent: slurm-nb escapes them."""
    steer = r"s/RUNNING Reason=None/PENDING Reason=Rea\x1b[31mson\xe2\x80\xae/"
    said = _told(our_trial, alice, "exit 0", f"/usr/bin/scontrol \"$@\" | sed '{steer}'")

    assert "x1b" in said.stderr, said
    our_trial.verdict(bool({"\x1b", "\u202e"} & {*said.stdout, *said.stderr}), said)


def _told(our_trial: Trial, alice: Scientist, squeue: str, scontrol: str) -> Said:
    """Return what status says with these instead of Slurm's commands, all of it as stderr."""
    env: dict[str, str] = {}
    for name, body in (("squeue", squeue), ("scontrol", scontrol)):
        env = alice.program(name, f"#!/bin/sh\n{body}\n")
    try:
        said = alice.slurm_nb("status", our_trial.target.job_id, env=env)
    finally:
        for name in ("squeue", "scontrol"):
            (alice.home / "bin" / name).unlink()
    return Said(said.exit_code, said.stdout, said.stdout + said.stderr)


def test_escapes_in_the_log_tail(our_trial: Trial, alice: Scientist) -> None:
    """Have the job fail with terminal escapes in its output: the shown lines escape them."""
    program = "#!/bin/sh\nprintf 'no Jupyter \\033]0;pwned\\007\\033[2J here\\n'\nexit 3\n"
    alice.program("python-that-fails", program)
    said = alice.slurm_nb("submit", "-w", "c1", "--python", "/home/alice/bin/python-that-fails")

    assert "no Jupyter" in said.stderr, said
    our_trial.verdict("\x1b" in said.stdout + said.stderr, said)


def test_a_job_of_the_same_name(our_trial: Trial, alice: Scientist) -> None:
    """Run a job of the same name, with a ready line in its output: only the id finds a session."""
    target = our_trial.target
    name = target.cluster.login.run(["squeue", "-h", "-j", target.job_id, "-o", "%j"]).stdout
    words = ["sbatch", "--parsable", "-w", "c1", f"--job-name={name.strip()}", "--wrap=sleep 60"]
    other = alice.cluster.login.run(words, user="mallory").stdout.strip()
    told = [alice.slurm_nb("tunnel-cmd", other), alice.slurm_nb("cancel", other)]
    lives = alice.cluster.login.run(["squeue", "-h", "-j", other, "-o", "%T"]).stdout.strip()
    alice.cluster.login.run(["scancel", other], user="mallory")

    found = any(said.exit_code == 0 for said in told)
    our_trial.verdict(found or lives not in {"RUNNING", "PENDING"}, (told, lives))


def _pwned(alice: Scientist) -> bool:
    return (alice.cluster.login.root / "tmp/pwned").exists()
