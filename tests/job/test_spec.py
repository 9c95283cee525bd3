"""JobSpec rejects what sbatch can never accept, naming option and value."""

from __future__ import annotations

import re
from dataclasses import FrozenInstanceError
from pathlib import Path
from typing import Any

import pytest

from slurm_nb.errors import UserError
from slurm_nb.job.spec import JobSpec, likely_too_small
from slurm_nb.job.text import refuse_control_characters
from slurm_nb.times import time_limit_s
from tests.conftest import recorded_json

TEXT_FIELDS = [
    "job_name", "account", "time", "partition", "qos", "mem", "gpus", "gres", "constraint",
    "nodelist", "exclude", "reservation",
]  # fmt: skip
RECORDED_TIMES: list[tuple[str, str | None]] = [(v, m) for v, m in recorded_json("sbatch-time.txt")]
RECORDED_SIZES: list[tuple[str, str | None]] = [(v, m) for v, m in recorded_json("sbatch-mem.txt")]
# sbatch 22.05 accepts it, but sbatch(1) does not describe it.
UNDOCUMENTED_TIMES = {"-1", "1-"}


def job(**values: Any) -> JobSpec:
    return JobSpec(
        **{"notebook_dir": Path("/home/alice"), "python": Path("/usr/bin/python3"), **values}
    )


def minutes(limit: str) -> int | None:
    """Return the minutes of a limit as squeue prints it: `1-12:30:00`, `5:00`, `UNLIMITED`."""
    if limit == "UNLIMITED":
        return None
    days, _, clock = limit.rpartition("-")
    hours, mins, _ = ["0", *clock.split(":")][-3:]
    return int(days or 0) * 1440 + int(hours) * 60 + int(mins)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 90 * 60),
        ("90:00", 90 * 60),
        ("0:30", 30),
        ("2:00:00", 7200),
        ("1-12", 36 * 3600),
        ("1-12:30", 36 * 3600 + 1800),
        ("1-12:30:15", 36 * 3600 + 1815),
        ("0-0:5", 300),
        ("007", 420),
    ],
)
def test_every_form_of_a_time_limit_has_its_seconds(text: str, seconds: int) -> None:
    """They follow sbatch(1)."""
    assert time_limit_s(text) == seconds
    assert job(time=text).time == text


@pytest.mark.parametrize("text", ["UNLIMITED", "unlimited", "Infinite", "0", "0:00", "0-0:00:00"])
def test_three_values_mean_no_time_limit(text: str) -> None:
    """They are unlimited, infinite and zero."""
    assert time_limit_s(text) is None


@pytest.mark.parametrize(
    "text", [text for text, limit in RECORDED_TIMES if limit is None or limit == "INVALID"]
)
def test_a_time_that_sbatch_rejected_is_rejected(text: str) -> None:
    """A real sbatch rejected it or turned it into an invalid limit."""
    with pytest.raises(UserError):
        job(time=text)


