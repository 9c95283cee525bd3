"""The login node finds problems before the job waits in a queue."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from slurm_nb.errors import UserError
from slurm_nb.job import kit
from slurm_nb.job.spec import JobSpec
from slurm_nb.operations.before_queue import check

WITHOUT = '{"text": "/e/bin/python3 cannot run Jupyter", "cures": "do this", "kernel": %s}'


@pytest.fixture
def env(tmp_path: Path) -> Path:
    """Return an environment whose Python prints a prepared answer."""
    python = tmp_path / "env/bin/python3"
    python.parent.mkdir(parents=True)
    python.write_text(f"#!/bin/sh\ncat {tmp_path}/answer\n")
    python.chmod(0o755)
    (tmp_path / "answer").write_text('{"text": "", "cures": "", "kernel": true}')
    return tmp_path / "env"


@pytest.fixture(scope="module")
def kit_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return kit.install(tmp_path_factory.mktemp("kits"))


def notes(
    tmp_path: Path, kit_dir: Path, environ: dict[str, str] | None = None, **options: Any
) -> list[str]:
    options.setdefault("notebook_dir", tmp_path)
    template = options.pop("template", None)
    spec = JobSpec(**options)
    return list(
        check(
            spec,
            state_dir=tmp_path,
            kit_dir=kit_dir,
            environ={"PATH": os.environ["PATH"], "HOME": str(tmp_path), **(environ or {})},
            template=template,
        )
    )


def test_a_job_without_problems_is_submitted_silently(
    env: Path, tmp_path: Path, kit_dir: Path
) -> None:
    """The checks leave nothing in the state directory."""
    before = set(tmp_path.iterdir())

    assert notes(tmp_path, kit_dir) == []
    assert notes(tmp_path, kit_dir, env=str(env)) == []
    assert notes(tmp_path, kit_dir, container="docker://x/y") == []
    assert set(tmp_path.iterdir()) == before


def test_an_environment_without_jupyter_is_rejected_with_every_cure(
    env: Path, tmp_path: Path, kit_dir: Path
) -> None:
    """Its own interpreter answers once."""
    (tmp_path / "answer").write_text(WITHOUT % "false")

    with pytest.raises(UserError, match="/e/bin/python3 cannot run Jupyter") as raised:
        notes(tmp_path, kit_dir, env=str(env))

    assert raised.value.hint == "do this"


def test_an_environment_that_can_be_a_kernel_is_submitted_with_a_note(
    env: Path, tmp_path: Path, kit_dir: Path
) -> None:
    """slurm-nb's own Jupyter runs it."""
    (tmp_path / "answer").write_text(WITHOUT % "true")

    (note,) = notes(tmp_path, kit_dir, env=str(env))

    assert "its own Jupyter, with this one as a kernel" in note


@pytest.mark.parametrize(
    "options", [{"setup": ("export PYTHONPATH=/x",)}, {"module": ("x",)}, {"template": "site"}]
)
def test_a_problem_that_the_job_may_solve_is_a_note(
    env: Path, tmp_path: Path, kit_dir: Path, options: dict[str, Any]
) -> None:
    """--setup, modules and templates do not run on this host."""
    (tmp_path / "answer").write_text(WITHOUT % "false")

    (note,) = notes(tmp_path, kit_dir, env=str(env), **options)

    assert note == "/e/bin/python3 cannot run Jupyter as seen from this host; do this"


@pytest.mark.parametrize(
    "text", ["#!/bin/sh\nexit 1\n", "#!/no/such\n", "\x7fELF", "#!/bin/sh\necho '[]'\n"]
)
def test_an_interpreter_that_does_not_run_here_is_left_to_the_job(
    env: Path, tmp_path: Path, kit_dir: Path, text: str
) -> None:
    """It may be built for the nodes."""
    (env / "bin/python3").write_text(text)

    assert notes(tmp_path, kit_dir, env=str(env)) == []


def test_a_hanging_interpreter_is_left_to_the_job(
    env: Path, tmp_path: Path, kit_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A slow file system costs a few seconds, not the submission."""
    monkeypatch.setattr("slurm_nb.operations.before_queue._LOOK_S", 0.2)
    (env / "bin/python3").write_text("#!/bin/sh\nexec sleep 60\n")

    assert notes(tmp_path, kit_dir, env=str(env)) == []


@pytest.mark.parametrize("option", ["env", "container", "python"])
def test_a_path_missing_here_may_exist_on_the_nodes(
    tmp_path: Path, kit_dir: Path, option: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the nodes may have /sw, so there is just a note."""
    monkeypatch.setattr(os, "geteuid", lambda: 1234)
    options: dict[str, Any] = {option: Path("/no/such") if option == "python" else "/no/such"}

    (note, *_) = notes(tmp_path, kit_dir, **options)

    assert "'/no/such' does not exist on this host" in note or "/no/such/bin/python3" in note


def test_a_path_missing_in_the_users_own_directory_is_rejected(
    tmp_path: Path, kit_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The nodes share the directory, so the job would wait only to fail."""
    monkeypatch.setattr(os, "geteuid", lambda: 1234)
    os.chown(tmp_path, 1234, -1)

    with pytest.raises(UserError, match=r"nosuch\.sif' does not exist"):
        notes(tmp_path, kit_dir, container=f"{tmp_path}/nosuch.sif")


def test_a_directory_that_is_not_an_environment_is_rejected(tmp_path: Path, kit_dir: Path) -> None:
    """It has no interpreter."""
    with pytest.raises(UserError, match="has no bin/python3"):
        notes(tmp_path, kit_dir, env=str(tmp_path))


def test_a_read_only_course_is_a_note(
    tmp_path: Path, kit_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A notebook runs there, and you save it elsewhere."""
    monkeypatch.setattr(os, "access", lambda _path, mode: not mode & os.W_OK)

    (note,) = notes(tmp_path, kit_dir)

    assert note == f"you cannot write to {tmp_path}, so save notebooks elsewhere"


def test_a_state_directory_without_space_is_rejected(tmp_path: Path, kit_dir: Path) -> None:
    """A full quota shows only on writing."""
    spec = JobSpec(notebook_dir=tmp_path)

    with pytest.raises(UserError, match="cannot write to the state directory /dev/full"):
        list(check(spec, state_dir=Path("/dev/full"), kit_dir=kit_dir, environ={}))


def test_a_conda_environment_is_found_by_its_name(env: Path, tmp_path: Path, kit_dir: Path) -> None:
    """The job searches conda's own list too."""
    (env / "conda-meta").mkdir()
    (tmp_path / ".conda").mkdir()
    (tmp_path / ".conda/environments.txt").write_text(f"{env}\n")
    (tmp_path / "answer").write_text(WITHOUT % "false")

    with pytest.raises(UserError, match="cannot run Jupyter"):
        notes(tmp_path, kit_dir, env="env")

    assert notes(tmp_path, kit_dir, env="another") == []


def test_a_broken_link_in_place_of_jupyters_data_is_rejected(tmp_path: Path, kit_dir: Path) -> None:
    """Jupyter would start but save nothing; --setup may name another directory."""
    (tmp_path / "jupyter").symlink_to("/no/such")
    environ = {"XDG_DATA_HOME": str(tmp_path)}

    with pytest.raises(UserError, match="is a link to /no/such, which does not exist"):
        notes(tmp_path, kit_dir, environ)

    (note,) = notes(tmp_path, kit_dir, environ, setup=("export JUPYTER_DATA_DIR=/x",))
    assert note.startswith("Jupyter cannot save notebooks without its data directory")
