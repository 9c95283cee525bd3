"""A job's options as words that submit the same job again."""

from __future__ import annotations

from pathlib import Path

import pytest

from slurm_nb.again import split_words, words_of
from slurm_nb.spec import JobSpec

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

    assert words_of(spec, template="/home/alice/t.sh.j2", local=False) == (
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


def test_defaults_say_nothing() -> None:
    """But for the directory, which is where the user was."""
    spec = JobSpec(notebook_dir=HOME)

    assert words_of(spec, template=None, local=True) == (
        "--notebook-dir=/home/alice",
        "--cluster=local",
    )


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
