"""A failing controller or command: slurm-nb shows what it knows, and nothing is lost."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.cluster import Cluster
from tests.cluster.pair import CONF, end_first, pair
from tests.cluster.slurm import await_known_nodes, start_slurmctld
from tests.e2e.scientist import Said
from tests.e2e.watched import await_that
from tests.faults.admin import age_witness, await_state, pid_of, scontrol
from tests.faults.breakage import impatient
from tests.faults.shared_sessions import SharedSessions, rows, shared_sessions

GARBAGE = "#!/bin/bash\necho 'Welcome! squeue is cached on this cluster (see the wiki).'\n"
KILLED = "#!/bin/bash\nkill -SEGV $$\n"
SLOW = '#!/bin/bash\nsleep 3.5\nexec /usr/bin/squeue "$@"\n'
# The answer of squeue about a job that ended longer than MinJobAge ago.
FORGOTTEN = "#!/bin/bash\necho 'slurm_load_jobs error: Invalid job id specified' >&2\nexit 1\n"
# The same answer of scontrol; other calls, such as for the cluster's name, are real.
DENIED = (
    '#!/bin/bash\n[ "$1 $2" = \'show job\' ] || exec /usr/bin/scontrol "$@"\n'
    "echo 'slurm_load_jobs error: Invalid job id specified' >&2\nexit 1\n"
)
SILENT = "#!/bin/bash\nexit 1\n"
NO_DATABASE = "#!/bin/bash\necho 'sacct: error: Problem talking to the database' >&2\nexit 1\n"


@pytest.fixture(scope="module")
def shared(cluster: Cluster) -> Iterator[SharedSessions]:
    """Yield sessions that each test except the last leaves unchanged."""
    with shared_sessions(cluster) as shared:
        yield shared


def _all_at_once(shared: SharedSessions, other: str, env: dict[str, str]) -> dict[str, Said]:
    """Run every command about the running session, by its first word; cancel `other`."""
    job_id = shared.job_id
    commands = {
        "list": ("list",),
        "status": ("status", job_id),
        "tunnel-cmd": ("tunnel-cmd", job_id),
        "url": ("url", job_id),
        "logs": ("logs", "-n", "3", job_id),
        "wait": ("wait", job_id),
        "cancel": ("cancel", other),
        "submit": ("submit", "-p", "closed", "--no-wait"),
    }
    with ThreadPoolExecutor(len(commands)) as pool:
        said = pool.map(lambda words: shared.run(*words, env=env), commands.values())
        return dict(zip(commands, said, strict=True))


def _check_all(shared: SharedSessions, said: dict[str, Said], reason: str) -> None:
    """Check each command's answer when Slurm does not respond for `reason`."""
    codes = {name: each.exit_code for name, each in said.items()}
    assert codes == {**dict.fromkeys(codes, 0), "cancel": 3, "submit": 3}, said
    states = rows(said["list"])
    assert (states[shared.job_id], states[shared.waiting], states[shared.ended]) == (
        "RUNNING",
        "PENDING",
        "CANCELLED",
    )
    for name in ("list", "status"):
        assert f"Slurm does not respond ({reason}" in said[name].stderr, said[name]
    assert re.search(r"The list shows the states \d+ (s|min) ago, at 20", said["list"].stderr)
    assert ". This was its state at 20" in said["status"].stderr
    assert said["tunnel-cmd"].stdout == shared.running["tunnel_command"] + "\n"
    assert (
        f"Job {shared.job_id} may have ended; Slurm does not respond" in said["tunnel-cmd"].stderr
    )
    assert said["url"].stdout == shared.running["url"] + "\n"
    assert said["logs"].stdout.count("\n") == 3
    assert shared.running["tunnel_command"] in said["wait"].stdout
    assert "Ends:        unknown, because Slurm does not respond" in said["wait"].stdout


