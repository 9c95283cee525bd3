"""Templates: they are found, their values are quoted, and their errors name the line."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from slurm_nb.errors import UserError
from slurm_nb.job.quoting import quote
from slurm_nb.job.script import render
from slurm_nb.job.spec import JobSpec
from slurm_nb.paths import template_folders, templates_folder
from tests.job.test_script import HOSTILE

SPEC = JobSpec(notebook_dir=Path("/home/alice"), python=Path("/p"), account="project")
EXTENDS = '{% extends "jupyter.sh.j2" %}\n'

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Return a function that writes a template to the user's folder."""
    # pytest's own folder is below /tmp, which is sticky, and belongs only to the user.
    folder = tmp_path / "templates"
    folder.mkdir(mode=0o755)

    def make(body: str, name: str = "mine.sh.j2") -> Path:
        path = folder / name
        path.write_text(body, encoding="utf-8")
        path.chmod(0o644)
        return path

    return make


def filled(path: Path, spec: JobSpec = SPEC, name: str | None = None) -> str:
    return render(spec, state_dir=Path("/s"), template=name or str(path), folders=(path.parent,))


def in_block(text: str, block: str = "before_server") -> str:
    return f"{EXTENDS}{{% block {block} %}}\n{text}\n{{% endblock %}}\n"


def bash(script: str) -> str:
    done = subprocess.run(
        ["bash", "-c", script],
        capture_output=True,
        encoding="utf-8",
        check=True,
        env={"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"},
    )
    return done.stdout


def test_overriding_one_block_changes_nothing_else(write: Write) -> None:
    """A template of three lines changes one place in the script."""
    plain = render(SPEC, state_dir=Path("/s"), folders=())

    script = filled(write(in_block("# of the site's")))

    added = set(script.splitlines()) - set(plain.splitlines())
    assert added == {"# of the site's"}
    assert script.replace("# of the site's\n", "") == plain


@pytest.mark.parametrize("name", ["mine", "mine.sh.j2"])
def test_a_name_is_found_in_the_folders(write: Write, name: str) -> None:
    """It is the file's name, with or without its ending."""
    path = write(in_block("# here"))

    assert "# here" in filled(path, name=name)


def test_the_first_folder_has_priority_and_can_extend_the_next(
    write: Write, tmp_path: Path
) -> None:
    """A user's template hides a site's template with the same name, and may extend another."""
    own = write(
        '{% extends "site" %}\n{% block before_server %}\n{{ super() }}\nown\n{% endblock %}'
    )
    site = tmp_path / "site"
    site.mkdir(mode=0o755)
    (site / "site.sh.j2").write_text(in_block('echo "$HOME" site'))
    (site / "mine.sh.j2").write_text("never")

    script = render(SPEC, state_dir=Path("/s"), template="mine", folders=(own.parent, site))

    assert 'echo "$HOME" site\n\nown' in script


def test_the_folders_are_the_users_the_sites_and_the_examples() -> None:
    """The first two are next to the configuration files; the examples come with slurm-nb."""
    assert template_folders({"XDG_CONFIG_HOME": "/x", "SLURM_NB_SITE_CONFIG": "/sw/nb/c.toml"}) == (
        Path("/x/slurm-nb/templates"), Path("/sw/nb/templates"), templates_folder() / "sites"
    )  # fmt: skip
    assert template_folders({})[1] == Path("/etc/slurm-nb/templates")


# --- the engine quotes values ---


@pytest.mark.parametrize("value", [HOSTILE, "", "~root", "a b", "{a,b}", "$'x'", "-n", "é 名"])
def test_bash_reads_a_value_back(value: str) -> None:
    """Without any filter, a value is one word of bash and runs nothing."""
    assert bash(f'printf "%s|" {quote(value)} {quote((value, value))}') == f"{value}|" * 3


