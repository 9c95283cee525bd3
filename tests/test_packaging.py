"""The wheel contains the program, and nothing else."""

from __future__ import annotations

import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import slurm_nb

CHECKOUT = Path(__file__).parents[1]
SHIPPED = {".py", ".typed", ".sh", ".js"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """Return the wheel of this checkout, built as an installer builds it."""
    folder = tmp_path_factory.mktemp("wheel")
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pip", "wheel", "--no-deps", "--quiet"),
            *("--disable-pip-version-check", "--wheel-dir", str(folder), str(CHECKOUT)),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (path,) = folder.glob("*.whl")
    return zipfile.ZipFile(path)


def text(wheel: zipfile.ZipFile, name: str) -> str:
    return wheel.read(name).decode()


@pytest.mark.slow
def test_the_wheel_holds_the_package_and_the_templates(wheel: zipfile.ZipFile) -> None:
    """Every module and every job template of the checkout is in the wheel, byte for byte."""
    package = [
        *(path for path in (CHECKOUT / "slurm_nb").rglob("*") if path.suffix in SHIPPED),
        *(path for path in (CHECKOUT / "job_templates").rglob("*") if path.is_file()),
    ]
    expected = {
        str(path.relative_to(CHECKOUT)).replace("job_templates", "slurm_nb/job_templates", 1): path
        for path in package
    }

    names = {
        "slurm_nb/job_templates/jupyter.sh.j2",
        "slurm_nb/py.typed",
        "slurm_nb/kit/functions.sh",
        "slurm_nb/kit/preflight.py",
        "slurm_nb/kit/monitor/labextension.js",
    }
    assert names <= set(expected)
    assert set(expected) <= set(wheel.namelist())
    assert all(wheel.read(name) == path.read_bytes() for name, path in expected.items())


@pytest.mark.slow
def test_the_wheel_holds_nothing_else(wheel: zipfile.ZipFile) -> None:
    """No tests, caches or documents are installed among other people's packages."""
    info = f"slurm_nb-{slurm_nb.__version__}.dist-info/"

    assert {name.partition("/")[0] + "/" for name in wheel.namelist()} == {"slurm_nb/", info}
    assert not [name for name in wheel.namelist() if "test" in name or "__pycache__" in name]


@pytest.mark.slow
def test_the_wheel_says_what_it_is(wheel: zipfile.ZipFile) -> None:
    """It contains licence, version, requirements and the command's entry point."""
    info = f"slurm_nb-{slurm_nb.__version__}.dist-info"
    metadata = text(wheel, f"{info}/METADATA").splitlines()

    assert f"Version: {slurm_nb.__version__}" in metadata
    assert "License-Expression: MIT" in metadata
    assert any(line.startswith("Requires-Dist: submitit<1.6") for line in metadata)
    assert text(wheel, f"{info}/licenses/LICENSE") == (CHECKOUT / "LICENSE").read_text("utf-8")
    assert "slurm-nb = slurm_nb.__main__:main" in text(wheel, f"{info}/entry_points.txt")


@pytest.mark.slow
def test_a_script_renders_from_the_wheel(wheel: zipfile.ZipFile, tmp_path: Path) -> None:
    """Unpacked somewhere without the checkout, the package finds its template and its kit."""
    wheel.extractall(tmp_path / "site")
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from pathlib import Path; import slurm_nb\n"
        "from slurm_nb.job.kit import install\n"
        "from slurm_nb.job.script import render; from slurm_nb.job.spec import JobSpec\n"
        "from slurm_nb.paths import templates_folder\n"
        "spec = JobSpec(notebook_dir=Path('/n'), python=Path('/p'))\n"
        "kit = install(Path(sys.argv[1]))\n"
        "script = render(spec, state_dir=Path('/s'))\n"
        "print(slurm_nb.__file__, templates_folder(), kit, script, sep='\\n')"
    )

    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "site")],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
    )

    module, templates, kit, script = done.stdout.split("\n", 3)
    assert module == str(tmp_path / "site/slurm_nb/__init__.py")
    assert templates == str(tmp_path / "site/slurm_nb/job_templates")
    assert script.startswith("#!/bin/bash\n")
    assert f"kits/{Path(kit).name}\n" in script
    assert (Path(kit) / "slurm_nb_kit/functions.sh").exists()


STAND_IN = """
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"
[project]
name = "slurm-nb"
version = "0.1.0"
dependencies = ["click"]
[project.scripts]
slurm-nb = "slurm_nb:main"
"""


@pytest.mark.slow
@pytest.mark.timeout(300)  # two virtual environments and a few downloads
def test_the_documented_way_without_internet(tmp_path: Path) -> None:
    """The page's commands build wheels with hashes, and install nothing but those.

    In place of slurm-nb stands a package with one requirement: its own 95 would take minutes.
    """
    page = (CHECKOUT / "docs/admin/install.md").read_text("utf-8")
    section = page.partition("## Install without internet\n")[2].partition("\n## ")[0]
    build, install = re.findall(r"^```sh\n(.*?)^```", section, re.MULTILINE | re.DOTALL)
    clone, cluster = tmp_path / "clone", tmp_path / "cluster"
    (clone / "slurm_nb").mkdir(parents=True)
    (clone / "slurm_nb/__init__.py").write_text("def main(): print('it runs')")
    (clone / "pyproject.toml").write_text(STAND_IN)
    cluster.mkdir()

    def in_shell(commands: str, folder: Path) -> subprocess.CompletedProcess[str]:
        here = commands.replace("/usr/bin/python3", sys.executable)
        here = here.replace("/srv/slurm-nb", str(tmp_path / "srv"))
        words = ["bash", "-ec", here]
        return subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)

    built = in_shell(build, clone)
    assert built.returncode == 0, built.stderr
    (clone / "slurm-nb-wheelhouse.tar.gz").rename(cluster / "slurm-nb-wheelhouse.tar.gz")
    installed = in_shell(install, cluster)
    assert installed.returncode == 0, installed.stderr
    program = tmp_path / "srv/0.1.0/bin/slurm-nb"
    assert subprocess.run([program], capture_output=True, check=True).stdout == b"it runs\n"

    (wheel,) = cluster.glob("wheelhouse/click-*.whl")
    wheel.write_bytes(wheel.read_bytes() + b"\0")
    *_, pip = install.splitlines()
    changed = in_shell(f"version=0.1.0\n{pip} --force-reinstall", cluster)
    assert "DO NOT MATCH THE HASHES" in changed.stderr
