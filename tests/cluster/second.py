"""A second cluster, `big`, beside a running one: what `-M` needs.

Both register with one slurmdbd on login, whose MariaDB is reached by its socket alone, as root. The
second slurmctld and its one slurmd run on c2, beside the first cluster's.
"""

import re
import time
from collections.abc import Sequence
from pathlib import Path

from .bed import Cluster
from .host import Host

NAME = "big"
PROGRAMS = ("/usr/sbin/slurmdbd", "/usr/sbin/mariadbd")
"""What it takes beside the programs of a cluster."""

_DATA = "/var/spool/mysql"
_RUN = "/run/mysqld"
_SOCKET = f"{_RUN}/mysqld.sock"
_SLURMDBD_CONF = """\
AuthType=auth/munge
DbdHost=login
SlurmUser=root
StorageType=accounting_storage/mysql
StorageHost=localhost
StorageUser=root
StorageLoc=slurm_acct_db
PidFile=/run/slurmdbd.pid
LogFile=/var/log/slurm/slurmdbd.log
"""
_MARIADB = (
    "/usr/sbin/mariadbd", "--no-defaults", f"--datadir={_DATA}", "--user=mysql",
    f"--socket={_SOCKET}", "--skip-networking", "--innodb-flush-method=nosync",
    "--innodb-log-file-size=16M", f"--log-error={_DATA}/mariadb.err",
)  # fmt: skip
# Ports, folders and files of the second cluster's daemons.
_OWN = (
    ("ClusterName=testbed", f"ClusterName={NAME}\nSlurmctldPort=6827\nSlurmdPort=6828"),
    ("JobSubmitPlugins=lua\n", ""),
    ("/var/spool/slurm", "/var/spool/big-slurm"),
    ("/run/slurm", "/run/big-slurm"),
    ("/var/log/slurm/slurm", "/var/log/slurm/big-slurm"),
)


def start_second(cluster: Cluster) -> None:
    """Starts the database and the second cluster; returns when both clusters are idle."""
    login, node = cluster.login, cluster.hosts["c2"]
    folder = cluster.state / "etc/slurm"
    _write_config(folder)
    _start_database(login)
    cluster.stop_slurmctld()
    cluster.start_slurmctld()
    node.run(["mkdir", "-p", "/var/spool/big-slurmctld", "/var/spool/big-slurmd"])
    node.run(["/usr/sbin/slurmctld", "-f", f"/etc/slurm/{NAME}.conf"])
    node.run(["/usr/sbin/slurmd", "-N", "c2", "-f", f"/etc/slurm/{NAME}.conf"])
    for name, nodes in (("testbed", "2"), (NAME, "1")):
        idle = f'[ "$(sinfo -h -M {name} -p main -t idle -o %D)" = {nodes} ]'
        _await(login, ["bash", "-c", idle])


def _write_config(folder: Path) -> None:
    (folder / "slurmdbd.conf").touch(mode=0o600)
    (folder / "slurmdbd.conf").write_text(_SLURMDBD_CONF, encoding="ascii")
    text = (folder / "slurm.conf").read_text("ascii")
    text = text.replace(
        "accounting_storage/none", "accounting_storage/slurmdbd\nAccountingStorageHost=login"
    )
    (folder / "slurm.conf").write_text(text, encoding="ascii")
    for old, new in _OWN:
        text = text.replace(old, new)
    text = re.sub(r"^SlurmctldHost=.*", "SlurmctldHost=c2", text, flags=re.MULTILINE)
    (folder / f"{NAME}.conf").write_text(text.replace("c1,c2", "c2"), encoding="ascii")


def _start_database(login: Host) -> None:
    for path, mode in ((_DATA, "700"), (_RUN, "755")):
        login.run(["install", "-d", "-o", "mysql", "-g", "mysql", "-m", mode, path])
    login.run(
        ["mariadb-install-db", "--no-defaults", f"--datadir={_DATA}", "--user=mysql",
         "--skip-test-db", "--auth-root-authentication-method=socket",
         "--auth-root-socket-user=root"],
        timeout_s=120,
    )  # fmt: skip
    login.run(["sh", "-c", 'setsid "$@" </dev/null >/dev/null 2>&1 &', "sh", *_MARIADB])
    _await(login, ["mariadb-admin", "--no-defaults", f"--socket={_SOCKET}", "ping"])
    login.run(["/usr/sbin/slurmdbd"])
    _await(login, ["sacctmgr", "-n", "list", "cluster"])
    for name in ("testbed", NAME):
        login.run(["sacctmgr", "-i", "-Q", "add", "cluster", name])


def _await(login: Host, command: Sequence[str], timeout_s: float = 60) -> None:
    deadline = time.monotonic() + timeout_s
    while login.run(command, check=False).returncode:
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {timeout_s:.0f} s in vain for {command}")
        time.sleep(0.1)
