"""Completion in real shells: options, values, profiles and the ids of saved sessions."""

from __future__ import annotations

import os
import pty
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from slurm_nb.cli.commands.completion import SHELLS
from slurm_nb.files import write_private
from slurm_nb.joblog.events import Ready
from slurm_nb.scheduler.job import Job, JobState, Phase
from slurm_nb.session.session import Session
from slurm_nb.session.store import Store
from tests.conftest import ROOT, AddProgram
from tests.fakes import settle_as_proven

# Saves its arguments, unless the shell wants completions.
PROGRAM = """#!/bin/bash
if [ -z "$_SLURM_NB_COMPLETE" ] && [ "$1" != completion ]; then
  printf '%s\\n' "$*" >"$CALLED"
  exit
fi
exec "$PYTHON" -m slurm_nb "$@"
"""
START = {
    "bash": ["bash", "--norc", "--noprofile", "-i"],
    "zsh": ["zsh", "-f", "-i"],
}
SET_UP = {
    "bash": "PS1='ready> '; eval \"$(slurm-nb completion bash)\"; echo set''up\n",
    "zsh": "PS1='ready> '; autoload -Uz compinit; compinit -u -D;"
    ' eval "$(slurm-nb completion zsh)"; echo set""up\n',
}
NOT_FOUND = "the shell is not installed"


@pytest.fixture
def shell_environ(store: Store, tmp_path: Path) -> dict[str, str]:
    """Return a shell's environment with this checkout's slurm-nb and sessions 4711 and 5."""
    store.save(Session(job=Job("4711", "hpc")))
    store.save(Session(job=Job("5", "hpc")))
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "slurm-nb").write_text(PROGRAM, encoding="utf-8")
    (folder / "slurm-nb").chmod(0o755)
    return {
        "PATH": f"{folder}:/usr/bin:/bin",
        "HOME": str(tmp_path),
        "TERM": "dumb",
        "LANG": "C.UTF-8",
        "PYTHON": sys.executable,
        "PYTHONPATH": str(ROOT),
        "CALLED": str(tmp_path / "called"),
        "SLURM_NB_HOME": str(store.folder),
        "XDG_CONFIG_HOME": os.environ["XDG_CONFIG_HOME"],
    }


def typed(shell: str, line: str, environ: Mapping[str, str]) -> str:
    """Type `line` with its tabs and Enter; return the arguments that slurm-nb gets."""
    master, slave = pty.openpty()
    process = subprocess.Popen(
        START[shell],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        env=dict(environ),
        start_new_session=True,
    )
    os.close(slave)
    try:
        os.write(master, SET_UP[shell].encode())
        _read_until(master, "\nsetup")
        os.write(master, f"{line}\nexit\n".encode())
        _read_until(master, None)
        process.wait(20)
    finally:
        process.kill()
        process.wait()
        os.close(master)
    return Path(environ["CALLED"]).read_text(encoding="utf-8").strip()


def _read_until(master: int, text: str | None) -> None:
    """Read the terminal's output up to `text`; with None, until the shell has ended."""
    screen = ""
    deadline = time.monotonic() + 30
    while text is None or text not in screen.replace("\r", ""):
        found, _, _ = select.select([master], [], [], deadline - time.monotonic())
        assert found, f"waited in vain for {text!r}:\n{screen}"
        try:
            screen += os.read(master, 65536).decode(errors="replace")
        except OSError:  # EIO: the shell has ended
            break
    assert text is None or text in screen.replace("\r", ""), screen


def completions(environ: Mapping[str, str], *words: str) -> list[str]:
    """Return what bash offers for the last word of `slurm-nb WORDS`."""
    done = subprocess.run(
        [sys.executable, "-m", "slurm_nb"],
        env={
            **environ,
            "_SLURM_NB_COMPLETE": "bash_complete",
            "COMP_WORDS": " ".join(["slurm-nb", *words]),
            "COMP_CWORD": str(len(words)),
        },
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    return [line.partition(",")[2] for line in done.stdout.splitlines() if line]


@pytest.mark.parametrize("shell", START)
@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("slurm-nb cancel 4\t", "cancel 4711"),
        ("slurm-nb tunnel-cmd 47\t", "tunnel-cmd 4711"),
        ("slurm-nb sub\t --listen so\t", "submit --listen socket"),
        ("slurm-nb submit --cpus\t4", "submit --cpus-per-task 4"),
        ("slurm-nb submit --notebook-dir ~/bi\t", "submit --notebook-dir {home}/bin"),
        ("slurm-nb submit --template ~/bin/slu\t", "submit --template {home}/bin/slurm-nb"),
        ("slurm-nb submit --env ~/bi\t", "submit --env {home}/bin"),
        ("slurm-nb submit --container ~/bi\t", "submit --container {home}/bin"),
        ("slurm-nb submit --python ~/bi\t", "submit --python {home}/bin"),
    ],
)
def test_a_tab_completes(shell: str, line: str, words: str, shell_environ: dict[str, str]) -> None:
    """Job ids, commands, options, their values and files work in a real shell."""
    if shutil.which(shell) is None:
        pytest.skip(f"{shell}: {NOT_FOUND}")

    wanted = words.format(home=shell_environ["HOME"])
    # zsh removes the slash after a directory again.
    assert typed(shell, line, shell_environ).rstrip("/").split() == wanted.split()


