"""The two configurations of a relay let one client reach one server, and nobody else."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from slurm_nb.connection.connection import tunnel_of
from slurm_nb.connection.login import Login
from slurm_nb.connection.relay import ssh_config, sshd_config
from slurm_nb.connection.relay_end import held
from slurm_nb.errors import UserError
from slurm_nb.files import write_private
from slurm_nb.joblog.events import Ready
from slurm_nb.scheduler.job import Job
from slurm_nb.scheduler.relay import make_key
from slurm_nb.session.session import Session
from slurm_nb.session.store import Store
from tests.conftest import NONCE

TOKEN = "ab" * 32
PORT = Ready("c1", 40123, "/tree")
SOCKET = Ready("c1", None, "/tree", socket="/tmp/slurm-nb.AbCd1234/jupyter.sock")
SESSION = Session(job=Job("7", "hpc"), options=("--route=relay",))


def settings(text: str) -> dict[str, str]:
    """Return a configuration's values by name."""
    lines = (line.strip().partition(" ") for line in text.splitlines())
    return {name: value for name, _, value in lines}


@pytest.mark.parametrize(("ready", "end"), [(PORT, "127.0.0.1:40123"), (SOCKET, "any")])
def test_the_jobs_sshd_leads_only_to_jupyter(ready: Ready, end: str) -> None:
    """It runs no command, gives no terminal, listens nowhere and accepts the session's key only."""
    found = settings(sshd_config(Path("/state/relay"), ready))

    assert found["PermitOpen"] == end
    assert (found["ForceCommand"], found["MaxSessions"]) == ("/bin/false", "0")
    assert found["PermitListen"] == "none"
    assert found["AuthenticationMethods"] == "publickey"
    assert found["AuthorizedKeysFile"] == "/state/relay/client.pub"
    assert {found[name] for name in ("PermitTTY", "PermitTunnel", "X11Forwarding")} == {"no"}


def test_the_login_nodes_ssh_trusts_only_the_sessions_host_key() -> None:
    """It reads no other key, agent or known_hosts, and opens its socket only to the user."""
    found = settings(configured(Path("/state/relay")))

    assert found["StrictHostKeyChecking"] == "yes"
    assert found["UserKnownHostsFile"] == "/state/relay/known_hosts"
    assert (found["GlobalKnownHostsFile"], found["IdentityAgent"]) == ("none", "none")
    assert (found["IdentitiesOnly"], found["ControlPath"]) == ("yes", "none")
    assert found["StreamLocalBindMask"] == "0177"
    assert found["LocalForward"] == "/s 127.0.0.1:40123"


def test_the_step_has_none_of_the_jobs_gpus_and_memory() -> None:
    """It overlaps with the job's own, on the session's node."""
    words = shlex.split(settings(configured(Path("/state/relay")))["ProxyCommand"])

    assert words[0] == "srun"
    assert {"--jobid=7", "--overlap", "--mem=0", "--gres=none", "--nodelist=c1"} < set(words)
    assert "--pty" not in words


@pytest.mark.parametrize("name", ["plain", "a blank", "100%"])
def test_ssh_reads_the_paths_as_they_are_meant(tmp_path: Path, name: str) -> None:
    """A path with a blank is quoted; one with a percent sign is refused."""
    folder = tmp_path / name
    folder.mkdir()
    if "%" in name:
        with pytest.raises(UserError, match="cannot name this path"):
            sshd_config(folder, PORT)
        return
    make_key(folder / "client", "test")
    (folder / "ssh").write_text(configured(folder))

    ssh = said(["ssh", "-G", "-F", str(folder / "ssh"), "slurm-nb-relay"])

    assert f"identityfile {folder}/client\n" in ssh
    assert "localforward /s [127.0.0.1]:40123" in ssh
    assert (folder / "client.pub").stat().st_mode & 0o777 == 0o600


def said(words: list[str]) -> str:
    return subprocess.run(
        words, capture_output=True, text=True, check=True, timeout=30, cwd="/"
    ).stdout


