"""One message names everything that a Python needs for Jupyter, with cures that work there."""

from __future__ import annotations

import json
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

import pytest

from slurm_nb.kit.environment import packages

HAS: dict[str, str | None] = {
    "jupyter_server": "2.21.0",
    "notebook": "7.5.6",
    "jupyterlab": "4.6.2",
    "ipykernel": "7.3.0",
}


def a_python(tool: str = "pip", **changes: str | None) -> dict[str, Any]:
    """Return what `look` reports for a complete environment, with the given changes."""
    return {
        "python": "/env/bin/python3",
        "version": [3, 11],
        "prefix": "/env",
        "packages": {**HAS, **changes},
        "behind": dict.fromkeys(HAS),
        "user_site": "",
        "tool": tool,
    }


def cures(found: dict[str, Any], module: str = "notebook", named: str = "--env") -> str:
    return packages.cures(found, module, named=named, own=True)


def test_one_message_names_every_missing_package() -> None:
    """The user does not need a second job to hear about the second package."""
    found = a_python(jupyter_server=None, notebook="6.4.12", ipykernel=None)

    lacks = packages.lacking(found, "notebook")

    assert packages.text(found, lacks, "notebook", "c1") == (
        "/env/bin/python3 on c1 cannot run Jupyter Notebook: it does not have jupyter_server 2.0 or"
        " later; its notebook is 6.4.12, and 7.0 or later is needed"
    )


@pytest.mark.parametrize(
    ("tool", "command"),
    [
        ("conda", "conda install -p /env -c conda-forge 'notebook>=7.0'"),
        ("uv", "uv pip install --python /env/bin/python3 'notebook>=7.0'"),
        ("pip", "/env/bin/python3 -m pip install 'notebook>=7.0'"),
        ("ensurepip", "/env/bin/python3 -m ensurepip && /env/bin/python3 -m pip install"),
        ("", "use an environment that you can install into: --env DIR"),
    ],
)
def test_the_cure_uses_the_tool_that_the_environment_has(tool: str, command: str) -> None:
    """Advice that ends with `No module named pip` helps nobody."""
    told = cures(a_python(tool, notebook=None))

    assert command in told
    assert ("-m pip" in told) == (tool in {"pip", "ensurepip"})


def test_the_other_user_interface_is_offered_if_its_package_is_installed() -> None:
    """Lab 3.6.8 is enough, so there is nothing to install."""
    assert cures(a_python(notebook=None, jupyterlab="3.6.8")).startswith(
        "use --ui lab (it has jupyterlab 3.6.8); or "
    )
    assert "--ui" not in cures(a_python(notebook=None, jupyterlab="3.4.0"))
    assert cures(a_python(jupyterlab=None), "jupyterlab").startswith("use --ui notebook (")


def test_an_interpreter_with_a_kernel_can_run_under_slurm_nbs_own_jupyter() -> None:
    """With --python this is a cure; --env does it anyway, or says how to add the kernel."""
    lacking = a_python(notebook=None, jupyterlab=None)
    without = a_python(notebook=None, jupyterlab=None, ipykernel=None)

    assert "own Jupyter with it as a kernel: --env /env" in cures(lacking, named="--python")
    assert "own Jupyter" not in cures(lacking)
    assert "as a kernel: /env/bin/python3 -m pip install ipykernel" in cures(without)


def test_old_packages_in_the_home_that_hide_newer_ones_are_named() -> None:
    """`pip install --user` left them years ago; installing the package again would not help."""
    found = a_python(notebook="6.4.12")
    found.update(user_site="/home/a/.local/lib/python3.11/site-packages")
    found["behind"]["notebook"] = "7.5.6"

    told = packages.text(found, packages.lacking(found, "notebook"), "notebook")

    assert told.endswith("/home/a/.local/lib/python3.11/site-packages hides its notebook 7.5.6")
    assert (
        cures(found) == "ignore ~/.local: --setup 'export PYTHONNOUSERSITE=1'; or use --ui lab"
        " (it has jupyterlab 4.6.2)"
    )


def test_old_packages_are_found_in_a_real_environment(tmp_path: Path) -> None:
    """A Python outside a virtual environment, such as conda's, searches ~/.local first."""
    name = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    lib = tmp_path / "prefix/lib" / name
    lib.mkdir(parents=True)
    for path in Path(sysconfig.get_path("stdlib")).iterdir():
        lib.joinpath(path.name).symlink_to(path)
    for folder in (lib, lib.with_name("python3")):  # the second one is for Debian
        folder.mkdir(exist_ok=True)
    user = tmp_path / f"user/lib/{name}/site-packages"
    places = [lib / "site-packages", lib.with_name("python3") / "dist-packages"]
    for place, version in [(user, "6.4.12"), *((each, "7.5.6") for each in places)]:
        info = place / f"notebook-{version}.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: notebook\nVersion: {version}")
        (place / "notebook").mkdir()
    code = "import json; from slurm_nb.kit.environment import packages; "

    done = subprocess.run(
        [
            Path(sys.base_prefix, "bin", name),
            *("-c", code + "print(json.dumps(packages.look()))"),
        ],
        env={
            "PYTHONHOME": str(tmp_path / "prefix"),
            "PYTHONUSERBASE": str(tmp_path / "user"),
            "PYTHONPATH": str(Path(packages.__file__).parents[3]),
        },
        capture_output=True,
        text=True,
        check=True,
    )
    found = json.loads(done.stdout)

    assert found["packages"]["notebook"] == "6.4.12"
    assert found["behind"]["notebook"] == "7.5.6"
    assert found["user_site"] == str(user)


def test_the_program_answers_the_login_node() -> None:
    """The environment's own interpreter runs it, before the job is queued."""
    words = [sys.executable, "-m", "slurm_nb.kit.environment.packages", "notebook", "--env"]

    done = subprocess.run(words, capture_output=True, text=True, check=True)

    told = json.loads(done.stdout)
    assert set(told) == {"text", "cures", "kernel"}
    assert told["kernel"] is True
