"""The links between the hosts, and the names that each uses for the others.

laptop -- 10.97.0.0/24 -- login -- 10.98.0.0/24 (a bridge inside login) -- c1, c2

Nothing forwards, so the laptop reaches login and nothing else. All links live in the hosts' own
network namespaces: nothing is named on the real machine, and two clusters can have the same
addresses.
"""

import subprocess
from collections.abc import Mapping

from .host import Host

DOMAIN = "cluster.test"
LAPTOP_ADDRESS = "10.97.0.2"
LOGIN_OUTER_ADDRESS = "10.97.0.1"
LOGIN_ADDRESS = "10.98.0.1"
NODE_ADDRESSES = {"c1": "10.98.0.11", "c2": "10.98.0.12"}


def hosts_file(host: str) -> str:
    """Return a host's /etc/hosts: the laptop knows only login, the others know each other."""
    known = {"login": LOGIN_ADDRESS, **NODE_ADDRESSES}
    if host == "laptop":
        known = {"laptop": LAPTOP_ADDRESS, "login": LOGIN_OUTER_ADDRESS}
    lines = ["127.0.0.1 localhost", "::1 localhost ip6-localhost ip6-loopback"]
    lines += [f"{address} {name}.{DOMAIN} {name}" for name, address in known.items()]
    return "\n".join(lines) + "\n"


def connect(hosts: Mapping[str, Host]) -> None:
    """Make the links and addresses of all the hosts."""
    login = hosts["login"]
    _ip(
        login,
        f"link add outer type veth peer name eth0 netns {hosts['laptop'].init_pid}",
        f"addr add {LOGIN_OUTER_ADDRESS}/24 dev outer",
        "link set outer up",
        "link add cluster type bridge",
        f"addr add {LOGIN_ADDRESS}/24 dev cluster",
        "link set cluster up",
        *(
            line
            for node in NODE_ADDRESSES
            for line in (
                f"link add to-{node} type veth peer name eth0 netns {hosts[node].init_pid}",
                f"link set to-{node} master cluster up",
            )
        ),
    )
    for name, address in {"laptop": LAPTOP_ADDRESS, **NODE_ADDRESSES}.items():
        _ip(hosts[name], f"addr add {address}/24 dev eth0", "link set eth0 up")


def _ip(host: Host, *lines: str) -> None:
    # Only the network namespace is entered, so that ip(8) finds the other hosts' PIDs in /proc.
    subprocess.run(
        ["nsenter", f"--net=/proc/{host.init_pid}/ns/net", "ip", "-batch", "-"],
        input="\n".join(lines) + "\n",
        text=True,
        check=True,
        capture_output=True,
        timeout=20,
    )
