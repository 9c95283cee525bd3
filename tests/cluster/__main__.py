"""The cluster by hand: `python -m tests.cluster up`, `shell HOST USER`, `down`."""

# ruff: noqa: T201  printing is what it is for

import argparse
import sys
import time
from pathlib import Path

from .cluster import Cluster, StartError, take_down
from .layout import HOSTS
from .release import RELEASES, ReleaseError
from .software import ensure_environment


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.cluster", description=__doc__)
    parser.add_argument("--name", default="hand", help="which cluster, if several run side by side")
    verbs = parser.add_subparsers(dest="verb", required=True)
    start = verbs.add_parser("up", help="start the cluster in the background")
    start.add_argument("--wheel", type=Path, help="install this wheel for all users")
    start.add_argument("--release", choices=RELEASES, help="whose Slurm and Python; else own")
    start.add_argument("--accounting", action="store_true", help="with slurmdbd on a MariaDB")
    shell = verbs.add_parser("shell", help="an interactive login shell")
    shell.add_argument("host", choices=HOSTS)
    shell.add_argument("user", help="lea on the laptop; alice or mallory elsewhere; root anywhere")
    verbs.add_parser("down", help="remove the cluster and all it holds")
    chosen = parser.parse_args()
    if chosen.verb == "up":
        return up(chosen.name, chosen.wheel, chosen.release, accounting=chosen.accounting)
    if chosen.verb == "shell":
        return open_shell(chosen.name, chosen.host, chosen.user)
    return down(chosen.name)


def up(name: str, wheel: Path | None, release: str | None, *, accounting: bool) -> int:
    """Start a cluster that stays."""
    if Cluster.recalled(name) is not None:
        print(f"the cluster {name} is already up", file=sys.stderr)
        return 1
    take_down(name)
    began = time.monotonic()
    try:
        cluster = Cluster.start(name, release=release, accounting=accounting, stay=True)
    except (StartError, ReleaseError) as error:
        print(error, file=sys.stderr)
        return 1
    cluster.keep(name)
    if wheel is not None:
        ensure_environment(cluster, wheel)
    print(f"up in {time.monotonic() - began:.1f} s; state and logs in {cluster.state}")
    me = "python -m tests.cluster" + ("" if name == "hand" else f" --name {name}")
    for host, user in (("login", "alice"), ("c1", "mallory"), ("laptop", "lea")):
        print(f"  {me} shell {host} {user}")
    print(f"  {me} down")
    return 0


def open_shell(name: str, host: str, user: str) -> int:
    """Run an interactive shell and return its exit code."""
    cluster = Cluster.recalled(name)
    if cluster is None:
        print(f"no cluster {name} is up", file=sys.stderr)
        return 1
    return cluster.hosts[host].login_shell(user)


def down(name: str) -> int:
    """End a cluster."""
    if not take_down(name):
        print(f"no cluster {name} is up", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
