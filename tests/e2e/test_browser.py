"""Chromium on the laptop, through the printed tunnel, at the printed URL."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from tests.cluster import ensure_tools
from tests.cluster.users import ALICE
from tests.e2e.scientist import Scientist

CLIENT = Path(__file__).with_name("browser_client.py").read_text(encoding="utf-8")
CODE = """import os, platform
print("node", platform.node(), "- job", os.environ["SLURM_JOB_ID"])"""


def _notebook(source: str) -> str:
    cells = [
        {"cell_type": "markdown", "id": "a", "metadata": {}, "source": "# Where does this run?"},
        {"cell_type": "code", "id": "b", "metadata": {}, "source": source, "outputs": [],
         "execution_count": None},
    ]  # fmt: skip
    kernel = {"name": "python3", "display_name": "Python 3 (ipykernel)", "language": "python"}
    metadata = {"kernelspec": kernel, "language_info": {"name": "python"}}
    return json.dumps({"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5})


@pytest.mark.parametrize(("ui", "path"), [("notebook", "notebooks"), ("lab", "lab/tree")])
def test_a_cell_runs_in_a_real_browser(alice: Scientist, ui: str, path: str) -> None:
    """The URL as printed shows the user's files; a cell's output comes from the compute node."""
    ensure_tools(alice.cluster)
    notebook = alice.home / "work/where.ipynb"
    notebook.parent.mkdir(exist_ok=True)
    notebook.write_text(_notebook(CODE))
    for made in (notebook.parent, notebook):
        os.chown(made, ALICE.uid, ALICE.uid)
    record = alice.submit("--ui", ui, "--notebook-dir", "work", "-w", "c1")

    with alice.tunnel(record["tunnel_command"]):
        done = alice.cluster.laptop.run(
            ["/srv/tools/bin/python", "-"],
            user="lea",
            env={
                "NB_URL": record["url"],
                "NB_PATH": f"{path}/where.ipynb",
                "NB_PICTURE": f"/tmp/{ui}.png",
            },
            stdin_text=CLIENT,
            timeout_s=150,
        )

    seen = json.loads(done.stdout)
    assert "where.ipynb" in seen["listing"]
    assert seen["output"] == f"node c1 - job {record['job_id']}"
    assert "token" not in seen["url"], "Jupyter takes the token out of the address bar"
    if "SLURM_NB_PICTURES" in os.environ:
        picture = alice.cluster.laptop.root / f"tmp/{ui}.png"
        shutil.copy(picture, Path(os.environ["SLURM_NB_PICTURES"]) / f"{ui}.png")
