"""submit --again: resubmit a session, with changes."""

from __future__ import annotations

from pathlib import Path

import pytest

from slurm_nb.scheduler.job import Job
from slurm_nb.session.session import Session
from slurm_nb.session.store import Store
from tests.fakes import Run


def options(store: Store, job_id: str = "7") -> tuple[str, ...]:
    return store.load(job_id).options


@pytest.mark.usefixtures("slurm")
def test_again_repeats_a_session_with_changes(run: Run, store: Store) -> None:
    """Every option that is not given again stays, including lists and options for sbatch."""
    before = ["--mem", "4G", "--module", "a", "--module", "b", "--tls", "--route", "direct"]
    run("submit", "--no-wait", "-t", "90", "-J", "fit", *before, "--", "--exclusive")
    first = options(store)

    run("submit", "--no-wait", "--again", "7", "--mem", "8G", "--module", "c")

    asked = ("--job-name=fit", "--time=90", "--mem=4G", "--route=direct", "--tls", "--module=a")
    assert {*asked, "--module=b", f"--notebook-dir={Path.cwd()}"} <= {*first}
    assert first[-2:] == ("--", "--exclusive")
    changed = {"--mem=4G": "--mem=8G", "--module=a": "--module=c"}
    assert options(store) == tuple(
        changed.get(word, word) for word in first if word != "--module=b"
    )


@pytest.mark.usefixtures("slurm")
def test_again_accepts_the_opposite_of_a_switch(run: Run, store: Store) -> None:
    """New options for sbatch replace the old ones; a session can be given by name."""
    run("submit", "--no-wait", "-J", "fit", "--tls", "--route", "direct", "--", "--exclusive")

    run("submit", "--no-wait", "--again", "fit", "--no-tls", "--", "--nice=5")

    assert options(store)[-2:] == ("--", "--nice=5")
    assert "--tls" not in options(store)


@pytest.mark.usefixtures("slurm")
def test_again_ignores_the_config_file(
    run: Run, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A flag that overrode a file does so again, even if its value is slurm-nb's default."""
    own = tmp_path / "slurm-nb" / "config.toml"
    own.parent.mkdir()
    own.write_text(
        'allow-debugger = true\nlisten = "socket"\nidle-timeout = "0"\n', encoding="utf-8"
    )
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    flags = ["--no-allow-debugger", "--listen", "port", "--idle-timeout", "60"]
    run("submit", "--no-wait", *flags)
    first = options(store)

    run("submit", "--no-wait", "--again", "7")

    assert options(store) == first
    assert {"--no-allow-debugger", "--listen=port", "--idle-timeout=60"} <= {*first}


@pytest.mark.usefixtures("slurm")
def test_again_keeps_the_connection_options(run: Run, store: Store) -> None:
    """These are the login host and local port from the command line, but no detected address."""
    run("submit", "--no-wait", "--login-host", "login.hpc.edu:2222", "--local-port", "9999")
    run("submit", "--no-wait", "--again", "7", "-t", "90")
    again = store.load("7")
    run("submit", "--no-wait")

    assert (again.login_host, again.local_port) == ("login.hpc.edu:2222", 9999)
    assert not any(word.startswith("--lo") for word in options(store))


@pytest.mark.usefixtures("slurm")
def test_again_of_an_unknown_session_is_an_error(run: Run, store: Store) -> None:
    """Either there is no such session, or its options are unknown."""
    store.save(Session(job=Job("5", "hpc")))

    unknown, bare = run("submit", "--again", "4"), run("submit", "--again", "5")

    assert (unknown.code, bare.code) == (1, 1)
    assert "job 4 was not started by slurm-nb" in unknown.err
    assert "--again 5: the options of this job are unknown" in bare.err


@pytest.mark.usefixtures("slurm")
def test_again_stays_within_the_sites_rules(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A newer lock also applies to an old session's options."""
    run("submit", "--no-wait", "--listen", "socket")
    site = tmp_path / "site.toml"
    site.write_text('listen = "port"\nlocked = ["listen"]\n', encoding="utf-8")
    monkeypatch.setenv("SLURM_NB_SITE_CONFIG", str(site))

    said = run("submit", "--no-wait", "--again", "7")

    assert said.code == 1
    assert "listen is locked to port" in said.err
