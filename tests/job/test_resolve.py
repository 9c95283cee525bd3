"""Paths and names from the command line become what the job needs."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from slurm_nb.errors import UserError
from slurm_nb.job.resolve import python_of_node, resolve_env, resolve_image, resolve_python
from slurm_nb.job.spec import JobSpec


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Change to a directory with a virtual and a conda environment, and return it."""
    (tmp_path / "venv").mkdir()
    (tmp_path / "venv/pyvenv.cfg").touch()
    (tmp_path / "conda/conda-meta").mkdir(parents=True)
    (tmp_path / "analysis").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/alice")
    return tmp_path


@pytest.mark.parametrize("name", ["venv", "conda", "./other", "a/b"])
def test_an_environment_here_is_a_path(here: Path, name: str) -> None:
    """Any value with a slash is a path too, even if it exists only on the node."""
    assert resolve_env(name) == str(here / name.removeprefix("./"))


@pytest.mark.usefixtures("here")
def test_any_other_name_is_a_conda_environment() -> None:
    """A directory that is not an environment does not change this."""
    assert resolve_env("analysis") == "analysis"
    assert resolve_env("~/x") == "/home/alice/x"
    assert resolve_env(None) is None


def test_an_image_is_a_path_or_a_uri(here: Path) -> None:
    """A URI stays as it is."""
    assert resolve_image("x.sif") == str(here / "x.sif")
    assert resolve_image("docker://x/y:1") == "docker://x/y:1"


def test_an_interpreters_name_is_looked_up_where_jupyter_runs(here: Path) -> None:
    """This machine looks it up, unless the node provides an environment."""
    assert resolve_python("python3.99", looked_up_there=True) == Path("python3.99")
    assert resolve_python("no-such", looked_up_there=False) == here / "no-such"
    assert resolve_python("bin/python", looked_up_there=True) == here / "bin/python"


@pytest.mark.parametrize(
    ("python", "container", "found"),
    [
        ("/p/python", None, "/p/python"),
        ("/p/python", "/x.sif", sys.executable),
        ("python3", None, sys.executable),
        (None, None, sys.executable),
    ],
)
def test_the_audit_runs_on_an_interpreter_that_the_node_has(
    python: str | None, container: str | None, found: str
) -> None:
    """A name, or a path inside an image, is useless outside of it."""
    spec = JobSpec(
        notebook_dir=Path("/n"), python=Path(python) if python else None, container=container
    )

    assert python_of_node(spec) == Path(found)


@pytest.mark.usefixtures("here")
def test_an_empty_path_is_not_the_current_directory() -> None:
    """An unset variable in the user's shell gives an empty path."""
    with pytest.raises(UserError, match="--container '': is empty"):
        resolve_image("")
    with pytest.raises(UserError, match="--python '': is empty"):
        resolve_python("", looked_up_there=False)
