"""What crosses from the shell that submit was called from into the job: as little as a login has.

sbatch gives a job its own whole environment unless `--export` says otherwise (sbatch(1)), so what
is to stay behind is kept from sbatch itself.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Mapping

_CROSS = frozenset(
    {
        # Who the user is, and the language that they read.
        "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LANGUAGE", "TZ",
        # Where Slurm is, not what a caller wants of one command (sbatch(1)).
        "SLURM_CONF", "SLURM_CLUSTERS", "SLURM_JWT",
        # Where the user's files are (XDG base directories; `jupyter --paths`; ipython(1)).
        "SLURM_NB_HOME", "SLURM_NB_SITE_CONFIG",
        "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME",
        "IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_CONFIG_PATH", "JUPYTER_DATA_DIR",
        "JUPYTER_PATH", "JUPYTERLAB_SETTINGS_DIR", "JUPYTERLAB_WORKSPACES_DIR",
        # The way out of the cluster.
        "http_proxy", "https_proxy", "ftp_proxy", "all_proxy", "no_proxy",
        "HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "ALL_PROXY", "NO_PROXY",
    }
)  # fmt: skip
# Of a job around this one, or of a session of slurm-nb's; no `--export=ALL` means these.
_AROUND = ("SLURM_", "SLURMD_", "SPANK_", "PMI_", "PMIX_", "PMI2_")
_SYSTEM_PATH = frozenset(
    f"{above}/{name}" for above in ("/usr/local", "/usr", "") for name in ("bin", "sbin")
)
_HOME_PATH = ("bin", ".local/bin")

# What slurm-nb stands on, whatever the user's shell says.
_RESERVED = frozenset(
    {
        "SBATCH_OUTPUT", "SBATCH_ERROR", "SBATCH_OPEN_MODE", "SBATCH_ARRAY_INX", "SBATCH_WAIT",
        "SBATCH_QUIET", "SBATCH_TEST_ONLY",
    }
)  # fmt: skip
# Options of sbatch whose variable has another name.
_NAMED_OTHERWISE = {
    "TIME": "TIMELIMIT", "MEM": "MEM_PER_NODE", "OVERSUBSCRIBE": "EXCLUSIVE", "CLUSTER": "CLUSTERS",
    "-t": "TIMELIMIT", "-A": "ACCOUNT", "-p": "PARTITION", "-q": "QOS", "-G": "GPUS",
    "-C": "CONSTRAINT", "-J": "JOB_NAME", "-M": "CLUSTERS", "-k": "NO_KILL", "-O": "OVERCOMMIT",
    "-S": "CORE_SPEC", "-m": "DISTRIBUTION", "-i": "INPUT",
}  # fmt: skip


def sbatch_environment(
    environ: Mapping[str, str], options: list[str], *, commands: str | None
) -> dict[str, str]:
    """The environment that sbatch, and so the job, is given.

    `options` are the words that go to sbatch. A `SBATCH_*` variable beats the same option in the
    script (sbatch(1), "INPUT ENVIRONMENT VARIABLES"), so it goes where the user gave the option:
    flags win. `commands`: the folder of Slurm's commands.
    """
    reserved = {*_RESERVED} | {_variable(option) for option in options if option.startswith("-")}
    if "SBATCH_CLUSTERS" in reserved:
        reserved.add("SLURM_CLUSTERS")  # the same to sbatch
    kept = {name: value for name, value in environ.items() if name not in reserved}
    exported = option_value(options, "--export") or kept.get("SBATCH_EXPORT", "")
    named = {word.partition("=")[0] for word in exported.split(",")}
    if "ALL" in named:
        return {
            name: value
            for name, value in kept.items()
            if name in _CROSS or not name.startswith(_AROUND)
        }
    crossed = job_environment(kept, also=named, commands=commands)
    return crossed | {name: value for name, value in kept.items() if name.startswith("SBATCH_")}


def job_environment(
    environ: Mapping[str, str], *, also: Iterable[str] = (), commands: str | None = None
) -> dict[str, str]:
    """The part of `environ` that a job is given, PATH cut down to what a login has.

    also: names that cross as well, PATH then uncut. commands: a folder that stays in PATH.
    """
    also = set(also)
    crossed = {
        name: value
        for name, value in environ.items()
        if name in _CROSS or name.startswith("LC_") or name in also
    }
    if "PATH" in environ and "PATH" not in also:
        home = environ.get("HOME", "/nonexistent")
        own = {posixpath.join(home, name) for name in _HOME_PATH}
        kept = [
            folder
            for folder in environ["PATH"].split(":")
            if folder.rstrip("/") in _SYSTEM_PATH | own or (folder and folder == commands)
        ]
        crossed["PATH"] = ":".join(kept) or environ["PATH"]  # not every system has /usr/bin
    return crossed


def option_value(words: list[str], long: str, short: str = "") -> str | None:
    """The last value of an option in the words of a command line; None: it is not there.

    `["--export=A"]`, `["--export", "A"]`, `["-M", "big"]`, `["-Mbig"]`.
    """
    value = None
    for at, word in enumerate(words):
        if word in {long, short}:
            value = words[at + 1] if at + 1 < len(words) else ""
        elif word.startswith(f"{long}="):
            value = word.partition("=")[2]
        elif short and word.startswith(short) and not word.startswith("--"):
            value = word[len(short) :].removeprefix("=")
    return value


def clusters_asked_for(environ: Mapping[str, str], options: list[str]) -> str:
    """The clusters that sbatch will choose from, `big,small`; empty: the login node's own.

    `-M` wins over SBATCH_CLUSTERS, and that over SLURM_CLUSTERS (sbatch(1)).
    """
    for asked in (
        option_value(options, "--clusters", "-M"),
        option_value(options, "--cluster"),
        environ.get("SBATCH_CLUSTERS"),
        environ.get("SLURM_CLUSTERS"),
    ):
        if asked:
            return asked
    return ""


def _variable(option: str) -> str:
    if option.startswith("--"):
        name = option[2:].partition("=")[0].replace("-", "_").upper()
    else:
        name = option[:2]
    return "SBATCH_" + _NAMED_OTHERWISE.get(name, name)