def configured(folder: Path) -> str:
    return ssh_config(
        folder,
        Job("7", "hpc"),
        PORT,
        user="alice",
        path=Path("/s"),
        kit=Path("/kit"),
        log=Path("/state/7_0_log.out"),
    )


@pytest.fixture
def short(tmp_path: Path) -> Store:
    """Return a state directory whose path has room for a socket."""
    store = Store.of_user({"SLURM_NB_HOME": str(tmp_path / "s")})
    store.save(SESSION)
    for name, secret in (("token", TOKEN), ("nonce", NONCE)):
        write_private(store.session_folder("hpc", "7") / name, secret)
    return store


def test_a_session_by_relay_has_the_users_end(short: Store) -> None:
    """The line forwards one port to one socket, and names the command; the URL has the port."""
    tunnel = tunnel_of(SESSION, PORT, short, Login("login", 2222))

    words = shlex.split(tunnel.command)
    at = words.index("-L")
    assert tunnel.route == "relay"
    assert words[at + 1] == f"127.0.0.1:{tunnel.local_port}:{short.folder}/relay/socket"
    assert words[at - 2 : at] == ["-p", "2222"]
    assert words[-2:] == ["connect", "7"]
    assert f"SLURM_NB_HOME={short.folder}" in words
    assert f"127.0.0.1:{tunnel.local_port}/" in tunnel.url


@pytest.mark.parametrize("shell", ["sh", "bash", "dash", "csh", "tcsh", "zsh", "fish"])
def test_the_line_survives_both_shells(tmp_path: Path, shell: str) -> None:
    """The laptop's shell splits it, and the login node's shell splits the rest again."""
    if shutil.which(shell) is None:
        pytest.skip(f"no {shell}")
    store = Store.of_user({"SLURM_NB_HOME": str(tmp_path / "it's a; `dir` & $HOME")})
    store.save(SESSION)
    for name, secret in (("token", TOKEN), ("nonce", NONCE)):
        write_private(store.session_folder("hpc", "7") / name, secret)
    command = tunnel_of(SESSION, PORT, store, Login("login")).command

    words = shlex.split(command)
    at = next(i for i, word in enumerate(words) if word.endswith("@login")) + 1
    remote = " ".join(words[at:])
    shown = said([shell, "-c", f"printf '%s\\n' {remote}"]).splitlines()

    assert f"SLURM_NB_HOME={store.folder}" in shown
    assert shown[-2:] == ["connect", "7"]


def test_a_second_session_at_once_has_its_own_line(short: Store) -> None:
    """While another one's relay is held; its own relay keeps its line."""
    first = tunnel_of(SESSION, PORT, short, Login("login"))
    with held(short, SESSION):
        same = tunnel_of(SESSION, PORT, short, Login("login"))
    with held(short, replace(SESSION, job=Job("8", "hpc"))):
        own = tunnel_of(SESSION, PORT, short, Login("login"))

    assert same == first
    assert own.local_port != first.local_port
    words = shlex.split(own.command)
    assert words[-4:] == [
        "--socket", f"{short.folder}/relay/7", "--local-port", str(own.local_port)
    ]  # fmt: skip


def test_a_session_with_a_certificate_has_no_relay(short: Store) -> None:
    """The relay checks the page itself, and cannot check the certificate."""
    ready = replace(PORT, address="10.1.2.3", fingerprint="AB")

    with pytest.raises(UserError, match="uses --tls, which the relay cannot carry"):
        tunnel_of(SESSION, ready, short, Login("login"), "relay")


def test_a_session_on_this_machine_needs_no_relay(short: Store) -> None:
    session = replace(SESSION, job=Job("local-1", "local"))
    short.save(session)
    for name, secret in (("token", TOKEN), ("nonce", NONCE)):
        write_private(short.session_folder("local", "local-1") / name, secret)

    with pytest.raises(UserError, match="it needs no relay"):
        tunnel_of(session, PORT, short, Login("login"), "relay")
