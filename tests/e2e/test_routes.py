"""The routes to Jupyter: what listens, what is printed, what kernels inherit."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.cluster import Cluster, Host
from tests.e2e.scientist import Scientist, await_port

ROUTES = {
    "port": [],
    "socket": ["--listen", "socket"],
    "direct": ["--route", "direct"],
    "tls": ["--route", "direct", "--tls"],
    "relay": ["--route", "relay"],
}
BOUND = {
    "port": ["127.0.0.1"],
    "socket": [],
    "direct": ["10.98.0.11"],
    "tls": ["10.98.0.11"],
    "relay": ["127.0.0.1"],
}
FACTS = """
import json, os, resource, subprocess
with open("made-by-a-kernel", "w"): pass
mode = oct(os.stat("made-by-a-kernel").st_mode & 0o777)
os.unlink("made-by-a-kernel")
names = sorted(name for name in os.environ if name.startswith(("SLURM_NB", "JUPYTER_CONFIG")))
print(json.dumps({"cwd": os.getcwd(), "mode": mode, "names": names}))
"""


# A browser keeps cookies. VS Code's Jupyter extension (2026) asks for the API below the URL's path.
VISIT = """
import json, os, ssl
from urllib.parse import urlsplit
from urllib.error import HTTPError
from urllib.request import HTTPCookieProcessor, HTTPSHandler, Request, build_opener, urlopen
url, context = os.environ["NB_URL"], ssl._create_unverified_context()
browser = build_opener(HTTPCookieProcessor(), HTTPSHandler(context=context))
page = urlsplit(browser.open(url).url).path
base, _, token = url.partition("?token=")
asked = Request(base.rstrip("/") + "/api/kernelspecs", headers={"Authorization": "token " + token})
try:
    api = urlopen(asked, context=context).status
except HTTPError as error:
    api = error.code
