"""The command line that was probably meant, for an unknown command or option."""

from __future__ import annotations

import shlex
from collections.abc import Collection

import click

from slurm_nb.errors import UsageError, closest

# Names that users know from other programs, and our commands.
_COMMANDS = {
    "start": "submit", "run": "submit", "launch": "submit", "sbatch": "submit", "new": "submit",
    "notebook": "submit", "lab": "submit", "jupyter": "submit",
    "tunnel": "tunnel-cmd", "ssh": "tunnel-cmd", "relay": "connect", "link": "url",
    "ls": "list", "ps": "list", "squeue": "list", "sessions": "list",
    "info": "status", "show": "status", "log": "logs", "output": "logs", "tail": "logs",
    "stop": "cancel", "kill": "cancel", "end": "cancel", "rm": "cancel", "delete": "cancel",
    "scancel": "cancel", "passwd": "password", "settings": "config", "init": "config init",
    "version": "--version",
}  # fmt: skip
# Names that users know from other programs or from sbatch, and our options.
_OPTIONS = {
    "--cpus": ["--cpus-per-task"], "-n": ["--cpus-per-task"], "--ntasks": ["--cpus-per-task"],
    "--cores": ["--cpus-per-task"], "--memory": ["--mem"], "--ram": ["--mem"], "--gpu": ["--gpus"],
    "--walltime": ["--time"], "--limit": ["--time"], "--queue": ["--partition"],
    "--name": ["--job-name"], "--project": ["--account"], "--conda": ["--env"],
    "--venv": ["--env"], "--image": ["--container"], "--dir": ["--notebook-dir"],
    "--directory": ["--notebook-dir"], "--port": ["--local-port"], "--timeout": ["--wait-timeout"],
    "--lab": ["--ui", "lab"], "--jupyterlab": ["--ui", "lab"], "--notebook": ["--ui", "notebook"],
    "--socket": ["--listen", "socket"],
    "--direct": ["--route", "direct"], "--password": ["--auth", "password"],
}  # fmt: skip
# Long options of sbatch that resemble ours but mean something else (sbatch(1), 24.11).
_SBATCH = frozenset({
    "--begin", "--chdir", "--cores-per-socket", "--cpus-per-gpu", "--deadline",
    "--dependency", "--exclusive", "--export", "--gpus-per-node", "--gpus-per-task", "--hint",
    "--hold", "--licenses", "--mail-type", "--mail-user", "--mem-bind", "--mem-per-cpu",
    "--mem-per-gpu", "--mincpus", "--nice", "--no-requeue", "--nodes", "--ntasks-per-node",
    "--oversubscribe", "--priority", "--requeue", "--signal", "--switches", "--time-min", "--tmp",
    "--wckey",
})  # fmt: skip


def unknown_command(words: list[str], known: Collection[str]) -> UsageError:
    """Return the error for the first of `words`, which is not a command."""
    name, rest = words[0], words[1:]
    message = f"{name!r} is not a command"
    if name == "help":
        target = [rest[0]] if rest[:1] and rest[0] in known else []
        return UsageError(message, hint=f"write: {_line([*target, '--help'])}")
    meant = _COMMANDS.get(name.lower()) or closest(name, known)
    if meant:
        return UsageError(message, hint=f"did you mean: {_line([*meant.split(), *rest])}")
    return UsageError(message, hint="show all commands: slurm-nb --help")


def unknown_option(error: click.NoSuchOption, words: list[str]) -> UsageError:
    """Return the error for an option that click does not know; `words` are the program's own."""
    command = error.ctx.command_path if error.ctx else "slurm-nb"
    message = f"{command.removeprefix('slurm-nb ')} has no option {error.option_name}"
    meant = _meant(error, is_submit=command == "slurm-nb submit")
    at = next((i for i, word in enumerate(words) if _is(word, error.option_name)), None)
    if at is None or meant is None:
        return UsageError(message, hint=f"show the options: {command} --help")
    if not meant:
        return UsageError(f"{message}; options for sbatch go after --", hint=_passed_on(words, at))
    value = words[at].removeprefix(error.option_name)
    new = [*meant]
    if len(meant) == 1 and value:
        new = [f"{meant[0]}={value.removeprefix('=')}"]
    return UsageError(message, hint=f"did you mean: {_line([*words[:at], *new, *words[at + 1 :]])}")


def _meant(error: click.NoSuchOption, *, is_submit: bool) -> list[str] | None:
    """Return the option that the user meant; empty: an sbatch option; None: unknown."""
    params = error.ctx.command.params if error.ctx else []
    known = {opt for param in params for opt in param.opts if opt.startswith("--")}
    if is_submit and error.option_name in _OPTIONS:
        return _OPTIONS[error.option_name]
    close = closest(error.option_name, known)
    if close and error.option_name not in _SBATCH:
        return [close]
    return [] if is_submit else None


def _is(word: str, option: str) -> bool:
    if option.startswith("--"):
        return word.partition("=")[0] == option
    return word.startswith(option) and not word.startswith("--")


def _passed_on(words: list[str], at: int) -> str:
    """Return the command line with the option at `at`, and its value, after `--`."""
    has_value = "=" not in words[at] and at + 1 < len(words) and not words[at + 1].startswith("-")
    end = at + 1 + has_value
    own, behind = [*words[:at], *words[end:]], []
    if "--" in own:
        own, behind = own[: own.index("--")], own[own.index("--") + 1 :]
    return f"write: {_line([*own, '--', *behind, *words[at:end]])}"


def _line(words: list[str]) -> str:
    return shlex.join(["slurm-nb", *words])