def test_zsh_loads_the_script_from_a_folder_of_functions(
    shell_environ: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A site can install it for all users as a file _slurm-nb on fpath, without eval."""
    if shutil.which("zsh") is None:
        pytest.skip(f"zsh: {NOT_FOUND}")
    (tmp_path / "functions").mkdir()
    install = f"slurm-nb completion zsh > {tmp_path}/functions/_slurm-nb"
    subprocess.run(["bash", "-c", install], env=shell_environ, check=True)
    fpath = f"fpath=({tmp_path}/functions $fpath)"
    set_up = f'{fpath}; autoload -Uz compinit; compinit -u -D; echo set""up\n'
    monkeypatch.setitem(SET_UP, "zsh", set_up)

    assert typed("zsh", "slurm-nb cancel 4\t", shell_environ) == "cancel 4711"


def test_fish_completes(shell_environ: dict[str, str]) -> None:
    """fish itself says what it would offer."""
    if shutil.which("fish") is None:
        pytest.skip(f"fish: {NOT_FOUND}")
    script = "slurm-nb completion fish | source; complete -C 'slurm-nb cancel '"

    done = subprocess.run(
        ["fish", "--no-config", "-c", script],
        env=shell_environ,
        capture_output=True,
        text=True,
        check=True,
    )

    offered = {line.partition("\t")[0] for line in done.stdout.splitlines()}  # fish sorts by itself
    assert offered == {"4711", "5"}


@pytest.mark.parametrize("shell", SHELLS)
def test_the_script_for_each_shell_calls_slurm_nb(
    shell: str, shell_environ: dict[str, str]
) -> None:
    """`completion SHELL` prints only the script."""
    done = subprocess.run(
        ["slurm-nb", "completion", shell],
        env=shell_environ,
        capture_output=True,
        text=True,
        check=True,
    )

    assert f"_SLURM_NB_COMPLETE={shell}_complete" in done.stdout
    assert done.stderr == ""


def test_ended_sessions_are_not_offered(store: Store, shell_environ: dict[str, str]) -> None:
    """The newest is offered before the others; only a confirmed end removes a session."""
    session = Session(job=Job("4712", "hpc"))
    store.save(session)
    ended = JobState(Phase.ENDED, "CANCELLED")
    settle_as_proven(store, session, ended)
    store.save(Session(job=Job("local-6000", "local")))
    running = replace(
        session, job=Job("4713", "hpc"), ready=Ready(node="c1", port=40000, path="/tree")
    )
    store.save(running)
    write_private(store.session_folder("hpc", "4713") / "token", "ab" * 32)

    assert completions(shell_environ, "cancel", "") == ["local-6000", "4713", "4711", "5"]


def test_an_id_on_the_line_is_not_offered_again(shell_environ: dict[str, str]) -> None:
    """`cancel` takes several."""
    assert completions(shell_environ, "cancel", "4711", "") == ["5"]


def test_profiles_are_completed_from_the_files(
    shell_environ: dict[str, str], tmp_path: Path
) -> None:
    """A broken file gives no completions and no message."""
    path = tmp_path / "config/slurm-nb/config.toml"
    path.parent.mkdir(parents=True)
    path.write_text("[profiles.gpu]\n[profiles.long]\n", encoding="utf-8")
    offered = completions(shell_environ, "submit", "-P", "")
    path.write_text("= =", encoding="utf-8")

    assert offered == ["gpu", "long"]
    assert completions(shell_environ, "submit", "-P", "") == []


def test_completion_runs_no_program_and_loads_little(shell_environ: dict[str, str]) -> None:
    """It does not query Slurm or import slow modules."""
    code = (
        "import sys; from slurm_nb.cli.main import run\n"
        "try: run()\n"
        "except SystemExit: pass\n"
        "print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={
            **shell_environ,
            "PATH": "",
            "_SLURM_NB_COMPLETE": "bash_complete",
            "COMP_WORDS": "slurm-nb cancel ",
            "COMP_CWORD": "2",
        },
        capture_output=True,
        text=True,
        check=True,
    )

    *offered, modules = done.stdout.splitlines()
    assert offered == ["plain,4711", "plain,5"]
    assert not set(modules.split()) & {"jinja2", "submitit", "asyncio", "jupyter_server"}


@pytest.mark.parametrize(
    ("option", "offered"),
    [("-p", ["main"]), ("--account", ["project"]), ("--qos", ["normal", "long"])],
)
def test_names_that_slurm_offers_are_completed(
    shell_environ: dict[str, str], program: AddProgram, option: str, offered: list[str]
) -> None:
    """These are partitions, accounts and QOS, or nothing if Slurm does not respond."""
    program("sacctmgr", "printf 'project|normal,long\\n'")
    program("sinfo", "exit 1")
    folder = program("scontrol", "echo PartitionName=main").parent
    environ = {**shell_environ, "PATH": f"{folder}:{shell_environ['PATH']}"}

    assert completions(environ, "submit", option, "") == offered
    for name in ("scontrol", "sacctmgr"):
        program(name, "echo down >&2; exit 1")
    assert completions(environ, "submit", option, "") == []