print(json.dumps({"page_path": page, "vs_code_status": api}))
"""


def _visit(alice: Scientist, url: str) -> dict[str, Any]:
    """Return the page that a browser lands on, and the answer to VS Code."""
    words = ["/srv/venv/bin/python", "-c", VISIT]
    said = alice.cluster.laptop.run(words, user="lea", env={"NB_URL": url}).stdout
    found: dict[str, Any] = json.loads(said)
    return found


@dataclass(frozen=True)
class Reached:
    """A session on c1 with a kernel, and the output of a cell through the printed tunnel."""

    route: str
    record: dict[str, Any]
    seen: dict[str, Any]
    visit: dict[str, Any]
    listening: list[str]
    """The output of ss(8) meanwhile, a line for each TCP socket."""


@pytest.fixture(scope="module", params=ROUTES)
def reached(cluster: Cluster, request: pytest.FixtureRequest) -> Iterator[Reached]:
    """Start a session by each route once, for several tests."""
    alice, route = Scientist(cluster), request.param
    record = alice.submit("-w", "c1", *ROUTES[route])
    with alice.tunnel(record["tunnel_command"]):
        seen = alice.run_cell(record["url"], FACTS)
        visit = _visit(alice, record["url"])
        lines = cluster.hosts["c1"].run(["ss", "-H", "-l", "-t", "-n", "-p"]).stdout
    yield Reached(route, record, seen, visit, lines.splitlines())
    alice.clean_up()
    assert alice.run_folders() == []


def test_each_route_leads_to_a_kernel_on_the_node(reached: Reached) -> None:
    """The printed line and URL run a cell; without the token there is 403."""
    assert (reached.seen["page_status"], reached.seen["no_token_status"]) == (200, 403)
    assert json.loads(reached.seen["output"]) == {
        "cwd": "/home/alice",
        "mode": "0o644",
        "names": ["SLURM_NB_SESSION"],
    }


def test_the_printed_url_serves_vs_code_too(reached: Reached) -> None:
    """It is the address of the server, below which VS Code looks for the API; a browser is
    redirected from it.
    """
    assert (reached.visit["page_path"], reached.visit["vs_code_status"]) == ("/tree", 200)


def test_nothing_listens_on_tcp_but_the_notebook(reached: Reached) -> None:
    """A kernel is running; with --listen socket not even the notebook listens."""
    listening = [line.split()[3] for line in reached.listening if '"python' in line]
    notebook = [each for each in listening if each.endswith(f":{reached.record['port']}")]
    pipes = [each for each in listening if each not in notebook]
    assert [each.partition(":")[0] for each in notebook] == BOUND[reached.route]
    assert pipes == []


def test_the_direct_route_binds_the_one_address_that_login_reaches(alice: Scientist) -> None:
    """It is the node's own name in the cluster's network, one hop, and a note on the exposure."""
    said = alice.slurm_nb("submit", "-w", "c1", "--route", "direct")

    (command,) = [line for line in said.stdout.splitlines() if line.startswith("ssh ")]
    assert "-J" not in command
    assert ":10.98.0.11:" in command
    assert "connect to 10.98.0.11:" in said.stdout


def test_tls_prints_the_fingerprint_of_the_certificate_that_is_served(alice: Scientist) -> None:
    """A browser shows the fingerprint of the certificate that slurm-nb printed next to the URL."""
    said = alice.slurm_nb("submit", "-w", "c1", "--route", "direct", "--tls")
    (url,) = [line for line in said.stdout.splitlines() if line.startswith("https://")]
    (command,) = [line for line in said.stdout.splitlines() if line.startswith("ssh ")]
    end = url.partition("//")[2].partition("/")[0]

    with alice.tunnel(command):
        alice.run_cell(url, "print(1)")
        show = f"openssl s_client -connect {end} </dev/null 2>/dev/null | openssl x509 -noout"
        served = alice.cluster.laptop.run(
            ["bash", "-c", f"{show} -fingerprint -sha256"], user="lea"
        ).stdout

    assert served.strip().partition("=")[2] in said.stdout


def test_submit_names_each_setting_that_was_overruled(alice: Scientist) -> None:
    """submit names the file and the setting that would have given others access."""
    folder = alice.home / ".jupyter"
    folder.mkdir(exist_ok=True)
    (folder / "jupyter_server_config.py").write_text(
        "c.ServerApp.token = ''\nc.ServerApp.disable_check_xsrf = True\n"
        "c.ServerApp.allow_origin = '*'\nc.ServerApp.ip = '0.0.0.0'\n"
    )

    said = alice.slurm_nb("submit")

    for setting in ("token = ''", "disable_check_xsrf = True", "allow_origin = '*'", "ip = '0.0.0"):
        assert f"/home/alice/.jupyter/jupyter_server_config.py) sets ServerApp.{setting}" in (
            said.stderr
        )


def test_a_session_whose_files_others_can_change_is_refused(alice: Scientist) -> None:
    """Tunnel-cmd prints nothing for a record that somebody else may have written."""
    record = alice.submit()
    folder = alice.state / "sessions/testbed" / record["job_id"]
    folder.chmod(0o770)

    said = alice.slurm_nb("tunnel-cmd", record["job_id"])

    assert (said.exit_code, said.stdout) == (1, "")
    assert "is open to other users" in said.stderr


def test_an_id_that_slurm_has_given_to_another_job_is_not_ours(alice: Scientist) -> None:
    """The record of an old job leads to no tunnel, and slurm-nb does not cancel its id."""
    record = alice.submit()
    other = alice.cluster.login.run(
        ["sbatch", "--parsable", "--wrap=sleep 60"], user="alice"
    ).stdout.strip()
    sessions = alice.state / "sessions/testbed"
    text = (sessions / record["job_id"] / "session.json").read_text()
    (sessions / record["job_id"]).rename(sessions / other)
    changed = text.replace(f'"job_id": "{record["job_id"]}"', f'"job_id": "{other}"')
    (sessions / other / "session.json").write_text(changed)

    tunnel = alice.slurm_nb("tunnel-cmd", other)
    cancel = alice.slurm_nb("cancel", other)

    assert (tunnel.exit_code, tunnel.stdout) == (4, "")
    assert "is the id of another job now" in tunnel.stderr
    assert cancel.exit_code == 0
    assert other in alice.squeue("%i")


def test_output_of_forked_children_still_reaches_the_cell(alice: Scientist) -> None:
    """Their output comes by ipykernel's inbound pipe, which is a UNIX socket here."""
    record = alice.submit()
    code = (
        "import multiprocessing\n"
        "child = multiprocessing.get_context('fork').Process("
        "target=print, args=('from a child',), kwargs={'flush': True})\n"
        "child.start(); child.join()\n"
        "import time; time.sleep(0.2); print('from the kernel')"
    )

    with alice.tunnel(record["tunnel_command"]):
        seen = alice.run_cell(record["url"], code)

    assert sorted(seen["output"].splitlines()) == ["from a child", "from the kernel"]