@pytest.mark.parametrize("how", ["stopped", "frozen"])
def test_without_a_controller_the_saved_state_is_shown(shared: SharedSessions, how: str) -> None:
    """slurmctld is stopped, or hangs: list and status (0) show its last answer, and when;
    tunnel-cmd, url, wait and logs work (0); cancel and submit end with 3; then all is as before,
    except that a hanging cancel may have succeeded.
    """
    other = shared.pending()
    shared.check()  # an answer is saved
    env = impatient(shared.alice)
    cluster = shared.alice.cluster
    before = shared.alice.squeue("%i")

    if how == "stopped":
        cluster.stop_slurmctld()
    else:
        cluster.freeze_slurmctld()
    try:
        said = _all_at_once(shared, other, env)
    finally:
        if how == "stopped":
            start_slurmctld(cluster.login)
        else:
            cluster.thaw_slurmctld()

    _check_all(shared, said, "slurm_load_jobs error: ")
    assert f"scancel {other}: " in said["cancel"].stderr
    assert f"try again later: slurm-nb cancel {other}" in said["cancel"].stderr
    assert "nothing was submitted" in said["submit"].stderr
    shared.check()
    assert {*shared.alice.squeue("%i"), other} == {*before}
    assert shared.run("cancel", other).exit_code == 0
    assert sorted(shared.alice.squeue("%i")) == sorted([shared.job_id, shared.waiting])


def test_a_controller_that_is_restarted_between_any_two_commands(shared: SharedSessions) -> None:
    """slurmctld is restarted after each command: submit, status, list and cancel end with 0, even
    while it starts; the number of jobs does not change.
    """
    cluster = shared.alice.cluster

    def restart() -> None:
        cluster.stop_slurmctld()
        start_slurmctld(cluster.login)

    restart()
    job_id = shared.pending()
    restart()
    status = shared.run("status", job_id)
    restart()
    listed = shared.run("list")
    restart()
    tunnel = shared.run("tunnel-cmd", shared.job_id)
    restart()
    cancel = shared.run("cancel", job_id)

    assert (status.exit_code, "PENDING" in status.stdout) == (0, True), status
    assert rows(listed)[job_id] == "PENDING"
    assert tunnel.stdout == shared.running["tunnel_command"] + "\n"
    assert cancel.exit_code == 0, cancel
    assert sorted(shared.alice.squeue("%i")) == sorted([shared.job_id, shared.waiting])
    await_known_nodes(cluster.login)
    shared.check()


def test_without_slurms_commands_the_saved_state_is_shown(shared: SharedSessions) -> None:
    """squeue, scancel and sbatch are not on PATH: the answers are the same as without a controller,
    and name PATH.
    """
    shared.check()

    said = _all_at_once(shared, shared.waiting, {"PATH": "/srv/venv/bin"})

    _check_all(shared, said, "squeue is not on PATH")
    assert "scancel is not on PATH" in said["cancel"].stderr
    assert "sbatch is not on PATH" in said["submit"].stderr
    shared.check()


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        (GARBAGE, "cannot parse the output of squeue: 'Welcome! squeue is cached on this cluster"),
        (KILLED, "squeue: killed by signal 11"),
    ],
    ids=["garbage", "killed"],
)
def test_a_useless_answer_of_squeue_ends_no_session(
    shared: SharedSessions, program: str, reason: str
) -> None:
    """squeue prints something else, or crashes, and scontrol says nothing: list and status (0) show
    the saved state, and why (accounting is queried before); tunnel-cmd works (0); no session is
    treated as ended, and the token stays.
    """
    shared.check()
    env = shared.alice.program("squeue", program) | shared.alice.program("scontrol", SILENT)

    listed, status, tunnel = (
        shared.run(*words, env=env)
        for words in (["list"], ["status", shared.job_id], ["tunnel-cmd", shared.job_id])
    )

    assert rows(listed)[shared.job_id] == "RUNNING"
    told_by_sacct = shared.alice.cluster.accounting
    for said in (listed, status):
        assert told_by_sacct or f"Slurm does not respond ({reason}" in said.stderr, said
    assert status.exit_code == 0
    assert tunnel.stdout == shared.running["tunnel_command"] + "\n"
    assert not (shared.folder(shared.job_id) / "ended.json").exists()
    for name in ("squeue", "scontrol"):
        (shared.alice.home / "bin" / name).unlink()
    shared.check()


