"""Slurm's configuration and daemons, for Slurm 22.05 to 26.05; its database: accounting.py.

login runs slurmctld, c1 and c2 run slurmd, each host its own munged; all as root.
"""

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from . import accounting as database
from .host import Host
from .network import LOGIN_ADDRESS, NODE_ADDRESSES
from .release import Release

CPUS_PER_NODE = 8
MEMORY_PER_NODE_MB = 8000
REFUSED_ACCOUNT = "nosuchaccount"
POOR_ACCOUNT = "poor"
"""An account of which the job submit plugin has something to say."""

_NODES = ",".join(NODE_ADDRESSES)

# config_overrides: believe the CPUs and memory below, not the machine. sched/backfill with its
# shortest intervals: a job starts within a second or so. DefMemPerCPU: or the first
# job would take a node's whole memory.
_SLURM_CONF = f"""\
ClusterName=testbed
SlurmctldHost=login({LOGIN_ADDRESS})
SlurmUser=root
AuthType=auth/munge
CredType=cred/munge
MailProg=/bin/true
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
DefMemPerCPU=256
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=1,sched_min_interval=0,batch_sched_delay=0,bf_interval=1
PriorityType=priority/basic
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
ReturnToService=2
SlurmdParameters=config_overrides
KillWait=30
CompleteWait=0
InactiveLimit=0
SlurmctldTimeout=30
SlurmdTimeout=60
StateSaveLocation=/var/spool/slurmctld
SlurmdSpoolDir=/var/spool/slurmd
SlurmctldPidFile=/run/slurmctld.pid
SlurmdPidFile=/run/slurmd.pid
SlurmctldLogFile=/var/log/slurm/slurmctld.log
SlurmdLogFile=/var/log/slurm/slurmd.log
SlurmctldDebug=info
SlurmdDebug=info
JobSubmitPlugins={{job_submit}}
GresTypes=gpu
{{accounting}}
NodeName={_NODES} CPUs={CPUS_PER_NODE} RealMemory={MEMORY_PER_NODE_MB} Gres=gpu:2 State=UNKNOWN
PartitionName=main Nodes={_NODES} Default=YES DefaultTime=01:00:00 MaxTime=1-00:00:00 State=UP
PartitionName=tiny Nodes=c2 MaxTime=00:10:00 State=UP
PartitionName=closed Nodes={_NODES} MaxTime=1-00:00:00 State=DOWN
PartitionName=cheap Nodes={_NODES} MaxTime=1-00:00:00 PreemptMode=CANCEL State=UP
PartitionName=urgent Nodes={_NODES} MaxTime=1-00:00:00 PriorityTier=10 State=UP
"""

# Devices that every machine has.
_GRES_CONF = "Name=gpu File=/dev/null\nName=gpu File=/dev/zero\n"

# Without a database sacct answers nothing, and an ended job is known for as long as MinJobAge says;
# with one it is soon sacct alone that knows.
_WITHOUT_DATABASE = """\
AccountingStorageType=accounting_storage/none
MinJobAge=300"""
_WITH_DATABASE = """\
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=login
AccountingStorageEnforce=associations
AccountingStoreFlags=job_comment,job_script
MinJobAge=10"""

# This machine's cgroups are not the cluster's; Slurm 22.05 touches none.
_CGROUP_CONF = "CgroupPlugin=disabled\n"
_WITHOUT_CGROUP_CONF = ("bookworm",)

# Without a database Slurm refuses no account. 2045 is ESLURM_INVALID_ACCOUNT of slurm_errno.h.
_JOB_SUBMIT_LUA = f"""\
function slurm_job_submit(request, partitions, uid)
   if request.account == "{REFUSED_ACCOUNT}" then
      slurm.log_user("account %s does not exist here, ask the help desk", request.account)
      return 2045
   end
   if request.account == "{POOR_ACCOUNT}" then
      slurm.log_user("account %s has 5 hours left", request.account)
   end
   return slurm.SUCCESS
end

function slurm_job_modify(request, job, partitions, uid)
   return slurm.SUCCESS
end

return slurm.SUCCESS
"""

_LUA_PLUGIN = "usr/lib/*/slurm-wlm/job_submit_lua.so"


def make_config(slurm: Path, munge: Path, release: Release, *, accounting: bool) -> None:
    """Fill the /etc/slurm and /etc/munge that login, c1 and c2 share."""
    slurm.mkdir(parents=True)
    text = _SLURM_CONF.format(
        job_submit="lua" if any(release.root.glob(_LUA_PLUGIN)) else "",
        accounting=_WITH_DATABASE if accounting else _WITHOUT_DATABASE,
    )
    (slurm / "slurm.conf").write_text(text, encoding="ascii")
    (slurm / "gres.conf").write_text(_GRES_CONF, encoding="ascii")
    if accounting:
        database.make_config(slurm)
    if release.name not in _WITHOUT_CGROUP_CONF:
        (slurm / "cgroup.conf").write_text(_CGROUP_CONF, encoding="ascii")
    (slurm / "job_submit.lua").write_text(_JOB_SUBMIT_LUA, encoding="ascii")
    munge.mkdir(mode=0o700, parents=True)
    key = munge / "munge.key"
    key.touch(mode=0o400)
    key.write_bytes(os.urandom(1024))


def start_munged(host: Host) -> None:
    """Start a host's munged; return when it answers."""
    munged = ["/usr/sbin/munged", "--key-file=/etc/munge/munge.key", "--num-threads=2"]
    host.run(
        [*munged, "--seed-file=/run/munge/munged.seed", "--log-file=/var/log/munge/munged.log"]
    )


def start_slurmctld(login: Host) -> None:
    """Start slurmctld; it answers a little later."""
    login.run(["/usr/sbin/slurmctld"])


def stop_slurmctld(login: Host) -> None:
    """End slurmctld, which saves its state; return when it is gone."""
    pid = _slurmctld_pid(login)
    login.run(["kill", "-TERM", pid])
    _await(lambda: not (login.root / "proc" / pid).exists(), 30, "slurmctld to end")


def freeze_slurmctld(login: Host) -> None:
    """Stop slurmctld in its tracks: it still accepts connections and answers none."""
    login.run(["kill", "-STOP", _slurmctld_pid(login)])


def thaw_slurmctld(login: Host) -> None:
    """Undo freeze_slurmctld."""
    login.run(["kill", "-CONT", _slurmctld_pid(login)])


def start_slurmd(node: Host) -> None:
    """Start slurmd on a node."""
    node.run(["/usr/sbin/slurmd", "-N", node.name])


def await_known_nodes(login: Host, timeout_s: float = 30) -> None:
    """Wait until a restarted slurmctld answers and has heard from all its nodes."""

    def known() -> bool:
        told = login.run(["sinfo", "-h", "-o", "%T"], check=False)
        return told.returncode == 0 and "unknown" not in told.stdout

    _await(known, timeout_s, "slurmctld to know its nodes")


def await_nodes(login: Host, nodes: Sequence[Host], timeout_s: float = 20) -> None:
    """Wait until all nodes are idle."""

    def idle() -> bool:
        told = login.run(["sinfo", "-h", "-p", "main", "-t", "idle", "-o", "%D"], check=False)
        return told.stdout.strip() == str(len(nodes))

    _await(idle, timeout_s, "the nodes to be idle")


def _slurmctld_pid(login: Host) -> str:
    return (login.root / "run/slurmctld.pid").read_text("ascii").strip()


def _await(condition: Callable[[], bool], timeout_s: float, what: str) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {timeout_s:.0f} s in vain for {what}")
        time.sleep(0.05)
