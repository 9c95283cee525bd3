"""Select the environment variables to pass from the submitting shell to the job: those of a login.

sbatch passes its whole environment to the job unless `--export` says otherwise (sbatch(1)). So
slurm-nb removes all other variables from sbatch's own environment.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Mapping

_PASSED = frozenset(
    {
        # The user and their language.
        "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LANGUAGE", "TZ",
        # The location of Slurm, but no options for one command (sbatch(1)).
        "SLURM_CONF", "SLURM_CLUSTERS", "SLURM_JWT",
        # The locations of the user's files (XDG base directories; `jupyter --paths`; ipython(1)).
        "SLURM_NB_HOME", "SLURM_NB_SITE_CONFIG",
        "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME",
        "IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_CONFIG_PATH", "JUPYTER_DATA_DIR",
        "JUPYTER_PATH", "JUPYTERLAB_SETTINGS_DIR", "JUPYTERLAB_WORKSPACES_DIR",
        # Proxies.
        "http_proxy", "https_proxy", "ftp_proxy", "all_proxy", "no_proxy",
        "HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "ALL_PROXY", "NO_PROXY",
    }
)  # fmt: skip
# Variables of an enclosing job or slurm-nb session; `--export=ALL` does not include them.
_AROUND = ("SLURM_", "SLURMD_", "SPANK_", "PMI_", "PMIX_", "PMI2_")
_SYSTEM_PATH = frozenset(
    f"{above}/{name}" for above in ("/usr/local", "/usr", "") for name in ("bin", "sbin")
)
_HOME_PATH = ("bin", ".local/bin")

# Options that slurm-nb sets itself.
_RESERVED = frozenset(
    {
        "SBATCH_OUTPUT", "SBATCH_ERROR", "SBATCH_OPEN_MODE", "SBATCH_ARRAY_INX", "SBATCH_WAIT",
        "SBATCH_QUIET", "SBATCH_TEST_ONLY",
    }
)  # fmt: skip
# Options of sbatch with a variable of another name.
_NAMED_OTHERWISE = {
    "TIME": "TIMELIMIT", "MEM": "MEM_PER_NODE", "OVERSUBSCRIBE": "EXCLUSIVE", "CLUSTER": "CLUSTERS",
    "-t": "TIMELIMIT", "-A": "ACCOUNT", "-p": "PARTITION", "-q": "QOS", "-G": "GPUS",
    "-C": "CONSTRAINT", "-J": "JOB_NAME", "-M": "CLUSTERS", "-k": "NO_KILL", "-O": "OVERCOMMIT",
    "-S": "CORE_SPEC", "-m": "DISTRIBUTION", "-i": "INPUT",
}  # fmt: skip


def sbatch_environment(
    environ: Mapping[str, str], options: list[str], *, commands: str | None
) -> dict[str, str]:
    """Return the environment for sbatch, and so for the job.

    options: the words for sbatch. A `SBATCH_*` variable overrides the same option in the script
    (sbatch(1), "INPUT ENVIRONMENT VARIABLES"), so it is removed if the user set the option.
    commands: the folder of Slurm's commands.
    """
    reserved = {*_RESERVED} | {_variable(option) for option in options if option.startswith("-")}
    if "SBATCH_CLUSTERS" in reserved:
        reserved.add("SLURM_CLUSTERS")  # means the same to sbatch
    kept = {name: value for name, value in environ.items() if name not in reserved}
    exported = option_value(options, "--export") or kept.get("SBATCH_EXPORT", "")
    named = {word.partition("=")[0] for word in exported.split(",")}
    if "ALL" in named:
        return {
            name: value
            for name, value in kept.items()
            if name in _PASSED or not name.startswith(_AROUND)
        }
    passed = job_environment(kept, also=named, commands=commands)
    return passed | {name: value for name, value in kept.items() if name.startswith("SBATCH_")}


def job_environment(
    environ: Mapping[str, str], *, also: Iterable[str] = (), commands: str | None = None
) -> dict[str, str]:
    """Return the part of `environ` for a job, with the PATH of a login.

    also: more names to pass; with PATH among them, all of PATH. commands: a folder to keep in PATH.
    """
    also = set(also)
    passed = {
        name: value
        for name, value in environ.items()
        if name in _PASSED or name.startswith("LC_") or name in also
    }
    if "PATH" in environ and "PATH" not in also:
        home = environ.get("HOME", "/nonexistent")
        own = {posixpath.join(home, name) for name in _HOME_PATH}
        kept = [
            folder
            for folder in environ["PATH"].split(":")
            if folder.rstrip("/") in _SYSTEM_PATH | own or (folder and folder == commands)
        ]
        passed["PATH"] = ":".join(kept) or environ["PATH"]  # not every system has /usr/bin
    return passed


def option_value(words: list[str], long: str, short: str = "") -> str | None:
    """Return the last value of an option in the words of a command line; None without it.

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
    """Return the clusters that sbatch chooses from, `big,small`; empty: the login node's own.

    `-M` overrides SBATCH_CLUSTERS, which overrides SLURM_CLUSTERS (sbatch(1)).
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
