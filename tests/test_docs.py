"""The commands and statements in README and docs/ are correct."""

from __future__ import annotations

import ast
import html
import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import click
import generate
import pytest
from man_page import man_page

from slurm_nb.cli.main import cli
from slurm_nb.errors import EXIT_CODES
from slurm_nb.files import write_private
from slurm_nb.job.spec import JobSpec
from slurm_nb.paths import user_config_path
from slurm_nb.scheduler import environment
from slurm_nb.scheduler.job import Job
from slurm_nb.session.session import Session
from slurm_nb.session.store import Store
from tests.fakes import Run, run

__all__ = ["run"]  # a fixture

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
SECURITY = DOCS / "explanation/security.md"
PAGES = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]
_FENCE = re.compile(r"^ *```(?:sh|console)\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(([^)#:]+)(?:#[^)]*)?\)")
_ANCHOR = re.compile(r"\]\(([^)#:]*)#([^)]+)\)")
_HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)
_PROMISE = re.compile(
    r"^\| (?:\[(.*)\]\(#.*\))? \| `(tests/[\w/]+\.py)::(test_\w+)` \|$", re.MULTILINE
)
_README_LINES = 80


def _name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def _commands(program: str) -> list[str]:
    """Yield every line in a shell block that calls `program`."""
    lines = []
    for page in PAGES:
        for block in _FENCE.findall(page.read_text(encoding="utf-8")):
            for line in block.splitlines():
                command = line.strip().removeprefix("$ ")
                if command.split(" ")[0] == program:
                    lines.append(command)
    return lines


@pytest.mark.parametrize("line", _commands("slurm-nb"))
def test_every_slurm_nb_command_in_the_docs_is_valid(line: str, store: Store) -> None:
    """The program's own parser accepts command, options and values."""
    session = Session(job=Job("7", "hpc"), job_name="analysis", options=("--time=90",))
    store.save(session)
    config = user_config_path(os.environ)
    config.parent.mkdir(parents=True)
    write_private(config, "[profiles.gpu]\ngpus = 1\n")
    name, *words = shlex.split(line.partition(" > ")[0], comments=True)[1:]
    group = click.Context(cli, **cli.context_settings)

    if name.startswith("-"):
        assert name in [opt for param in cli.get_params(group) for opt in param.opts]
        return
    command = cli.get_command(group, name)

    assert command is not None
    assert command.make_context(name, words, parent=group).info_name == name


def _site_files() -> list[str]:
    """Each example of a site's file, and all settings in a row of the security officer's page."""
    page = (DOCS / "admin/site-config.md").read_text(encoding="utf-8")
    officer = (DOCS / "admin/security-officer.md").read_text(encoding="utf-8")
    settings = [re.findall(r"`([\w-]+ = [^`]+)`", line) for line in officer.splitlines()]
    return [
        *re.findall(r"^```toml\n(.*?)^```", page, re.MULTILINE | re.DOTALL),
        *("\n".join(each) for each in settings if each),
    ]


@pytest.mark.parametrize("text", _site_files())
def test_every_site_file_of_the_docs_is_one(
    text: str, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`slurm-nb config` accepts it and shows what it locks."""
    path = tmp_path / "site.toml"
    path.write_text(text, encoding="utf-8")
    monkeypatch.setenv("SLURM_NB_SITE_CONFIG", str(path))

    said = run("config")

    assert said.code == 0, said.err
    (locked,) = re.findall(r"^locked = (.*)$", text, re.MULTILINE) or ["[]"]
    for key in ast.literal_eval(locked):
        assert re.search(rf"^{key} .*locked by {path}", said.out, re.MULTILINE)


@pytest.mark.parametrize("line", _commands("make"))
def test_every_make_target_in_the_docs_exists(line: str) -> None:
    """`make TARGET` names a rule of the Makefile."""
    target = line.split()[1]

    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_the_generated_parts_of_the_pages_match_the_program(page: Path) -> None:
    """They equal what the code says; renew them with SLURM_NB_UPDATE_GOLDEN=1."""
    text = page.read_text(encoding="utf-8")

    made = generate.committed(text)

    if os.environ.get("SLURM_NB_UPDATE_GOLDEN"):
        page.write_text(made, encoding="utf-8")
    assert made == page.read_text(encoding="utf-8")


@pytest.mark.timeout(180)  # Sphinx starts
def test_the_built_pages_show_every_option_and_key(tmp_path: Path) -> None:
    """Each command with its options, each key of a config file and each field of a job."""
    submit = cli.get_command(click.Context(cli), "submit")
    assert submit is not None
    named = [(each.path, *_terms(each)) for each in generate.helps()]
    shown = [param for param in submit.params if not getattr(param, "hidden", False)]
    variables = [str(param.envvar) for param in shown if param.envvar]
    subprocess.run([sys.executable, "-m", "sphinx", "--quiet", DOCS, tmp_path], check=True)

    for page, expected in (
        ("reference/commands", [term for terms in named for term in terms]),
        ("reference/config", variables),
        ("admin/templates", [f"spec.{field.name}" for field in fields(JobSpec)]),
    ):
        text = (tmp_path / f"{page}.html").read_text(encoding="utf-8")
        said = html.unescape(re.sub(r"<[^>]+>", "", text))
        assert len(expected) > 20
        assert [each for each in expected if not re.search(rf"{re.escape(each)}(?!\w)", said)] == []


def test_every_generated_part_is_on_one_page() -> None:
    """Every table is on exactly one page."""
    parts = [part for page in PAGES for part in generate.parts_of(page.read_text(encoding="utf-8"))]

    assert sorted(parts) == sorted(generate.PARTS)


def test_the_exit_codes_in_the_docs_are_those_of_the_program() -> None:
    """The reference names each code with its meaning."""
    text = (DOCS / "reference/exit-codes.md").read_text(encoding="utf-8")

    assert [int(code) for code in re.findall(r"^\| (\d+) \|", text, re.MULTILINE)] == list(
        EXIT_CODES
    )


def test_the_variables_in_the_docs_are_those_that_reach_the_job() -> None:
    """The reference names each variable that a job gets from the shell of its user."""
    text = (DOCS / "reference/environment-variables.md").read_text(encoding="utf-8")
    section = text.partition("## Variables passed to the job\n")[2].partition("\n## ")[0]
    names = set(re.findall(r"`([A-Za-z_]+)`", section))
    given = dict.fromkeys({*names, "SECRET"}, "/x")

    assert names == set(environment.job_environment(given))


def test_the_readme_is_short() -> None:
    """It fits on two screens; the rest is in docs/."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")

    assert len(text.splitlines()) <= _README_LINES


