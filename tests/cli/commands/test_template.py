"""`slurm-nb template`: the templates that there are, and a copy of one to change."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from slurm_nb.paths import template_folders, templates_folder
from slurm_nb.session.store import Store
from tests.fakes import Run

EXAMPLES = templates_folder() / "sites"


@pytest.fixture
def own(store: Store, tmp_path: Path) -> Path:
    """The user's directory of templates, which does not exist yet."""
    folder = template_folders(os.environ)[0]
    assert store.folder.is_relative_to(tmp_path)
    assert not folder.exists()
    return folder


def test_the_examples_are_listed(run: Run) -> None:
    """Each with its file."""
    rows = [line.split() for line in run("template", "list").out.splitlines()]

    assert rows == [
        ["NAME", "FILE"],
        *([name, str(EXAMPLES / f"{name}.sh.j2")] for name in ("conda", "container", "modules")),
    ]


def test_a_copy_takes_the_place_of_the_original(run: Run, own: Path) -> None:
    """submit finds it by the same name, with its changes, and list shows it."""
    said = run("template", "copy", "modules")
    copy = own / "modules.sh.j2"

    assert said.code == 0
    assert f"Created {copy}." in said.err
    assert copy.read_bytes() == (EXAMPLES / "modules.sh.j2").read_bytes()
    assert (copy.stat().st_mode & 0o777, own.stat().st_mode & 0o777) == (0o644, 0o700)
    copy.write_text("{% extends 'jupyter' %}{% block before_server %}echo mine\n{% endblock %}")
    assert "echo mine" in run("submit", "--template", "modules", "--dry-run").out
    assert str(copy) in run("template", "list").out


def test_a_copy_may_have_another_name_or_path(run: Run, own: Path, tmp_path: Path) -> None:
    """A site's admin copies into the site's directory; the printed line uses the copy."""
    run("template", "copy", "conda", "mysite")
    said = run("template", "copy", "conda", str(tmp_path / "site.sh.j2"))

    assert [path.name for path in own.iterdir()] == ["mysite.sh.j2"]
    assert (tmp_path / "site.sh.j2").exists()
    assert said.err.endswith(f"  slurm-nb submit --template {tmp_path}/site.sh.j2 --dry-run\n")


@pytest.mark.parametrize("name", ["", ".", "..", "\x1b]0;x", "a\nb", "/tmp/\x1b[2J"])
def test_a_name_with_control_characters_or_only_dots_is_rejected(
    run: Run, own: Path, name: str
) -> None:
    """It would be shown on terminals, and found by no `--template`."""
    said = run("template", "copy", "conda", name)

    assert said.code == 1
    assert f"{name!r} cannot be the name of a template" in said.err
    assert not own.exists()


def test_an_existing_file_is_not_replaced(run: Run, own: Path) -> None:
    """It may hold work."""
    own.mkdir(parents=True)
    (own / "conda.sh.j2").write_text("mine")

    said = run("template", "copy", "conda")

    assert said.code == 1
    assert f"{own}/conda.sh.j2 already exists" in said.err
    assert (own / "conda.sh.j2").read_text() == "mine"


@pytest.mark.parametrize(
    ("words", "text", "hint"),
    [
        (["cnda"], "no template 'cnda' to copy", "did you mean conda? the templates are conda, "),
        (["jupyter"], "no template 'jupyter' to copy", "the templates are conda, "),
        (["conda", "/nowhere/x"], "cannot write /nowhere/x: No such file or directory", ""),
    ],
)
def test_the_error_names_a_template_that_cannot_be_copied(
    run: Run, words: list[str], text: str, hint: str
) -> None:
    """It lists those that can be copied. Templates extend slurm-nb's own; they do not copy it."""
    said = run("template", "copy", *words)

    assert said.code == 1
    assert text in said.err
    assert hint in said.err