WRAPPED = {
    "silent": "exit 0",
    "a newline": "echo",
    "invalid": "echo 'slurm_load_jobs error: Invalid job id specified' >&2; exit 1",
    "invalid with exit code 0": "echo 'slurm_load_jobs error: Invalid job id specified' >&2",
    "coloured": "/usr/bin/squeue \"$@\" | sed 's/.*/\\x1b[32m&\\x1b[0m/'",
    "padded": "/usr/bin/squeue \"$@\" | sed 's/|/ | /g'",
    "a banner with bars": "echo '** a | b | c | d | e | f | g | h **'; /usr/bin/squeue \"$@\"",
    "a banner alone": "echo '** a | b | c | d | e | f | g | h **'",
    "cut at 72": '/usr/bin/squeue "$@" | cut -c 1-72',
    "without its first line": '/usr/bin/squeue "$@" | tail -n +2',
    "default columns": "/usr/bin/squeue",
    "shouting": '/usr/bin/squeue "$@" | tr a-z A-Z',
    "with a header": '/usr/bin/squeue "${@/-h/-a}"',
    "half": '/usr/bin/squeue "$@" | head -c 40; exit 1',
    "html": "echo '<html><body>502 Bad Gateway</body></html>'",
}


@pytest.mark.parametrize("body", WRAPPED.values(), ids=WRAPPED)
def test_a_wrapper_around_squeue_ends_no_session(shared: SharedSessions, body: str) -> None:
    """A site's squeue colours, pads, truncates or hides its lines, or answers nothing: list and
    status (0) show the session as RUNNING, by scontrol; tunnel-cmd works (0), even after a minute
    of queries; the token stays, and no ending is saved.
    """
    env = shared.alice.program("squeue", f"#!/bin/bash\n{body}\n")
    token = (shared.folder(shared.job_id) / "token").read_text()

    said = [
        (shared.run("list", env=env), shared.run("status", shared.job_id, env=env),
         shared.run("tunnel-cmd", shared.job_id, env=env))
        for _ in range(2)
    ]  # fmt: skip

    (shared.alice.home / "bin/squeue").unlink()
    for listed, status, tunnel in said:
        assert rows(listed)[shared.job_id] == "RUNNING"
        assert "RUNNING" in status.stdout
        assert tunnel.stdout == shared.running["tunnel_command"] + "\n"
    assert (shared.folder(shared.job_id) / "token").read_text() == token
    assert not (shared.folder(shared.job_id) / "ended.json").exists()
    shared.check()


def test_a_slurm_that_denies_every_job_is_not_believed_at_once(shared: SharedSessions) -> None:
    """squeue and scontrol say "Invalid job id" of everything: list and status (0) say that Slurm
    does not show the job, tunnel-cmd works (0) and says so too; the token stays."""
    env = shared.alice.program("squeue", FORGOTTEN) | shared.alice.program("scontrol", DENIED)

    listed = shared.run("list", env=env)
    status = shared.run("status", shared.job_id, env=env)
    tunnel = shared.run("tunnel-cmd", shared.job_id, env=env)

    for name in ("squeue", "scontrol"):
        (shared.alice.home / "bin" / name).unlink()
    assert rows(listed)[shared.job_id] == "UNKNOWN"
    assert f"Slurm does not show job {shared.job_id}" in status.stdout
    assert tunnel.stdout == shared.running["tunnel_command"] + "\n"
    assert f"Slurm does not show job {shared.job_id}" in tunnel.stderr
    assert (shared.folder(shared.job_id) / "token").exists()
    shared.check()


def test_a_removed_token_is_written_again(shared: SharedSessions) -> None:
    """The user, or an older slurm-nb that treated the session as ended, removed it: the job writes
    it again within a minute, and tunnel-cmd works (0) with the same URL.
    """
    token = shared.folder(shared.job_id) / "token"
    text = token.read_text()
    token.unlink()

    await_that(token.exists, "the token to be written again", timeout_s=60)

    assert token.read_text() == text
    assert shared.run("url", shared.job_id).stdout == shared.running["url"] + "\n"


def test_slurm_nb_waits_for_a_slow_squeue_and_says_so(shared: SharedSessions) -> None:
    """squeue takes 3.5 s: list, status and tunnel-cmd (0) say why nothing happens, then answer."""
    env = shared.alice.program("squeue", SLOW)
    job_id = shared.job_id
    commands = (["list"], ["status", job_id], ["tunnel-cmd", job_id])

    with ThreadPoolExecutor(len(commands)) as pool:
        said = list(pool.map(lambda words: shared.run(*words, env=env), commands))

    (shared.alice.home / "bin/squeue").unlink()
    for each in said:
        assert each.exit_code == 0, each
        assert "Waiting for Slurm to respond...\n" in each.stderr
        assert "unknown" not in each.stderr
    assert rows(said[0])[job_id] == "RUNNING"


