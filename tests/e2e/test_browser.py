"""Chromium on the laptop, through the printed tunnel, at the printed URL."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.cluster import ensure_tools
from tests.cluster.users import ALICE
from tests.e2e.scientist import Scientist

CLIENT = Path(__file__).with_name("browser_client.py").read_text(encoding="utf-8")
CODE = """import os, platform
print("node", platform.node(), "- job", os.environ["SLURM_JOB_ID"])"""


PATHS = {"notebook": "notebooks", "lab": "lab/tree"}
PASSWORD = "correct horse battery"  # noqa: S105  of this test alone


def _notebook(source: str) -> str:
    cells = [
        {"cell_type": "markdown", "id": "a", "metadata": {}, "source": "# Where does this run?"},
        {"cell_type": "code", "id": "b", "metadata": {}, "source": source, "outputs": [],
         "execution_count": None},
    ]  # fmt: skip
    kernel = {"name": "python3", "display_name": "Python 3 (ipykernel)", "language": "python"}
    metadata = {"kernelspec": kernel, "language_info": {"name": "python"}}
    return json.dumps({"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5})


def _see(alice: Scientist, record: dict[str, Any], ui: str, password: str = "") -> dict[str, Any]:
    """What a browser on the laptop shows of the session, through its printed tunnel."""
    with alice.tunnel(record["tunnel_command"]):
        done = alice.cluster.laptop.run(
            ["/srv/tools/bin/python", "-"],
            user="lea",
            env={
                "NB_URL": record["url"],
                "NB_PATH": f"{PATHS[ui]}/where.ipynb",
                "NB_PICTURE": f"/tmp/{ui}.png",
                "NB_PASSWORD": password,
            },
            stdin_text=CLIENT,
            timeout_s=240,
        )
    seen: dict[str, Any] = json.loads(done.stdout)
    return seen


@pytest.fixture
def work(alice: Scientist) -> None:
    """A directory `work` that holds where.ipynb."""
    ensure_tools(alice.cluster)
    notebook = alice.home / "work/where.ipynb"
    notebook.parent.mkdir(exist_ok=True)
    notebook.write_text(_notebook(CODE))
    for made in (notebook.parent, notebook):
        os.chown(made, ALICE.uid, ALICE.uid)


@pytest.mark.usefixtures("work")
@pytest.mark.parametrize(
    ("ui", "way"),
    [
        ("notebook", []),
        ("lab", []),
        ("notebook", ["--listen", "socket"]),
        ("lab", ["--listen", "socket"]),
        ("notebook", ["--route", "direct"]),
        ("notebook", ["--route", "direct", "--tls"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else value,
)
def test_a_cell_runs_in_a_real_browser(alice: Scientist, ui: str, way: list[str]) -> None:
    """The URL as printed shows the user's files; a cell's output comes from the compute node."""
    record = alice.submit("--ui", ui, "--notebook-dir", "work", "-w", "c1", *way)

    seen = _see(alice, record, ui)

    assert "where.ipynb" in seen["listing"]
    assert seen["output"] == f"node c1 - job {record['job_id']}"
    assert "token" not in seen["url"], "Jupyter takes the token out of the address bar"
    assert urlsplit(seen["url"]).path.startswith({"notebook": "/tree", "lab": "/lab"}[ui])
    if "SLURM_NB_PICTURES" in os.environ and not way:
        picture = alice.cluster.laptop.root / f"tmp/{ui}.png"
        shutil.copy(picture, Path(os.environ["SLURM_NB_PICTURES"]) / f"{ui}.png")


@pytest.mark.usefixtures("work")
def test_with_a_password_the_url_holds_no_secret(alice: Scientist) -> None:
    """The password that `slurm-nb password` asked for opens the page, which says so; only its hash
    is stored.
    """
    alice.cluster.login.run(
        ["slurm-nb", "password"], user="alice", stdin_text=f"{PASSWORD}\n{PASSWORD}\n"
    )

    record = alice.submit("--notebook-dir", "work", "-w", "c1", "--auth", "password")

    seen = _see(alice, record, "notebook", PASSWORD)

    assert "?" not in record["url"]
    assert (alice.state / "password").read_text().startswith("argon2:")
    assert seen["output"] == f"node c1 - job {record['job_id']}"
    first, second = seen["login"]
    assert "the password that you set with slurm-nb password on the login node" in first
    assert "oken" not in first
    assert "Wrong password." in second
    assert "Wrong password." not in first
    if "SLURM_NB_PICTURES" in os.environ:
        picture = alice.cluster.laptop.root / "tmp/notebook.png.login.png"
        shutil.copy(picture, Path(os.environ["SLURM_NB_PICTURES"]) / "login.png")
