"""Runs on the login node, from standard input: `COUNT` saved sessions, made by slurm_nb itself.

Most have ended long ago; every fourth has not, as far as anybody knows, but Slurm has forgotten
its job. Prints `{"ended": 75, "gone": 25}`.
"""

import json
import os
import sys
import time
from pathlib import Path

from slurm_nb.joblog.events import Ready
from slurm_nb.scheduler.job import Job, JobState, Phase
from slurm_nb.session.ending import Verdict
from slurm_nb.session.session import Session
from slurm_nb.session.settle import settle
from slurm_nb.session.store import Store

# Far above the ids that the test cluster gives.
_FIRST_ID = 5_000_000
_GONE_EVERY = 4
_DAY_S = 86400

now = int(time.time())
store = Store.of_user(os.environ)
made = {"ended": 0, "gone": 0}
for number in range(int(sys.argv[1])):
    submitted_at = now - 20 * _DAY_S + number
    job_id = str(_FIRST_ID + number)
    session = Session(
        job=Job(job_id, "testbed", script=str(store.script_path(job_id))),
        login_host="10.97.0.1",
        python="/srv/venv/bin/python",
        job_name="slurm-nb",
        submitted_at=submitted_at,
        options=("--time=2:00:00", "--mem=4G", f"--notebook-dir={Path.home()}"),
        ready=Ready(node="c1", port=40000, path="/tree"),
    )
    store.save(session)
    if number % _GONE_EVERY == _GONE_EVERY - 1:
        made["gone"] += 1
        continue
    state = JobState(Phase.ENDED, "TIMEOUT", "TimeLimit", node="c1")
    settle(store, session, Verdict(state, proven=True), now=lambda: submitted_at + 7200)  # noqa: B023
    made["ended"] += 1
print(json.dumps(made))  # noqa: T201  its answer
