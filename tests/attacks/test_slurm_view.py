"""A stranger's view of the job in Slurm, and attempts to steer the job."""

from __future__ import annotations

import pytest

from tests.attacks.score_table import Trial

QUESTIONS = {
    "squeue": "squeue -h -o %all; squeue -h -O jobid,name,comment:200,command:200,stdout:200",
    "scontrol": "scontrol -d -d show job; scontrol show step",
    "sacct": "sacct -a -o ALL",
    "batch_script": "for j in $(squeue -h -o %i); do scontrol write batch_script $j -; done",
}


@pytest.mark.parametrize("question", QUESTIONS)
def test_token_from_slurm(trial: Trial, question: str) -> None:
    """Get the token from squeue, scontrol, sacct or the batch script: Slurm never had it."""
    seen = trial.target.on_login.bash(QUESTIONS[question])

    trial.verdict(trial.target.token in seen, seen, on_plain=False)


def test_token_by_the_path_that_slurm_shows(trial: Trial) -> None:
    """Follow StdOut, Command and WorkDir that Slurm shows to their files: none can be read."""
    target = trial.target
    script = (
        f"for f in $(scontrol show job {target.job_id} | grep -oP '(StdOut|Command|StdErr)=\\K.*');"
        " do cat $f; done"
    )
    seen = target.on_login.bash(script)

    trial.verdict(target.token in seen, seen)


def test_job_script(trial: Trial) -> None:
    """Read the job script, to learn its paths: the kept copy is 0600, the spooled one root's."""
    target = trial.target
    script = f"cat $(scontrol show job {target.job_id} | grep -oP ' Command=\\K.*') /var/spool/*/*"
    seen = target.on_login.bash(script) + target.on_node.bash("cat /var/spool/slurmd/*/*")

    trial.verdict("#!/bin" in seen, seen, on_plain=False)


@pytest.mark.parametrize("deed", ["scancel", "signal", "update", "requeue", "hold"])
def test_steering_the_owners_job(trial: Trial, deed: str) -> None:
    """Cancel, signal, change, requeue or hold Alice's job: Slurm refuses everyone but its owner."""
    target = trial.target
    commands = {
        "scancel": f"scancel {target.job_id}",
        "signal": f"scancel -s USR1 -b {target.job_id}",
        "update": f"scontrol update job={target.job_id} TimeLimit=1",
        "requeue": f"scontrol requeue {target.job_id}",
        "hold": f"scontrol hold {target.job_id}",
    }
    told = target.on_login.bash(commands[deed] + " && echo DONE")

    state = target.cluster.login.run(["squeue", "-h", "-j", target.job_id, "-o", "%T %l"]).stdout
    trial.verdict("DONE" in told or "RUNNING" not in state, told + state, on_plain=False)


@pytest.mark.parametrize("command", ["srun --overlap", "sattach", "sbcast"])
def test_entering_the_owners_job(trial: Trial, command: str) -> None:
    """Run a step inside Alice's job, attach to it, or copy into it: Slurm refuses a stranger."""
    target = trial.target
    commands = {
        "srun --overlap": f"timeout 20 srun --jobid={target.job_id} --overlap id -un",
        "sattach": f"timeout 5 sattach {target.job_id}.batch </dev/null",
        "sbcast": f"timeout 20 sbcast --jobid={target.job_id} -f /etc/hosts /tmp/broadcast",
    }
    told = target.on_login.bash(f"{commands[command]} && echo DONE")

    # sattach(1) of 22.05 ends with 0 when it was refused.
    done = "DONE" in told and "error" not in told
    trial.verdict(done or "alice" in told.splitlines(), told, on_plain=False)
