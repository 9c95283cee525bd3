"""A job's options as arguments that submit the same job again."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest

from slurm_nb.job.saved_options import split_words, to_argv
from slurm_nb.job.spec import JobSpec

HOME = Path("/home/alice")


def test_the_options_of_a_job_become_arguments_again() -> None:
    """Text, numbers, switches and lists are written for submit, followed by sbatch's options."""
    spec = JobSpec(
        notebook_dir=HOME / "a b",
        time="2:00:00",
        cpus_per_task=2,
        route="direct",
        tls=True,
        module=("python/3.11", "jupyter"),
        sbatch_options=("--comment", "it's", "--exclusive"),
    )

    words = to_argv(spec, template="/home/alice/t.sh.j2", local=False)

    asked = (
        "--time=2:00:00",
        "--cpus-per-task=2",
        "--route=direct",
        "--tls",
        "--notebook-dir=/home/alice/a b",
        "--module=python/3.11",
        "--module=jupyter",
        "--template=/home/alice/t.sh.j2",
        "--",
        "--comment",
        "it's",
        "--exclusive",
    )
    default = to_argv(JobSpec(notebook_dir=HOME), template=None, local=False)
    assert tuple(word for word in words if word not in default) == asked


def test_options_that_slurm_chooses_are_left_out() -> None:
    """slurm-nb's own defaults are included, because a config file may change them later."""
    spec = JobSpec(notebook_dir=HOME)

    words = to_argv(spec, template=None, local=True)

    decided = [each.name for each in fields(spec) if getattr(spec, each.name) not in (None, ())]
    assert {"--listen=port", "--no-tls", "--notebook-dir=/home/alice"} <= {*words}
    assert [word.removeprefix("--").removeprefix("no-").partition("=")[0] for word in words] == [
        *(name.replace("_", "-") for name in decided),
        "local",
    ]


@pytest.mark.parametrize(
    ("words", "options", "passed_on"),
    [
        (("--time=5", "--", "--exclusive", "--", "x"), ["--time=5"], ["--exclusive", "--", "x"]),
        (("--time=5",), ["--time=5"], []),
        ((), [], []),
    ],
)
def test_options_for_sbatch_are_separated(
    words: tuple[str, ...], options: list[str], passed_on: list[str]
) -> None:
    """The first `--` is the separator."""
    assert split_words(words) == (options, passed_on)
