"""An installation for all users, upgraded and rolled back while a session runs, and as a module."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.scientist import SSH_CONNECTION, Scientist
from tests.e2e.test_config import SHELL, offline
from tests.e2e.test_environments import MODULES, module_site

ADMIN = Path(__file__).parents[2] / "docs/admin"
# The directory of the link, instead of /usr/local/bin.
LINKS = "/srv/slurm-nb/links"
NEW_KERNEL = "import sys, slurm_nb; print(sys.executable)"


def commands(page: str, heading: str) -> list[str]:
    """The shell blocks below a heading of a page for admins."""
    text = (ADMIN / page).read_text(encoding="utf-8")
    section = text.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    found = SHELL.findall(section)
    assert found, heading
    return [block.replace("/usr/local/bin", LINKS) for block in found]


def as_root(alice: Scientist, script: str) -> str:
    return alice.cluster.login.run(["bash", "-ec", script], timeout_s=90).stdout


def as_alice(alice: Scientist, *words: str) -> str:
    """Return the output of the linked slurm-nb."""
    done = alice.cluster.login.run(
        [f"{LINKS}/slurm-nb", *words], user="alice", env=SSH_CONNECTION, timeout_s=90
    )
    return done.stdout


def version_in_use(alice: Scientist) -> str:
    """The directory whose Jupyter a new session would start."""
    script = as_alice(alice, "submit", "--dry-run")
    (line,) = [line for line in script.splitlines() if line.startswith("slurm_nb_own_python=")]
    return line.partition("=")[2].strip("'")


@pytest.fixture
def installed(alice: Scientist, wheel: Path) -> Iterator[Path]:
    """Version 0.1.0, by the page's own commands; /srv as this process sees it."""
    srv = alice.cluster.state / "srv"
    shutil.copy(wheel, srv)
    install, check, *_ = commands("install.md", "Install from nothing")
    as_root(alice, f"mkdir -p {LINKS}\n{offline(install, wheel)}{check}")
    yield srv
    shutil.rmtree(srv / "slurm-nb")


def test_a_running_session_outlives_an_upgrade_and_a_rollback(
    alice: Scientist, installed: Path, wheel: Path
) -> None:
    """Its page, its files and new kernels are there after the link has moved, both times; new
    sessions use the version that the link names.
    """
    assert installed.is_dir()
    record: dict[str, Any] = json.loads(as_alice(alice, "submit", "--json"))
    (install,) = commands("upgrading.md", "Install the new version next to the old one")
    (switch,) = commands("upgrading.md", "Switch to the new version")
    (back,) = commands("upgrading.md", "Go back to the old version")
    (oldest,) = commands("upgrading.md", "Remove the old version")
    versions = [version_in_use(alice)]

    for change in (offline(install, wheel) + switch, back):
        as_root(alice, change)
        versions.append(version_in_use(alice))
        tunnel = json.loads(as_alice(alice, "tunnel-cmd", record["job_id"], "--json"))
        with alice.tunnel(tunnel["tunnel_command"]):
            seen = alice.run_cell(tunnel["url"], NEW_KERNEL)
        assert (seen["page_status"], seen["output"]) == (200, "/srv/slurm-nb/0.1.0/bin/python3\n")
    submitted = as_root(alice, oldest)

    assert versions == [f"/srv/slurm-nb/{version}/bin/python3" for version in
                        ("0.1.0", "0.2.0", "0.1.0")]  # fmt: skip
    assert [submitted.strip()] == alice.squeue("%V")


def test_config_warns_root_of_an_installation_that_users_cannot_run(
    alice: Scientist, installed: Path
) -> None:
    """config warns, and the page's check fails; it does not warn of one that users can run."""
    check = commands("install.md", "Install from nothing")[1]
    config = [f"{LINKS}/slurm-nb", "config"]
    opened = alice.cluster.login.run(config)
    (installed / "slurm-nb/0.1.0/bin").chmod(0o700)

    closed = alice.cluster.login.run(config)
    tried = alice.cluster.login.run(["bash", "-ec", check], check=False)

    assert "other users" not in opened.stderr
    assert "other users cannot run this installation (" in closed.stderr
    assert "Permission denied" in closed.stderr
    assert tried.returncode != 0


@pytest.mark.parametrize("package", MODULES)
def test_the_documented_module_brings_the_command_and_no_python(
    alice: Scientist, installed: Path, package: str
) -> None:
    """The page's module files, Lua for Lmod and Tcl for both, put slurm-nb alone on PATH."""
    assert installed.is_dir()
    text = (ADMIN / "install.md").read_text(encoding="utf-8")
    (only,) = commands("install.md", "Provide slurm-nb as a module")
    as_root(alice, only)
    files = {"tcl/slurm-nb/0.1.0": text.partition("```tcl\n")[2].partition("```")[0]}
    if package == "lmod":
        files["lua/slurm-nb/0.1.0.lua"] = text.partition("```lua\n")[2].partition("```")[0]

    with module_site(alice.cluster, package, files):
        node = alice.cluster.hosts["c1"]
        for name in files:
            module = name.removesuffix(".lua")
            ask = "command -v slurm-nb python3; slurm-nb --version"
            load = f". /etc/profile; module load {module}; {ask}"
            done = node.run(["env", "-i", "PATH=/usr/bin:/bin", "bash", "-c", load], user="alice")

            command, python, version = done.stdout.splitlines()
            assert command == "/srv/slurm-nb/0.1.0/command/slurm-nb"
            assert python == "/usr/bin/python3"
            assert version.startswith("slurm-nb, version ")