@pytest.mark.parametrize("context", ['"%s"', "%s", '"a%sb"', "<<E\n%s\nE\n", "x=%s", '"${y:-%s}"'])
@pytest.mark.parametrize(
    "value", ["$(touch ran)", "`touch ran`", '"; touch ran; "', "'; touch ran; '", "; touch ran"]
)
def test_a_value_in_an_authors_quotes_runs_nothing(
    context: str, value: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is harmless in double quotes, in a here-document and as a default."""
    monkeypatch.chdir(tmp_path)
    text = context.replace("%s", quote(value))

    bash(f": {text}" if not context.startswith("x=") else text)

    assert list(tmp_path.iterdir()) == []


def test_an_account_is_quoted_without_a_filter(write: Write) -> None:
    """`{{ spec.account }}`, a concatenation and a macro's result are all quoted."""
    spec = JobSpec(notebook_dir=Path("/n"), account="$(id)")
    lines = (
        "{% macro m(x) %}{{ x }}{% endmacro %}"
        "a={{ spec.account }}\nb={{ 'x' ~ spec.account }}\nc={{ m(spec.account) }}"
    )

    script = filled(write(in_block(lines)), spec)

    assert r"a=\$\(id\)" in script
    assert r"b=x\$\(id\)" in script
    assert "$(id)" not in script.replace("#SBATCH --account='$(id)'", "").replace("$(id -u)", "")


# --- errors ---


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("{{ spec.acount }}", 3, "acount"),
        ("\n{{ no_such }}", 4, "no_such"),
        ("{% if %}", 3, "Expected an expression"),
        ("{{ spec.partition }}", 3, "a value is not set"),
        ("{{ {1: 2} }}", 3, "a mapping"),
        ("{{ 1 / 0 }}", 3, "division by zero"),
        ("{{ spec.account | sha }}", 3, "No filter named 'sha'"),
        ("#SBATCH --account={{ spec.account }}", 3, "needs the filter `directive`"),
        ('{% include "nowhere" %}', 3, "there is no template 'nowhere'"),
        ("#SBATCH {{ spec.directives() | first }}", 3, "needs the filter `directive`"),
        ("{% if 1 %}#SBATCH -A {{ spec.account }}{% endif %}", 3, "needs the filter `directive`"),
        ("#SBATCH -A {{\nspec.account\n}}", 3, "needs the filter `directive`"),
        ("{{ spec.partition | sh }}", 3, "a value is not set"),
        ("{{ spec.partition | raw }}", 3, "a value is not set"),
        ("#SBATCH {{ spec.partition | directive }}", 3, "a value is not set"),
        ("{{ {1: 2} | sh }}", 3, "a mapping"),
    ],
)
def test_an_error_names_file_and_line(write: Write, text: str, line: int, said: str) -> None:
    """The template's author finds the exact line and sees no traceback."""
    path = write(in_block(text))

    with pytest.raises(UserError) as caught:
        filled(path)

    assert str(caught.value).startswith(f"{path}, line {line}: ")
    assert said in str(caught.value)


def test_a_misspelt_block_is_an_error(write: Write) -> None:
    """jinja2 would silently drop it, even with another template in between."""
    path = write(EXTENDS + "\n{% block enviroment %}{% endblock %}")
    above = write('{% extends "mine" %}{% block before_server %}x{% endblock %}', "above.sh.j2")

    for each in (path, above):
        with pytest.raises(UserError) as caught:
            filled(each)
        assert str(caught.value).startswith(f"{path}, line 3: there is no block 'enviroment'")
        assert "did you mean environment?" in caught.value.hint


def test_text_outside_of_blocks_is_ignored(write: Write) -> None:
    """jinja2 ignores it in every template that extends another, so notes can go there."""
    path = write(
        f"{EXTENDS}A note.\n{{% block before_server %}}true{{% endblock %}}\n{{{{ 1 / 0 }}}}"
    )

    assert "\ntrue\n" in filled(path)
    assert "A note." not in filled(path)


def test_blocks_of_an_intermediate_template_can_be_overridden(write: Write) -> None:
    """It may define a block within a block for the next template; macros are allowed outside."""
    write(in_block("{% block modules %}one{% endblock %}", "environment"), "site.sh.j2")
    path = write(
        '{% extends "site" %}\n{# of mine #}\n{% macro two() %}two{% endmacro %}'
        "{% block modules %}{{ super() }} and {{ two() }}{% endblock %}\n"
    )

    assert "\none and two\n" in filled(path)


