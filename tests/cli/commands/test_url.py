"""slurm-nb url"""

from __future__ import annotations

import json

import pytest

from slurm_nb.session.store import Store
from tests.fakes import NAMED, TOKEN, Run, running


@pytest.mark.usefixtures("slurm")
def test_url_prints_only_the_url(run: Run, store: Store) -> None:
    """This is for scripts and for laptops that already have the tunnel."""
    running(store, NAMED)

    said = run("url", "7", "--local-port", "9999")

    assert said.out == f"http://127.0.0.1:9999/?token={TOKEN}\n"


@pytest.mark.usefixtures("slurm")
def test_url_as_json(run: Run, store: Store) -> None:
    """The object is the same as tunnel-cmd's."""
    running(store)

    assert json.loads(run("url", "7", "--json").out) == json.loads(
        run("tunnel-cmd", "7", "--json").out
    )