@pytest.mark.parametrize(
    ("text", "limit"),
    [(t, m) for t, m in RECORDED_TIMES if m and m != "INVALID" and t not in UNDOCUMENTED_TIMES],
)
def test_a_time_means_the_same_as_to_slurm(text: str, limit: str) -> None:
    """The seconds, rounded up to minutes, are the limit that Slurm set."""
    seconds = time_limit_s(text)

    assert (None if seconds is None else -(-seconds // 60)) == minutes(limit)


@pytest.mark.parametrize(
    "text",
    [
        "1-2-3",
        "--1",
        "1:-2",
        "1e3",
        "\u0663",
        "1\u00a0",
        "90\n",
        "1:2:3:",
        "UNLIMITED ",
        "1-1:1:1:1",
    ],
)
def test_other_times_are_rejected(text: str) -> None:
    """sbatch(1) does not describe them; even non-ASCII digits are rejected."""
    with pytest.raises(UserError):
        job(time=text)


def test_a_time_beyond_slurms_counter_is_rejected() -> None:
    """Slurm's 32 bits of minutes cannot hold it; the error says how to write unlimited."""
    with pytest.raises(UserError, match="exceeds Slurm's maximum") as caught:
        job(time=f"{2**32 - 2}")

    assert "UNLIMITED" in caught.value.hint
    assert time_limit_s(str(2**32 - 3)) == (2**32 - 3) * 60


def test_the_error_about_a_time_shows_the_valid_forms() -> None:
    """It names the option and the value."""
    with pytest.raises(UserError) as caught:
        job(time="2h")

    assert str(caught.value).startswith("--time '2h'")
    assert "1-12:30:00" in caught.value.hint
    assert caught.value.exit_code == 1


@pytest.mark.parametrize("size", ["4G", "4g", "4GB", "4096", "500M", "1K", "2T", "0"])
def test_a_size_that_sbatch_accepts_is_accepted(size: str) -> None:
    """Memory is a number, with or without one of sbatch's units."""
    assert job(mem=size).mem == size


@pytest.mark.parametrize("size", [v for v, complaint in RECORDED_SIZES if complaint])
def test_a_size_that_sbatch_rejected_is_rejected(size: str) -> None:
    """A real sbatch called it invalid."""
    with pytest.raises(UserError, match="--mem"):
        job(mem=size)


@pytest.mark.parametrize("gpus", ["1", "16", "a100:2", "nvidia_a100-sxm4.80gb:1", "a100:1,v100:2"])
def test_gpus_are_a_number_with_or_without_a_type(gpus: str) -> None:
    """The number may follow a type."""
    assert job(gpus=gpus).gpus == gpus


@pytest.mark.parametrize("gpus", ["0", "-1", "a100", "a100:", ":2", "a100:0", "1.5", "1 2", "2;id"])
def test_other_values_for_gpus_are_rejected(gpus: str) -> None:
    """The number must be positive."""
    with pytest.raises(UserError, match=re.escape(f"--gpus {gpus!r}")):
        job(gpus=gpus)


@pytest.mark.parametrize("cpus", [0, -1])
def test_fewer_than_one_cpu_is_rejected(cpus: int) -> None:
    """A job has at least one CPU."""
    with pytest.raises(UserError, match=f"--cpus-per-task {cpus}:"):
        job(cpus_per_task=cpus)


@pytest.mark.parametrize("field", TEXT_FIELDS)
@pytest.mark.parametrize("blank", ["", " ", "\u3000"])
def test_an_empty_value_is_rejected(field: str, blank: str) -> None:
    """The error names the command-line option."""
    with pytest.raises(UserError, match=f"^--{field.replace('_', '-')} "):
        job(**{field: blank})


@pytest.mark.parametrize("field", TEXT_FIELDS)
@pytest.mark.parametrize("char", ["\n", "\r", "\0", "\t", "\x1b", "\x7f", "\x85", "\udcff"])
def test_a_control_character_is_rejected(field: str, char: str) -> None:
    """In any field it could begin another line or control a terminal."""
    with pytest.raises(UserError, match=f"^--{field.replace('_', '-')} ") as caught:
        job(**{field: f"1{char}"})

    assert char not in str(caught.value)


@pytest.mark.parametrize("field", ["notebook_dir", "python"])
@pytest.mark.parametrize("char", ["\n", "\x1b", "\udc80"])
def test_a_control_character_in_a_path_is_rejected(field: str, char: str) -> None:
    """The job script contains paths as well."""
    with pytest.raises(UserError, match=field.replace("_", "-")):
        job(**{field: Path(f"/home/a{char}b")})


def test_a_control_character_in_an_sbatch_option_is_rejected() -> None:
    """Options after `--` must not add a line to the job script either."""
    with pytest.raises(UserError, match="contains a newline"):
        job(sbatch_options=("--comment=a\n#SBATCH --array=1-99",))


@pytest.mark.parametrize("text", ["café", "naïve 名前", "a\u00a0b", "~`$(id)'\"\\%#!"])
def test_printable_text_is_accepted(text: str) -> None:
    """The script quotes it."""
    refuse_control_characters("value", text)

    assert job(job_name=text).job_name == text


@pytest.mark.parametrize(
    ("field", "path"),
    [
        *(("notebook_dir", path) for path in ("notebooks", "x/y", "", "~/x")),
        *(("python", path) for path in ("x/y", "", "~/x")),
    ],
)
def test_a_relative_path_is_rejected(field: str, path: str) -> None:
    """The job starts in its own directory, so paths must be absolute."""
    with pytest.raises(UserError, match="must be an absolute path"):
        job(**{field: Path(path)})


def test_an_unknown_ui_is_rejected() -> None:
    """slurm-nb can start only two."""
    with pytest.raises(UserError, match="--ui 'classic': must be notebook or lab"):
        job(ui="classic")


@pytest.mark.parametrize(
    "words",
    [
        ("-o", "x"),
        ("-ox",),
        ("-o=x",),
        ("--output=x",),
        ("--output", "x"),
        ("--out", "x"),
        ("--outp=x",),
        ("-e", "x"),
        ("-ex",),
        ("--error=x",),
        ("--err=x",),
        ("-HQo", "x"),
        ("-Hsvox",),
        ("--open-mode=truncate",),
        ("--open=t",),
        ("-a", "1-3"),
        ("-a1-3",),
        ("--array=1-3",),
        ("--array", "1-3"),
        ("--arr=1",),
        ("--wrap=hostname",),
        ("--wra", "x"),
        ("-W",),
        ("--wait",),
        ("-QW",),
        ("--test-only",),
        ("--test",),
        ("--parsable",),
        ("--help",),
        ("-h",),
        ("--usage",),
        ("-V",),
        ("--version",),
        ("--exclusive", "-o", "x"),
    ],
)
def test_an_option_that_slurm_nb_must_set_is_reserved(words: tuple[str, ...]) -> None:
    """Output, array and the like cannot be passed on in any spelling."""
    with pytest.raises(UserError, match="slurm-nb cannot pass") as caught:
        job(sbatch_options=words)

    assert any(repr(word) in str(caught.value) for word in words)
    assert "--dry-run" in caught.value.hint


@pytest.mark.parametrize(
    "words",
    [
        ("-w", "c1"),
        ("-x", "c2"),
        ("-xoa",),
        ("-Jfoo",),
        ("-H",),
        ("-n", "2"),
        ("--exclusive",),
        ("--mail-type=END",),
        ("--export=NONE",),
        ("--nodes=1",),
        ("--overcommit",),
        ("--wait-all-nodes=1",),
        ("--wckey=x",),
        ("--comment=-o x",),
        ("--comment", "it's"),
        ("--hint=nomultithread",),
        ("--verbose",),
    ],
)
def test_other_options_of_sbatch_are_passed_on(words: tuple[str, ...]) -> None:
    """They reach sbatch unchanged."""
    assert job(sbatch_options=words).sbatch_options == words


@pytest.mark.parametrize("word", ["script.sh", "", "c1"])
def test_words_after_dashes_must_start_with_an_option(word: str) -> None:
    """A script's name after `--` is rejected: the script is slurm-nb's own."""
    with pytest.raises(UserError, match="is not an option"):
        job(sbatch_options=(word,))


def test_directives_contain_only_given_options() -> None:
    """Slurm chooses the others."""
    assert job().directives() == ["--job-name=slurm-nb"]


def test_directives_use_slurms_own_option_names() -> None:
    """Each given field becomes the sbatch option with the same name."""
    everything = job(
        job_name="n", account="a", time="1-12", partition="p,q", qos="high", cpus_per_task=4,
        mem="4G", gpus="a100:1", gres="tmp:1G", constraint="ib&avx", nodelist="c[1-2]",
        exclude="c3", reservation="class",
    )  # fmt: skip

    assert everything.directives() == [
        "--job-name=n",
        "--account=a",
        "--time=1-12",
        "--partition=p,q",
        "--qos=high",
        "--cpus-per-task=4",
        "--mem=4G",
        "--gpus=a100:1",
        "--gres=tmp:1G",
        "--constraint=ib&avx",
        "--nodelist=c[1-2]",
        "--exclude=c3",
        "--reservation=class",
    ]


def test_a_spec_cannot_change() -> None:
    """Checked values stay as they were checked."""
    spec = job()

    with pytest.raises(FrozenInstanceError):
        spec.time = "2h"  # type: ignore[misc]


# --- environments ---


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"env": "a/b"}, "--env 'a/b': must be an absolute path, or a name"),
        ({"env": "-x"}, "--env '-x': must not begin with a dash"),
        ({"env": " "}, "--env ' ': is empty"),
        ({"module": ("a", "-f")}, "--module '-f': must not begin with a dash"),
        ({"module": ("",)}, "--module '': is empty"),
        ({"setup": (" ",)}, "--setup '': is empty"),
        ({"setup": ("a\nb",)}, "contains a newline"),
        ({"container": "x.sif"}, "--container 'x.sif': must be an absolute path, or a URI"),
        ({"container": "://x"}, "must be an absolute path, or a URI"),
        ({"container": "/x.sif", "env": "y"}, "--env and --container cannot be combined"),
    ],
)
def test_an_impossible_environment_is_rejected(changes: dict[str, Any], said: str) -> None:
    """The error names option and value before a job is submitted."""
    with pytest.raises(UserError, match=re.escape(said)):
        job(**changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"env": "/home/alice/my env"},
        {"env": "analysis"},
        {"module": ("python/3.11", "é")},
        {"container": "docker://quay.io/jupyter/base-notebook:latest"},
        {"container": "/x.sif", "module": ("apptainer",)},
        {"python": None},
        {"python": Path("python3.12")},
    ],
)
def test_a_valid_environment_stays_unchanged(changes: dict[str, Any]) -> None:
    """Paths, names and URIs reach the job as they are."""
    assert {name: getattr(job(**changes), name) for name in changes} == changes


def test_a_heterogeneous_job_is_rejected_in_plain_words() -> None:
    """sbatch would read it as two jobs."""
    with pytest.raises(UserError, match="one job, not a heterogeneous one") as caught:
        JobSpec(notebook_dir=Path("/"), sbatch_options=("-n1", ":", "-n1"))

    assert caught.value.hint == "leave out `:` and the options after it"


@pytest.mark.parametrize(
    ("mem", "note"),
    [
        ("8", "--mem 8 is 8 MiB; for 8 GiB write 8G"),
        ("8G", ""), ("8M", ""), ("4096", ""), ("0", ""),
    ],
)  # fmt: skip
def test_memory_without_a_unit_gets_a_note_if_it_is_tiny(mem: str, note: str) -> None:
    """Slurm counts in MiB, and 0 means all of the node's memory."""
    assert likely_too_small(mem) == note
