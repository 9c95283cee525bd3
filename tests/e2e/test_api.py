"""The lines of docs/how-to/python-and-scripts.md, run by an ordinary user on the login node."""

from __future__ import annotations

import re
from pathlib import Path

from tests.e2e.scientist import SSH_CONNECTION, Scientist

PAGE = Path(__file__).resolve().parents[2] / "docs/how-to/python-and-scripts.md"


def test_the_five_lines_of_the_page_lead_to_a_cell(alice: Scientist) -> None:
    """They print the tunnel and the URL; a program may cancel the session as well."""
    (lines,) = re.findall(
        r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    )
    python = ["/srv/venv/bin/python", "-c"]

    said = alice.cluster.login.run(
        [*python, lines], user="alice", env=SSH_CONNECTION, timeout_s=90
    ).stdout
    command, url = said.rstrip("\n").rsplit(" ", 1)
    with alice.tunnel(command):
        seen = alice.run_cell(url, "import os; print(os.environ['SLURM_JOB_ID'])")
    job_id = seen["output"].strip()
    cancel = (
        f"import slurm_nb as s; print(*(c.already for c in s.cancel([s.find_session('{job_id}')])))"
    )
    ended = alice.cluster.login.run([*python, cancel], user="alice", timeout_s=90).stdout

    assert ended == "False\n"
    assert alice.squeue("%i") == []