def test_the_direct_route_needs_no_name_of_the_login_node(alice: Scientist) -> None:
    """If the node cannot resolve it, an address that the login node had at submission works."""
    line = "export SLURM_SUBMIT_HOST=no-such-host.invalid"

    record = alice.submit("-w", "c1", "--route", "direct", "--setup", line)

    assert f":{BOUND['direct'][0]}:" in record["tunnel_command"]
    with alice.tunnel(record["tunnel_command"]):
        assert alice.run_cell(record["url"], "print(6 * 7)")["output"] == "42\n"


@pytest.mark.parametrize(("ui", "page"), [("notebook", "/tree"), ("lab", "/lab")])
def test_the_printed_url_leads_to_the_page_of_the_chosen_ui(
    alice: Scientist, ui: str, page: str
) -> None:
    """Wherever the user's own configuration sends those who open Jupyter's root."""
    folder = alice.home / ".jupyter"
    folder.mkdir(exist_ok=True)
    for name, classes in {
        "jupyter_server_config": ("ServerApp",),
        "jupyter_notebook_config": ("ServerApp", "JupyterNotebookApp"),
        "jupyter_lab_config": ("ServerApp", "LabApp"),
    }.items():
        lines = [f"c.{each}.default_url = '/api'" for each in classes]
        (folder / f"{name}.py").write_text("\n".join(lines))

    record = alice.submit("--ui", ui)

    with alice.tunnel(record["tunnel_command"]):
        seen = alice.run_cell(record["url"], "print(6 * 7)")
        visit = _visit(alice, record["url"])
    assert (visit["page_path"], visit["vs_code_status"], seen["output"]) == (page, 200, "42\n")


@pytest.mark.parametrize(
    ("ui", "page"),
    [("notebook", "/notebooks/my%20data.ipynb"), ("lab", "/lab/tree/my%20data.ipynb")],
)
def test_a_notebook_and_vs_code_have_two_urls(alice: Scientist, ui: str, page: str) -> None:
    """The first leads the browser to the notebook; VS Code finds the API below the second."""
    notebook = alice.home / "my data.ipynb"
    notebook.write_text(EMPTY_NOTEBOOK)
    os.chown(notebook, alice.user.uid, alice.user.uid)
    record = alice.submit("--ui", ui, "my data.ipynb")

    with alice.tunnel(record["tunnel_command"]):
        await_port(alice.cluster.laptop, record["local_port"])
        opened, server = (_visit(alice, record[name]) for name in ("url", "server_url"))
    notebook.unlink()

    assert opened["page_path"] == page
    assert server["vs_code_status"] == 200


EMPTY_NOTEBOOK = '{"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}'
MASTER = """
Host *
  ControlMaster auto
  ControlPath ~/.ssh/master-%C
  ControlPersist yes
"""


@pytest.fixture
def multiplexed(alice: Scientist) -> Iterator[Host]:
    """The laptop of someone who has one connection to the login node open, for all of their ssh."""
    laptop = alice.cluster.laptop
    config = laptop.root / "home/lea/.ssh/config"
    config.write_text(MASTER)
    laptop.run(["ssh", "-f", "alice@login", "sleep 1"], user="lea")
    yield laptop
    config.unlink()
    laptop.run(["bash", "-c", "pkill -u lea -x ssh; rm -f ~/.ssh/master-*"], user="lea")


def _logins(host: Host) -> int:
    return (host.root / "var/log/sshd.log").read_text().count("Accepted publickey for alice")


@pytest.mark.parametrize("route", ["port", "socket", "direct"])
def test_ctrl_c_closes_the_tunnel_of_a_laptop_that_shares_connections(
    alice: Scientist, multiplexed: Host, route: str
) -> None:
    """The connection that carries the forward is ssh's own; the jump host's is the shared one, so
    the login node asks nothing a second time.
    """
    record = alice.submit("-w", "c1", "--login-host", "login", *ROUTES[route])
    before = _logins(alice.cluster.login)
    command = f"exec {record['tunnel_command']}"
    ssh = multiplexed.popen(["bash", "-c", command], user="lea")

    output = alice.run_cell(record["url"], "print(6 * 7)")["output"]
    more_logins = _logins(alice.cluster.login) - before
    ssh.send_signal(signal.SIGINT)
    _, errors = ssh.communicate(timeout=20)

    assert output == "42\n"
    assert more_logins == (1 if route == "direct" else 0)
    listening = multiplexed.run(["ss", "-H", "-l", "-t", "-n"]).stdout
    assert f":{record['local_port']} " not in listening, errors


