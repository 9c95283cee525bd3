"""slurm-nb url"""

from __future__ import annotations

import json

import pytest

from slurm_nb.session.store import Store
from tests.fakes import NAMED, TOKEN, Run, running


@pytest.mark.usefixtures("slurm")
def test_url_prints_the_url_alone(run: Run, store: Store) -> None:
    """For a script, or a laptop that has the tunnel already."""
    running(store, NAMED)

    said = run("url", "7", "--local-port", "9999")

    assert said.out == f"http://127.0.0.1:9999/?token={TOKEN}\n"


@pytest.mark.usefixtures("slurm")
def test_url_as_json(run: Run, store: Store) -> None:
    """The same object as from tunnel-cmd."""
    running(store)

    assert json.loads(run("url", "7", "--json").out) == json.loads(
        run("tunnel-cmd", "7", "--json").out
    )
