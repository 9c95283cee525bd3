"""The job gets the environment of a login and the variables that the user names, nothing else."""

from __future__ import annotations

import pytest

from slurm_nb.scheduler.environment import (
    clusters_asked_for,
    job_environment,
    option_value,
    sbatch_environment,
)

LOGIN = {
    "HOME": "/home/alice",
    "USER": "alice",
    "LC_TIME": "sv_SE.UTF-8",
    "XDG_STATE_HOME": "/home/alice/state",
    "https_proxy": "http://proxy:3128",
    "JUPYTER_PATH": "/home/alice/jupyter",
}
SHELL = {"CONDA_PREFIX": "/c", "LD_PRELOAD": "x.so", "BASH_FUNC_ml%%": "() { :; }", "SECRET": "s"}
JOB = {"SLURM_JOB_ID": "1", "SLURM_NTASKS": "4", "PMI_RANK": "0", "SLURM_NB_SESSION": "hpc/1"}


def test_only_login_variables_are_passed_to_the_job() -> None:
    """They are the user, language, directories and proxies, not the rest of a shell."""
    assert job_environment(LOGIN | SHELL | JOB) == LOGIN


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/usr/local/bin:/usr/bin:/bin", "/usr/local/bin:/usr/bin:/bin"),
        ("/c/envs/x/bin:/c/condabin:/usr/bin/:/bin", "/usr/bin/:/bin"),
        ("/home/alice/bin:/c:/home/alice/.local/bin", "/home/alice/bin:/home/alice/.local/bin"),
        ("/home/bob/bin:bin:.::/bin", "/bin"),
        ("/opt/slurm/bin:/bin", "/opt/slurm/bin:/bin"),
        ("/run/current-system/sw/bin", "/run/current-system/sw/bin"),
    ],
    ids=["system", "conda", "home", "others", "slurm", "nothing left"],
)  # fmt: skip
def test_path_is_that_of_a_login(path: str, expected: str) -> None:
    """It has the folders of the system, the user and Slurm's commands, in the user's order."""
    passed = job_environment({"HOME": "/home/alice", "PATH": path}, commands="/opt/slurm/bin")

    assert passed["PATH"] == expected


def test_sbatch_gets_the_variables_that_it_reads() -> None:
    """SBATCH_* are the user's defaults, and commands must know which Slurm to use."""
    environ = {"SBATCH_ACCOUNT": "a", "SLURM_CONF": "/etc/s.conf", "SLURM_CLUSTERS": "big"}

    assert sbatch_environment(environ | SHELL | JOB, [], commands=None) == environ


@pytest.mark.parametrize(
    ("options", "more"),
    [
        (["--export=SECRET"], {"SECRET"}),
        (["--export", "X=1,SECRET"], {"SECRET"}),
        (["--export=NONE"], set()),
        (["--export=ALL"], set(SHELL)),
        (["--export=ALL,X=1"], set(SHELL)),
    ],
    ids=" ".join,
)
def test_variables_named_by_the_user_are_passed(options: list[str], more: set[str]) -> None:
    """--export names them or says ALL; the variables of a surrounding job are never passed."""
    passed = sbatch_environment(LOGIN | SHELL | JOB, options, commands=None)

    assert set(passed) - set(LOGIN) == more


def test_sbatch_export_applies_unless_the_flag_is_given() -> None:
    """SBATCH_EXPORT is --export for all of the user's jobs."""
    environ = LOGIN | SHELL | {"SBATCH_EXPORT": "SECRET"}

    assert "SECRET" in sbatch_environment(environ, [], commands=None)
    assert "SECRET" not in sbatch_environment(environ, ["--export=NONE"], commands=None)


def test_a_path_named_by_the_user_is_passed_unchanged() -> None:
    """A user who names PATH wants their own."""
    environ = {"HOME": "/home/alice", "PATH": "/c/bin:/bin"}

    passed = sbatch_environment(environ, ["--export=PATH"], commands=None)

    assert passed["PATH"] == "/c/bin:/bin"


@pytest.mark.parametrize("option", ["--clusters=big", "-Mbig", "-M", "--cluster=big"])
def test_a_clusters_flag_overrides_both_variables(option: str) -> None:
    """sbatch reads SBATCH_CLUSTERS and SLURM_CLUSTERS, and both would override the script."""
    environ = {"SBATCH_CLUSTERS": "a", "SLURM_CLUSTERS": "b"}

    assert sbatch_environment(environ, [option, "big"], commands=None) == {}


@pytest.mark.parametrize(
    ("words", "value"),
    [
        ([], None),
        (["--clusters=a,b"], "a,b"),
        (["--clusters", "a"], "a"),
        (["-M", "a"], "a"),
        (["-Ma"], "a"),
        (["-M"], ""),
        (["-Ma", "--clusters=b"], "b"),
        (["--comment=-Mx", "--clustersx=b"], None),
    ],
    ids=str,
)
def test_the_last_value_of_an_option_is_found(words: list[str], value: str | None) -> None:
    """sbatch accepts long and short options, in one word or two."""
    assert option_value(words, "--clusters", "-M") == value


@pytest.mark.parametrize(
    ("environ", "options", "clusters"),
    [
        ({}, [], ""),
        ({"SLURM_CLUSTERS": "c"}, [], "c"),
        ({"SLURM_CLUSTERS": "c", "SBATCH_CLUSTERS": "b"}, [], "b"),
        ({"SLURM_CLUSTERS": "c", "SBATCH_CLUSTERS": "b"}, ["-Ma"], "a"),
    ],
)
def test_flags_override_variables_for_the_cluster(
    environ: dict[str, str], options: list[str], clusters: str
) -> None:
    """The order is -M, SBATCH_CLUSTERS, SLURM_CLUSTERS."""
    assert clusters_asked_for(environ, options) == clusters
