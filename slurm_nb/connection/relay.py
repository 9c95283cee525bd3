"""The relay: Jupyter's port or socket on the node, as a UNIX socket on the login node.

The login node's ssh listens on the socket, and connects to an sshd that runs as a step of the
session's job, on the step's standard input and output. So nothing listens where others could
connect, no sshd of the node takes part, and OpenSSH does all of the transport.

SESSION/relay/                   0700
  client, client.pub             0600, the key that the sshd accepts
  host, host.pub                 0600, the key that the sshd shows
  known_hosts                    0600, the client's copy of host.pub
  sshd_config, ssh_config        0600
"""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path

from slurm_nb.connection.tunnel import far_end
from slurm_nb.errors import UserError
from slurm_nb.joblog.events import Ready
from slurm_nb.scheduler.job import Job
from slurm_nb.scheduler.run import cluster_option

HOST = "slurm-nb-relay"
"""The name of the sshd in ssh_config and known_hosts."""
_SAFE = re.compile(r"[\w./+@:,=~ -]+")


def sshd_config(folder: Path, ready: Ready) -> str:
    """Return the settings of an sshd (sshd_config(5)) for one connection, only to Jupyter.

    PermitOpen cannot name a UNIX socket, and AllowTcpForwarding forbids those too (OpenSSH 9.2), so
    to a socket all forwards are allowed: to the session's user, who alone has the client's key.
    """
    return f"""\
HostKey {_quoted(folder / "host")}
AuthorizedKeysFile {_quoted(folder / "client.pub").replace("%", "%%")}
AuthenticationMethods publickey
StrictModes no
UsePAM no
PidFile none
UseDNS no
LogLevel ERROR
LoginGraceTime 30
ClientAliveInterval 10
ClientAliveCountMax 2
AllowTcpForwarding local
AllowStreamLocalForwarding {"local" if ready.socket else "no"}
PermitOpen {"any" if ready.socket else far_end(ready)}
PermitListen none
PermitTTY no
PermitTunnel no
PermitUserRC no
X11Forwarding no
AllowAgentForwarding no
MaxSessions 0
ForceCommand /bin/false
"""


def ssh_config(  # noqa: PLR0913  the last four are by name
    folder: Path, job: Job, ready: Ready, *, user: str, path: Path, kit: Path, log: Path
) -> str:
    """Return the settings of ssh (ssh_config(5)) on the login node, which listens on `path`.

    kit: the directory that holds slurm_nb_kit. log: the job's output.
    """
    step = [
        "srun", *cluster_option(job), f"--jobid={job.job_id}", "--overlap", "--nodes=1",
        "--ntasks=1", f"--nodelist={ready.node}", "--mem=0", "--gres=none", "--mpi=none",
        "--unbuffered", "--quiet", "--chdir=/", "--job-name=relay",
        "/bin/sh", str(kit / "slurm_nb_kit/relay.sh"), str(folder / "sshd_config"), str(log),
        os.uname().nodename,
    ]  # fmt: skip
    return f"""\
Host {HOST}
  User {user}
  ProxyCommand {shlex.join(step).replace("%", "%%")}
  IdentityFile {_quoted(folder / "client").replace("%", "%%")}
  IdentitiesOnly yes
  IdentityAgent none
  PreferredAuthentications publickey
  UserKnownHostsFile {_quoted(folder / "known_hosts").replace("%", "%%")}
  GlobalKnownHostsFile none
  HostKeyAlias {HOST}
  StrictHostKeyChecking yes
  UpdateHostKeys no
  BatchMode yes
  LogLevel ERROR
  ControlMaster no
  ControlPath none
  ConnectTimeout 60
  ServerAliveInterval 10
  ServerAliveCountMax 2
  ExitOnForwardFailure yes
  StreamLocalBindMask 0177
  StreamLocalBindUnlink yes
  LocalForward {_quoted(path)} {far_end(ready)}
"""


def _quoted(path: Path) -> str:
    """Return a path as a word of OpenSSH's configuration files. Raises `UserError`."""
    if not _SAFE.fullmatch(str(path)):
        raise UserError(
            f"{str(path)!r}: OpenSSH's configuration cannot name this path",
            hint="set SLURM_NB_HOME to a directory whose path has letters, digits and ./_- only",
        )
    return f'"{path}"' if " " in str(path) else str(path)
