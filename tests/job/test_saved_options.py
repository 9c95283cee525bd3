"""A job's options as words that submit the same job again."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest

from slurm_nb.job.saved_options import split_words, to_argv
from slurm_nb.job.spec import JobSpec

HOME = Path("/home/alice")


def test_what_was_asked_for_comes_back_as_options() -> None:
    """Text, numbers, switches and lists each as submit takes them, sbatch's own words last."""
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


def test_what_was_left_to_slurm_says_nothing() -> None:
    """What slurm-nb itself decides is there: a config file may say otherwise by then."""
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
def test_what_is_for_sbatch_is_told_apart(
    words: tuple[str, ...], options: list[str], passed_on: list[str]
) -> None:
    """The first `--` parts the two."""
    assert split_words(words) == (options, passed_on)