def test_the_login_node_is_named_if_its_name_is_known(alice: Scientist) -> None:
    """The name of the SSH connection's address; an address or a name without one is a guess."""
    came_in = {"SSH_CONNECTION": "10.98.0.11 50000 10.98.0.1 22"}
    by_name = alice.slurm_nb("submit", "--cluster", "local", env=came_in)
    by_address = alice.slurm_nb("submit", "--cluster", "local")
    from_cron = alice.slurm_nb("submit", "--cluster", "local", env={"SSH_CONNECTION": ""})

    assert "alice@login.cluster.test" in by_name.stdout
    assert "is a guess" not in by_name.stdout
    assert "10.97.0.1 is a guess. " in by_address.stdout
    assert "login.cluster.test is a guess. " in from_cron.stdout


TROUBLESHOOTING = Path(__file__).parents[2] / "docs/troubleshooting.md"
FORBIDDEN = "open failed: administratively prohibited: open failed"
IN_USE = "Could not request local forwarding."
OVER = "open failed: connect failed: Connection refused"


@pytest.fixture
def no_forwarding(alice: Scientist) -> Iterator[str]:
    """An sshd of the login node, on another port, that forwards nothing."""
    login, config = alice.cluster.login, alice.cluster.laptop.root / "home/lea/.ssh/config"
    pid_file = login.root / "run/no_forwarding.pid"
    options = ["Port=2222", "AllowTcpForwarding=no", "PidFile=/run/no_forwarding.pid"]
    words = [word for option in options for word in ("-o", option)]
    login.run(["/usr/sbin/sshd", *words, "-E", "/var/log/no_forwarding.log"])
    config.write_text("Host login\n  HostKeyAlias login\n")
    yield "login:2222"
    config.unlink()
    login.run(["kill", pid_file.read_text().strip()])


def test_troubleshooting_quotes_ssh_where_forwarding_is_disabled(
    alice: Scientist, no_forwarding: str
) -> None:
    """By the jump ssh ends with the message; by the direct route it says so for each page."""
    jump = alice.submit("-w", "c1", "--login-host", no_forwarding)
    direct = alice.submit("-w", "c1", "--login-host", no_forwarding, *ROUTES["direct"])

    ended = alice.cluster.laptop.run(
        ["bash", "-c", jump["tunnel_command"]], user="lea", check=False
    )
    said = _while_the_page_is_asked_for(alice, direct)

    assert f"`{FORBIDDEN}`" in TROUBLESHOOTING.read_text(encoding="utf-8")
    assert ended.returncode == 255
    assert FORBIDDEN in ended.stderr
    assert FORBIDDEN in said


def test_troubleshooting_quotes_ssh_after_the_session(alice: Scientist) -> None:
    """The old ssh says that nobody listens, and a new one that its port is in use."""
    record = alice.submit("-w", "c1", "--login-host", "login")
    command = record["tunnel_command"]
    alice.slurm_nb("cancel", record["job_id"])

    with alice.tunnel(command):
        await_port(alice.cluster.laptop, record["local_port"])
        second = alice.cluster.laptop.run(["bash", "-c", command], user="lea", check=False)
    said = _while_the_page_is_asked_for(alice, record)

    text = TROUBLESHOOTING.read_text(encoding="utf-8")
    assert f"`{IN_USE}`" in text
    assert f"`{OVER}`" in text
    assert second.returncode == 255
    assert IN_USE in second.stderr
    assert OVER in said


def _while_the_page_is_asked_for(alice: Scientist, record: dict[str, Any]) -> str:
    """Return the errors of the printed ssh while a browser gets no page."""
    laptop = alice.cluster.laptop
    ssh = laptop.popen(["bash", "-c", f"exec {record['tunnel_command']}"], user="lea")
    await_port(laptop, record["local_port"])
    ask = ["/srv/venv/bin/python", "-c", VISIT]
    asked = laptop.run(ask, user="lea", env={"NB_URL": record["url"]}, check=False)
    ssh.terminate()
    _, errors = ssh.communicate(timeout=20)
    assert asked.returncode != 0
    return errors