def test_templates_that_extend_each_other_are_rejected(write: Write) -> None:
    """The one-line error has the requested name, because a circle has no single line."""
    path = write('{% extends "other" %}')
    write('\n{% extends "mine" %}', "other.sh.j2")

    with pytest.raises(UserError, match="includes, extends or calls itself") as caught:
        filled(path)

    assert str(caught.value).startswith(f"{path}: ")


@pytest.mark.parametrize("parent", ["base", "'jupyter' if spec.ui == 'lab' else 'site'"])
def test_blocks_below_a_computed_parent_are_not_checked(write: Write, parent: str) -> None:
    """Only rendering shows which template it extends."""
    write(in_block("{% block modules %}one{% endblock %}", "environment"), "site.sh.j2")
    write("{% set base = 'site' %}{% extends " + parent + " %}", "between.sh.j2")
    path = write("{% extends 'between' %}{% block modules %}two{% endblock %}")

    assert "\ntwo\n" in filled(path)


def test_a_template_that_includes_itself_is_rejected(write: Write) -> None:
    """The one-line error has its name, because a circle has no single line."""
    path = write(in_block('{% include "mine" %}'))

    with pytest.raises(UserError, match="includes, extends or calls itself") as caught:
        filled(path)

    assert str(caught.value).startswith(f"{path}: ")


@pytest.mark.parametrize("block", ["directives", "environment", "before_server", "server"])
def test_a_block_on_one_line_stays_a_line(write: Write, block: str) -> None:
    """The script's next line is not joined to it."""
    path = write(f"{EXTENDS}{{% block {block} %}}echo here{{% endblock %}}")

    assert "echo here" in filled(path).splitlines()


@pytest.mark.parametrize("name", ["jupyter", "jupyter.sh.j2"])
def test_the_base_template_can_be_chosen_by_name(write: Write, name: str) -> None:
    """A site may have another default; a file with the base's name never replaces it."""
    plain = render(SPEC, state_dir=Path("/s"), folders=())
    path = write("mine", "jupyter.sh.j2")
    extending = write(f'{{% extends "{name}" %}}')

    assert filled(path, name=name) == filled(extending) == plain


@pytest.mark.parametrize("name", ["none", "./none", "/none.sh.j2", "~nobody-here/x"])
def test_an_unknown_template_is_rejected(name: str) -> None:
    """The error names it, and for a bare name the hint lists the searched folders."""
    with pytest.raises(UserError, match="--template") as caught:
        render(SPEC, state_dir=Path("/s"), template=name, folders=(Path("/some/folder"),))

    assert "/some/folder" in caught.value.hint or "/" in name


@pytest.mark.parametrize("mode", [0o666, 0o622, 0o646])
def test_a_template_that_others_can_change_is_rejected(write: Write, mode: int) -> None:
    """It runs as the user, so nobody else may control it."""
    path = write(in_block("x"))
    path.chmod(mode)

    with pytest.raises(UserError, match="other users can change") as caught:
        filled(path)

    assert f"chmod go-w {path}" in caught.value.hint


def test_a_template_in_a_folder_that_others_can_change_is_rejected(write: Write) -> None:
    """They could put another file in its place."""
    path = write(in_block("x"))
    path.parent.chmod(0o777)

    with pytest.raises(UserError, match=f"can change {path.parent}"):
        filled(path)


def test_a_link_to_a_template_that_others_can_replace_is_rejected(
    write: Write, tmp_path: Path
) -> None:
    """Both the link and its target are checked."""
    public = tmp_path / "public"
    public.mkdir()
    write(in_block("x")).rename(public / "real.sh.j2")
    public.chmod(0o777)
    link = tmp_path / "templates/mine.sh.j2"
    link.symlink_to(public / "real.sh.j2")

    with pytest.raises(UserError, match=f"can change {public}"):
        filled(link)


def test_a_template_that_is_not_text_is_rejected(write: Write) -> None:
    """Bytes that are not UTF-8 give a one-line error too."""
    path = write("")
    path.write_bytes(b"\xff\xfe")

    with pytest.raises(UserError, match="cannot read"):
        filled(path)
