"""The losses and leftovers of a soak, counted after all of its sessions are over."""

from __future__ import annotations

import json
import re
import time
from dataclasses import dataclass, field
from typing import Any

from tests.cluster.network import NODE_ADDRESSES
from tests.soak.cluster import SoakCluster

_SUBMITTED = re.compile(r"_slurm_rpc_submit_batch_job: JobId=(\d+)")
_SEARCHED = ("/home", "/tmp", "/var/tmp", "/dev/shm", "/run", "/var/log", "/var/spool")
_SETTLE_S = 60.0


@dataclass
class Findings:
    """Each must be empty."""

    jobs_lost: list[str] = field(default_factory=list)
    """Jobs that Slurm has taken, and no session knows."""
    sessions_unknown: list[str] = field(default_factory=list)
    """Sessions that are not known to be over, or not why."""
    secrets_left: list[str] = field(default_factory=list)
    processes_left: list[str] = field(default_factory=list)
    folders_left: list[str] = field(default_factory=list)
    """Node-local directories."""
    faults: list[str] = field(default_factory=list)
    """Of slurm-nb itself: tracebacks, commands that hung."""

    def rows(self) -> list[tuple[str, list[str]]]:
        return [
            ("jobs lost", self.jobs_lost),
            ("sessions unknown", self.sessions_unknown),
            ("secrets left", self.secrets_left),
            ("processes left", self.processes_left),
            ("node-local directories left", self.folders_left),
            ("faults of slurm-nb itself", self.faults),
        ]


def listed(soak: SoakCluster) -> list[dict[str, Any]]:
    """Return the sessions in the output of `list`."""
    sessions: list[dict[str, Any]] = json.loads(soak.slurm_nb("list", "--json").stdout)["sessions"]
    return sessions


def count(soak: SoakCluster) -> tuple[Findings, list[dict[str, Any]]]:
    """Return the findings, and the sessions."""
    deadline = time.monotonic() + _SETTLE_S
    while True:
        sessions = listed(soak)
        findings = Findings(
            _jobs_lost(soak, sessions),
            [_about(each) for each in sessions if not _is_known(each)],
            _secrets(soak),
            _processes(soak),
            [str(path) for path in soak.alice.run_folders()],
            soak.faults,
        )
        # Slurm may be some seconds behind, and so may the last word of a job.
        if not any(found for _, found in findings.rows()) or time.monotonic() > deadline:
            return findings, sessions
        time.sleep(5)


def _jobs_lost(soak: SoakCluster, sessions: list[dict[str, Any]]) -> list[str]:
    known = {each["job_id"] for each in sessions}
    log = (soak.cluster.login.root / "var/log/slurm/slurmctld.log").read_text("utf-8", "replace")
    taken = set(_SUBMITTED.findall(log))
    if soak.cluster.accounting:
        answer = soak.root("sacct", "-a", "-X", "-n", "-P", "-o", "JobID")
        taken |= {line for line in answer.splitlines() if line.isdigit()}
    soak.counts["jobs that Slurm has taken"] = len(taken)
    in_doubt = list(soak.alice.state.glob("submitting/*.json"))
    soak.counts["submissions cut off before there was a job, not forgotten yet"] = len(in_doubt)
    return sorted(taken - known, key=int)


def _is_known(session: dict[str, Any]) -> bool:
    ended = session["ended"]
    return session["state"] != "UNKNOWN" and ended is not None and ended["cause"] != "unknown"


def _about(session: dict[str, Any]) -> str:
    ended = session["ended"] or {}
    words = [session["job_id"], session["name"] or "", session["state"], session["reason"] or ""]
    return " ".join([*words, ended.get("cause", "-"), ended.get("evidence", "")[-400:]])


def _secrets(soak: SoakCluster) -> list[str]:
    """Return files of tokens, and outputs and files open to others that contain one."""
    left = [
        str(path.relative_to(soak.alice.state))
        for name in ("token", "open.html")
        for path in soak.alice.state.glob(f"sessions/*/*/{name}")
    ]
    if not soak.secrets:
        return left
    tokens = "\n".join(soak.secrets) + "\n"
    search = ["grep", "-rlFs", "-f", "-"]
    for name in ("login", *NODE_ADDRESSES):
        host = soak.cluster.hosts[name]
        seen = host.run(
            [*search, *_SEARCHED], user="mallory", stdin_text=tokens, check=False, timeout_s=120
        )
        left += [f"{name}:{path} (read by mallory)" for path in seen.stdout.splitlines()]
        logs = [*search, "/var/log", "/var/spool"]
        seen = host.run(logs, stdin_text=tokens, check=False, timeout_s=120)
        left += [f"{name}:{path}" for path in seen.stdout.splitlines()]
    outputs = [*search, f"{soak.alice.user.home}/.local/state/slurm-nb"]
    seen = soak.cluster.login.run(outputs, stdin_text=tokens, check=False, timeout_s=120)
    return left + seen.stdout.splitlines()


def _processes(soak: SoakCluster) -> list[str]:
    return [
        f"{name}: {line.strip()}"
        for name in ("login", *NODE_ADDRESSES)
        for line in soak.alice.processes(name).splitlines()
    ]
