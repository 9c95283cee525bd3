"""The accounting database: MariaDB and slurmdbd on login, and the accounts in it.

MariaDB runs as the user mysql, keeps its files in login's own /var/spool, and listens only on its
socket, as root and without a password.
"""

import time
from pathlib import Path

from .host import CommandError, Host
from .users import CLUSTER_USERS

ACCOUNT = "project"
"""The account of all users, who take it where they name none."""
OTHER_ACCOUNTS = ("poor", "one", "two")
"""Accounts that they have besides; with accounting, any other is refused."""

_DATA = "/var/spool/mysql"
_RUN = "/run/mysqld"
_SOCKET = f"{_RUN}/mysqld.sock"
"""Debian's clients, slurmdbd among them, expect it here; in sid below /run/mariadbd."""

_DATABASE = "slurm_acct_db"

_SLURMDBD_CONF = f"""\
AuthType=auth/munge
DbdHost=login
SlurmUser=root
StorageType=accounting_storage/mysql
StorageHost=localhost
StorageUser=root
StorageLoc={_DATABASE}
PidFile=/run/slurmdbd.pid
LogFile=/var/log/slurm/slurmdbd.log
DebugLevel=info
"""
# Small and careless: what is lost in a crash went with the cluster anyway.
_MARIADB_OPTIONS = (
    "--innodb-buffer-pool-size=64M",
    "--innodb-log-file-size=16M",
    "--innodb-flush-log-at-trx-commit=0",
    "--innodb-flush-method=nosync",
)


def make_config(slurm: Path) -> None:
    """Add slurmdbd's configuration to /etc/slurm."""
    conf = slurm / "slurmdbd.conf"
    conf.touch(mode=0o600)
    conf.write_text(_SLURMDBD_CONF, encoding="ascii")


def start(login: Host) -> None:
    """Start both, and register the cluster, the account and its users."""
    _start_mariadb(login)
    login.run(["/usr/sbin/slurmdbd"])
    await_success(login, ["sacctmgr", "-n", "list", "cluster"], "slurmdbd to answer")
    register(login, "testbed")


def register(login: Host, cluster: str) -> None:
    """Make a cluster known, with the accounts and their users."""
    users = ",".join(user.name for user in CLUSTER_USERS)
    others = ",".join(OTHER_ACCOUNTS)
    for added in (
        ["cluster", cluster],
        ["account", ACCOUNT, f"cluster={cluster}", "description=tests", "organization=tests"],
        ["user", users, f"account={ACCOUNT}", f"cluster={cluster}"],
        ["account", others, f"cluster={cluster}", "description=tests", "organization=tests"],
        ["user", users, f"account={others}", f"cluster={cluster}"],
    ):
        login.run(["sacctmgr", "-i", "-Q", "add", *added])


def _start_mariadb(login: Host) -> None:
    login.run(["install", "-d", "-o", "mysql", "-g", "mysql", "-m", "700", _DATA])
    login.run(["install", "-d", "-o", "mysql", "-g", "mysql", "-m", "755", _RUN])
    login.run(["ln", "-s", _RUN, "/run/mariadbd"])
    login.run(
        ["mariadb-install-db", "--no-defaults", f"--datadir={_DATA}", "--user=mysql",
         "--skip-test-db", "--auth-root-authentication-method=socket",
         "--auth-root-socket-user=root"],
        timeout_s=120,
    )  # fmt: skip
    server = ["/usr/sbin/mariadbd", "--no-defaults", f"--datadir={_DATA}", "--user=mysql"]
    server += [f"--socket={_SOCKET}", "--skip-networking", f"--pid-file={_RUN}/mariadbd.pid"]
    server += ["--log-error=/var/spool/mysql/mariadb.err", *_MARIADB_OPTIONS]
    background = ["sh", "-c", 'setsid "$@" </dev/null >/dev/null 2>&1 &', "sh", *server]
    login.run(background)
    # slurmdbd would make the database, but then connects with a handle that has failed once, and
    # libmariadb 11.8.9 refuses every query on it: "maxmimum allowed number of columns (=0)".
    create = f"CREATE DATABASE {_DATABASE}"
    sql = ["mariadb", "--no-defaults", f"--socket={_SOCKET}", "-e"]
    await_success(login, [*sql, create], "MariaDB to answer")


def await_success(login: Host, command: list[str], what: str, timeout_s: float = 60) -> None:
    """Return once `command` succeeds; `what` names the awaited event in words."""
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            login.run(command)
        except CommandError as error:
            if time.monotonic() > deadline:
                raise TimeoutError(f"waited {timeout_s:.0f} s in vain for {what}") from error
            time.sleep(0.1)
        else:
            return
