"""slurm-nb connect and submit --connect"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from slurm_nb.cli import relay as subject
from slurm_nb.session.store import Store
from tests.conftest import AddProgram
from tests.fakes import Run, running

LOCKED = 'locked = ["route"]\nroute = "direct"\n'


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch, program: AddProgram) -> list[tuple[str, dict[str, Any]]]:
    """Return the relays that were held: the job's id and the options."""
    calls: list[tuple[str, dict[str, Any]]] = []

    def hold_relay(session: Any, **options: Any) -> None:
        calls.append((session.job_id, options))
        raise KeyboardInterrupt

    program("srun", "exit 1")
    monkeypatch.setattr(subject, "hold_relay", hold_relay)
    return calls


@pytest.mark.usefixtures("slurm")
def test_ctrl_c_ends_the_connection_not_the_session(
    run: Run, store: Store, held: list[tuple[str, dict[str, Any]]]
) -> None:
    """The session keeps running; the output names both next commands."""
    running(store)

    result = run("connect", "7", "--socket", "s", "--local-port", "23456")

    assert result.code == 130
    assert "session 7 keeps running" in result.err
    assert "slurm-nb connect 7" in result.err
    assert "slurm-nb cancel 7" in result.err
    ((job_id, options),) = held
    assert job_id == "7"
    assert (options["socket"], options["local_port"]) == (Path.cwd() / "s", 23456)


@pytest.mark.usefixtures("slurm", "held")
@pytest.mark.parametrize(
    "words", [["connect", "7"], ["tunnel-cmd", "7", "--route", "relay"], ["submit", "--connect"]]
)
def test_a_site_that_locks_another_route_is_obeyed(
    run: Run, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    """The message names the file."""
    running(store)
    site = tmp_path / "site.toml"
    site.write_text(LOCKED)
    monkeypatch.setenv("SLURM_NB_SITE_CONFIG", str(site))

    result = run(*words)

    assert result.code == 1
    assert f"route is locked to direct by {site}:1" in result.err


@pytest.mark.parametrize("option", ["--no-wait", "--json", "--local"])
def test_connect_goes_with_a_terminal_and_slurm(run: Run, option: str) -> None:
    """There is nothing to carry otherwise, or nowhere to show it."""
    result = run("submit", "--connect", option)

    assert result.code == 1
    assert f"--connect and {option} cannot be combined" in result.err + result.out


def test_ssh_config_prints_lines_for_the_login_node(run: Run, store: Store) -> None:
    """They name the user's port and socket, always the same; the rest is on stderr."""
    results = [run("ssh-config", "--login", "--login-host", "login.hpc.edu") for _ in range(2)]

    first, second = (result.out for result in results)
    host, forward, ends = first.splitlines()
    assert first == second
    assert (host, ends.strip()) == ("Host login.hpc.edu", "ExitOnForwardFailure yes")
    assert forward.startswith("  LocalForward 127.0.0.1:")
    assert store.folder
    assert "-o ClearAllForwardings=yes login.hpc.edu" in results[0].err


def test_ssh_config_needs_to_know_what_for(run: Run) -> None:
    assert run("ssh-config").code == 2