def test_an_ended_job_that_nobody_knows_any_more(shared: SharedSessions) -> None:
    """squeue and scontrol no longer know it, and sacct fails: one answer proves nothing, so
    status (0) says that Slurm does not show it; after 30 seconds wait (4) and status (0) say that
    it has ended and is no longer known to Slurm; its token is gone.
    """
    job_id = shared.pending()
    shared.alice.cluster.login.run(["scancel", job_id], user="alice")
    (shared.folder(job_id) / "token").write_text("0" * 64)
    shared.alice.cluster.login.run(
        ["chown", "alice:", f"/home/alice/.local/state/slurm-nb/sessions/testbed/{job_id}/token"]
    )
    (shared.folder(job_id) / "token").chmod(0o600)
    env = shared.alice.program("squeue", FORGOTTEN) | shared.alice.program("sacct", NO_DATABASE)
    env |= shared.alice.program("scontrol", DENIED)

    first = shared.run("status", job_id, env=env)
    there = (shared.folder(job_id) / "token").exists()
    age_witness(shared.folder(job_id))
    wait = shared.run("wait", job_id, env=env)
    status = shared.run("status", job_id, env=env)

    for name in ("squeue", "sacct", "scontrol"):
        (shared.alice.home / "bin" / name).unlink()
    assert f"Slurm does not show job {job_id}" in first.stdout
    assert there
    assert wait.exit_code == 4
    assert "ENDED (no longer known to Slurm)" in wait.stderr
    assert (status.exit_code, "no longer known to Slurm" in status.stdout) == (0, True)
    assert not (shared.folder(job_id) / "token").exists()
    shared.check()


def test_a_backup_controller_takes_over(shared: SharedSessions) -> None:
    """The first of two controllers ends: list, tunnel-cmd and status (0) give their earlier
    answers, once the backup answers; submit and cancel work (0). If the answer is from another
    cluster, as with another SLURM_CONF, list (0) says so, and treats nothing as ended; cancel ends
    with 3, and does not end the job with the same number there.
    """
    env = {"SLURM_CONF": CONF, "SLURM_NB_HOME": "/home/alice/.local/state/pair"}
    alice = shared.alice
    with pair(alice.cluster):
        record = alice.submit(env=env)
        job_id = record["job_id"]
        end_first(alice.cluster)
        listed = alice.slurm_nb("list", env=env)
        tunnel = alice.slurm_nb("tunnel-cmd", job_id, env=env)
        status = alice.slurm_nb("status", job_id, env=env)
        submit = alice.slurm_nb("submit", "--no-wait", "--", "--begin=now+1hour", env=env)
        elsewhere = alice.slurm_nb("list", env={"SLURM_NB_HOME": env["SLURM_NB_HOME"]})
        refused = alice.slurm_nb("cancel", job_id, env={"SLURM_NB_HOME": env["SLURM_NB_HOME"]})
        cancel = alice.slurm_nb("cancel", "--all", env=env)
        after = alice.slurm_nb("list", env=env)

    assert record["cluster"] == "pair"
    assert rows(listed) == {job_id: "RUNNING"}
    assert "does not respond" not in listed.stderr
    assert tunnel.stdout == record["tunnel_command"] + "\n"
    assert rows(elsewhere)[job_id] == "RUNNING"
    assert "are for the cluster testbed, but the session is on pair" in elsewhere.stderr
    assert refused.exit_code == 3
    assert "are for the cluster testbed, but the session is on pair" in refused.stderr
    assert (status.exit_code, submit.exit_code, cancel.exit_code) == (0, 0, 0), (submit, cancel)
    assert set(rows(after).values()) == {"CANCELLED"}
    assert len(rows(after)) == 2
    shared.check()


