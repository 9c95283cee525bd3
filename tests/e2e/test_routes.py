"""The routes to Jupyter: what listens, what is printed, what kernels inherit."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.cluster import Cluster
from tests.e2e.scientist import Scientist

ROUTES = {
    "port": [],
    "socket": ["--listen", "socket"],
    "direct": ["--route", "direct"],
    "tls": ["--route", "direct", "--tls"],
}
BOUND = {"port": ["127.0.0.1"], "socket": [], "direct": ["10.98.0.11"], "tls": ["10.98.0.11"]}
FACTS = """
import json, os, resource, subprocess
with open("made-by-a-kernel", "w"): pass
mode = oct(os.stat("made-by-a-kernel").st_mode & 0o777)
os.unlink("made-by-a-kernel")
names = sorted(name for name in os.environ if name.startswith(("SLURM_NB", "JUPYTER_CONFIG")))
print(json.dumps({"cwd": os.getcwd(), "mode": mode, "names": names}))
"""


@dataclass(frozen=True)
class Reached:
    """A session on c1 with a kernel, and the output of a cell through the printed tunnel."""

    route: str
    record: dict[str, Any]
    seen: dict[str, Any]
    listening: list[str]
    """The output of ss(8) meanwhile, a line for each TCP socket."""


@pytest.fixture(scope="module", params=ROUTES)
def reached(cluster: Cluster, request: pytest.FixtureRequest) -> Iterator[Reached]:
    """Start a session by each route once, for several tests."""
    alice, route = Scientist(cluster), request.param
    record = alice.submit("-w", "c1", *ROUTES[route])
    with alice.tunnel(record["tunnel_command"]):
        seen = alice.run_cell(record["url"], FACTS)
        lines = cluster.hosts["c1"].run(["ss", "-H", "-l", "-t", "-n", "-p"]).stdout
    yield Reached(route, record, seen, lines.splitlines())
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