def test_the_tutorial_shows_what_submit_prints() -> None:
    """It is the README's block, which a test on a real cluster compares with the program."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    printed = readme.partition("$ slurm-nb submit ")[2].partition("\n")[2].partition("```")[0]

    assert printed.startswith("Submitted job 7.")
    assert f"```text\n{printed}```\n" in (DOCS / "tutorial.md").read_text(encoding="utf-8")


def test_the_first_page_names_pages_by_their_titles() -> None:
    """A reader who follows a link finds its words as the heading."""
    text = (DOCS / "index.md").read_text(encoding="utf-8")
    links = re.findall(r"\| \[([^\]]+)\]\(([^)#]+)[^)]*\) \|$", text, re.MULTILINE)

    titles = [(DOCS / page).read_text(encoding="utf-8").partition("\n")[0] for _, page in links]

    assert len(links) > 10
    assert [f"# {name}" for name, _ in links] == titles


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_every_link_between_pages_leads_somewhere(page: Path) -> None:
    """Relative links and pictures exist."""
    links = _LINK.findall(generate.built(page.read_text(encoding="utf-8")))

    assert [link for link in links if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_every_link_to_a_heading_leads_to_one(page: Path) -> None:
    """The part of a link after # is a heading of that page, as GitHub writes it."""
    links = _ANCHOR.findall(generate.built(page.read_text(encoding="utf-8")))

    assert [
        link for link in links if link[1] not in _anchors(page.parent / (link[0] or page))
    ] == []


def test_every_test_that_a_promise_names_exists() -> None:
    """The security page proves each promise by tests, and makes no promise without one."""
    text = SECURITY.read_text(encoding="utf-8")
    named = [(path, name) for _, path, name in _PROMISE.findall(text)]

    missing = [(path, name) for path, name in named if name not in _tests(ROOT / path)]

    assert len(named) == text.count("::test_") > 0
    assert missing == []


def test_every_promise_names_a_test() -> None:
    """No heading under "Promises" is missing in the table at the end of the page."""
    text = SECURITY.read_text(encoding="utf-8")
    promised = text.partition("## Promises\n")[2].partition("\n## ")[0]
    promises = re.findall(r"^### (.*)$", promised, re.MULTILINE)
    shown = [promise for promise, _, _ in _PROMISE.findall(text) if promise]

    assert promises
    assert [promise for promise in promises if promise not in shown] == []


def test_every_attack_belongs_to_a_promise_or_an_exception() -> None:
    """The security page names each test of tests/attacks."""
    text = SECURITY.read_text(encoding="utf-8")
    files = sorted((ROOT / "tests/attacks").glob("test_*.py"))
    attacks = [f"{path.relative_to(ROOT)}::{name}" for path in files for name in _tests(path)]

    assert attacks
    assert [attack for attack in attacks if f"`{attack}`" not in text] == []


def test_the_man_page_shows_every_command(tmp_path: Path) -> None:
    """man renders it without a complaint, and it has each command with each of its options."""
    if shutil.which("man") is None:
        pytest.skip("man is not installed")
    page = tmp_path / "slurm-nb.1"
    page.write_text(man_page(), encoding="utf-8")

    done = subprocess.run(
        ["man", "--warnings", "-l", str(page)],
        env=os.environ | {"MANWIDTH": "500", "LC_ALL": "C.UTF-8"},
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stderr == ""
    lines = [line.strip() for line in re.sub(".\b", "", done.stdout).splitlines()]
    terms = [term for each in generate.helps() for term in _terms(each)]
    paths = [each.path for each in generate.helps()]
    assert [path for path in paths if path not in lines] == []
    assert [term for term in terms if not any(line.startswith(term) for line in lines)] == []


def _terms(command: generate.Help) -> list[str]:
    """Yield options and subcommands as `--help` shows them: `-A, --account TEXT`."""
    return [term for rows in command.sections.values() for term, _ in rows]


def _tests(path: Path) -> list[str]:
    """Return the names of the tests in a file; none when there is no such file."""
    if not path.exists():
        return []
    nodes = ast.parse(path.read_text(encoding="utf-8")).body
    names = [node.name for node in nodes if isinstance(node, ast.FunctionDef)]
    return [name for name in names if name.startswith("test_")]


def _anchors(page: Path) -> list[str]:
    headings = _HEADING.findall(generate.built(page.read_text(encoding="utf-8")))
    return [re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings]