def test_a_controller_that_has_lost_its_state(shared: SharedSessions) -> None:
    """slurmctld starts with nothing saved: Slurm ends its jobs; list (0) and wait (4) say that the
    sessions are no longer known to Slurm, after it has denied them twice; no process or token is
    left, only a directory in the node's /tmp, because Slurm kills at once; submit works.
    """
    cluster = shared.alice.cluster
    assert (shared.folder(shared.job_id) / "token").exists()

    cluster.stop_slurmctld()
    cluster.login.run(["/usr/sbin/slurmctld", "-c"])
    await_known_nodes(cluster.login)
    node = shared.running["node"]
    await_that(lambda: shared.alice.processes(node) == "", "the lost job to be ended")
    folders = [shared.folder(each) for each in (shared.job_id, shared.waiting)]
    await_that(
        lambda: (
            rows(shared.run("list")) and all((each / "witness.json").exists() for each in folders)
        ),
        "Slurm to deny both",
    )
    for each in folders:
        age_witness(each)
    wait = shared.run("wait", shared.job_id)
    listed = shared.run("list")
    tunnel = shared.run("tunnel-cmd", shared.waiting)
    anew = json.loads(shared.run("submit", "--json", "-w", node).stdout)

    states = rows(listed)
    # slurmdbd calls the jobs of a controller without saved state cancelled.
    word = "CANCELLED" if cluster.accounting else "ENDED (no longer known to Slurm)"
    assert {states[shared.job_id], states[shared.waiting]} == {word.split(maxsplit=1)[0]}
    assert wait.exit_code == 4
    assert f"job {shared.job_id} has ended: {word}" in wait.stderr
    assert (tunnel.exit_code, tunnel.stdout) == (4, "")
    assert not (shared.folder(shared.job_id) / "token").exists()
    assert rows(shared.run("list"))[anew["job_id"]] == "RUNNING"
    shared.run("cancel", anew["job_id"])
    for folder in shared.alice.run_folders():
        cluster.hosts[node].run(["rm", "-rf", f"/tmp/{folder.name}"])


def test_a_reused_job_id_leads_only_to_the_new_job(shared: SharedSessions) -> None:
    """slurmctld loses its state and reuses the id of a killed session, whose output, token and last
    answer (CANCELLED) still exist, for a job with a slow prolog: meanwhile tunnel-cmd ends with 5,
    and list (0) says RUNNING; then submit (0) and tunnel-cmd (0) lead to the new job; the old token
    is gone.
    """
    alice, cluster = shared.alice, shared.alice.cluster
    old = alice.submit("-w", "c1")
    number = int(old["job_id"])
    token = alice.token(old["job_id"])
    answers = alice.state / "answers/testbed.json"
    conf = cluster.state / "etc/slurm/slurm.conf"
    text = conf.read_text("ascii")
    (cluster.hosts["c1"].root / "srv/prolog").write_text("#!/bin/bash\nsleep 6\n")
    cluster.hosts["c1"].run(["chmod", "755", "/srv/prolog"])
    script = pid_of(alice, "c1", f"job{number:05}/slurm_script")
    cluster.hosts["c1"].run(["kill", "-KILL", script])
    await_state(cluster, old["job_id"], "FAILED")
    cluster.stop_slurmctld()
    try:
        conf.write_text(f"{text}FirstJobId={max(1, number - 3)}\nProlog=/srv/prolog\n", "ascii")
        cluster.login.run(["bash", "-c", "rm -rf /var/spool/slurmctld/* && slurmctld"])
        await_known_nodes(cluster.login)
        scontrol(cluster, "reconfigure")
        last = 0
        while last < number - 1:  # the first id differs by a little from what is configured
            asked = ["sbatch", "--parsable", "-p", "closed", "--wrap=true"]
            last = int(cluster.login.run(asked, user="mallory").stdout)
        saved = json.loads(answers.read_text())
        saved["jobs"][old["job_id"]]["state"] |= {"phase": "ended", "word": "CANCELLED"}
        saved["jobs"][old["job_id"]]["at"] = time.time()
        answers.write_text(json.dumps(saved))

        with ThreadPoolExecutor(1) as pool:
            submitted = pool.submit(shared.run, "submit", "--json", "-w", "c1")
            await_state(cluster, old["job_id"], "RUNNING")
            meanwhile = shared.run("tunnel-cmd", old["job_id"])
            listed = shared.run("list")
            said = submitted.result()
    finally:
        conf.write_text(text, "ascii")
        scontrol(cluster, "reconfigure")

    assert said.exit_code == 0, said
    new = json.loads(said.stdout)
    assert new["job_id"] == old["job_id"]
    assert (meanwhile.exit_code, meanwhile.stdout) == (5, ""), meanwhile
    assert rows(listed)[new["job_id"]] == "RUNNING"
    assert new["url"] != old["url"]
    assert alice.token(new["job_id"]) != token
    assert shared.run("tunnel-cmd", new["job_id"]).stdout == new["tunnel_command"] + "\n"
    shared.run("cancel", new["job_id"])
    for folder in alice.run_folders():
        cluster.hosts["c1"].run(["rm", "-rf", f"/tmp/{folder.name}"])
