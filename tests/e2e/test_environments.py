"""Every kind of environment, started for real on a compute node, and a cell run in it.

Two stand-ins: a conda environment is a virtual one in conda's shape (docs/contributing.md says
why), and images are files and directories, for the hosts reach no registry of images. One that
apptainer converts first (`docker-archive://`) is not tried: packing it takes ten seconds and more.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests import time_limits
from tests.cluster import Cluster
from tests.cluster.container import (
    APPTAINER_BIN,
    place_apptainer,
    place_image,
    place_image_file,
    remove_image,
)
from tests.cluster.packages import install_on, place_package, remove_from
from tests.e2e.scientist import SSH_CONNECTION, Scientist

_FETCH_S = 1200
"""For packages and images, the first time."""
SHOW = (
    "import json, os, sys; print(json.dumps([sys.executable, sys.prefix, os.uname().nodename,"
    " os.environ.get('OMP_NUM_THREADS'), os.environ.get('WHO'), os.environ.get('SLURM_JOB_ID')]))"
)


def run_cell(alice: Scientist, *words: str) -> tuple[list[str], str]:
    """Return the output of SHOW in a session started with `words`, and its job id."""
    record = alice.submit(*words)
    return json.loads(cell_of(alice, record, SHOW)), record["job_id"]


def cell_of(alice: Scientist, record: dict[str, str], code: str) -> str:
    """Return the output of a cell in the session of submit's answer `record`."""
    with alice.tunnel(record["tunnel_command"]):
        return str(alice.run_cell(record["url"], code)["output"])


def make_env(alice: Scientist, name: str) -> str:
    """Make an environment with the Jupyter of /srv/venv, in alice's home or in /srv for the site;
    return its path.
    """
    path = f"/home/alice/{name}" if not name.startswith("/") else name
    user = "root" if name.startswith("/") else "alice"
    alice.cluster.login.run(["/usr/bin/python3", "-m", "venv", "--without-pip", path], user=user)
    link_jupyter(alice.cluster.state / path[1:])
    return path


def link_jupyter(env: Path) -> None:
    """Give an environment the packages of /srv/venv."""
    (site,) = env.glob("lib/python3*/site-packages")
    site.joinpath("jupyter.pth").write_text(f"/srv/venv/lib/{site.parent.name}/site-packages\n")


def test_a_virtual_environment_runs_jupyter_and_its_kernels(alice: Scientist) -> None:
    """`--env DIR` is enough: server and kernels come from the environment, on the node, in the job;
    threads follow --cpus-per-task, and the variables of --setup are set.
    """
    env = make_env(alice, "my env é")

    seen, job_id = run_cell(
        alice, "--env", "./my env é", "-c", "2", "-w", "c1", "--setup", 'export WHO="it\'s $USER"'
    )

    assert seen == [f"{env}/bin/python3", env, "c1", "2", "it's alice", job_id]
    assert alice.slurm_nb("audit", job_id).exit_code == 0


def test_threads_that_the_user_chose_stay(alice: Scientist) -> None:
    """A number of threads that --setup sets is not changed; nor are variables that look alike."""
    line = "export OMP_NUM_THREADS=7 cpus=eight name=$USER"
    record = alice.submit("-c", "2", "--setup", line)

    cell = "import os; print(*(os.environ[name] for name in ('OMP_NUM_THREADS', 'cpus', 'name')))"
    assert cell_of(alice, record, cell) == "7 eight alice\n"


def test_variables_of_setup_are_not_the_scripts(alice: Scientist) -> None:
    """The job script uses names that a user may well set: the session is the same, and in the end
    it removes slurm-nb's own directory, even if a line fails. A trap of the user does not replace
    the script's.
    """
    runs = alice.home / "runs"
    for name in ("precious", "token"):
        path = runs / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
        os.chown(path, alice.user.uid, alice.user.uid)
    os.chown(runs, alice.user.uid, alice.user.uid)
    names = "run_dir session_dir state_dir notebook_dir cluster job_id nonce node ui base folder"
    lines = [f"export {name}=$HOME/runs" for name in names.split()]
    lines += ["IFS=/; set -f", "trap : EXIT TERM"]
    setup = [word for line in lines for word in ("--setup", line)]

    seen, job_id = run_cell(alice, *setup, "-w", "c1")
    ended = alice.slurm_nb("cancel", job_id)
    alice.cluster.cancel_jobs()
    failed = alice.slurm_nb("submit", *setup[:-2], "--setup", "false")

    assert seen[5] == job_id
    assert ended.exit_code == 0
    assert "the --setup line failed: false" in failed.stderr
    assert sorted(path.name for path in runs.iterdir()) == ["precious", "token"]
    assert alice.run_folders() == []
    assert alice.processes("c1").count("slurm_nb") == 0


def test_a_conda_environment_is_found_by_its_name(alice: Scientist) -> None:
    """`--env NAME` finds it where conda notes it, and sets the variables of its packages and its
    owner; conda is not needed. The environment is a virtual one in conda's shape.
    """
    env = make_env(alice, "envs/analysis")
    folder = alice.home / "envs/analysis"
    for name, text in {
        "conda-meta/state": json.dumps({"env_vars": {"WHO": "it's $(id)"}}),
        "etc/conda/activate.d/threads.sh": "export OMP_NUM_THREADS=3\n",
        "../../.conda/environments.txt": f"/no/such/analysis\n{env}\n",
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)

    seen, job_id = run_cell(alice, "--env", "analysis", "-c", "2", "-w", "c2")

    assert seen == [f"{env}/bin/python3", env, "c2", "3", "it's $(id)", job_id]


@pytest.fixture
def image(cluster: Cluster) -> Iterator[str]:
    """Put a real apptainer on the nodes, and return the path of an image for it."""
    time_limits.allow(_FETCH_S)
    place_apptainer(cluster)
    yield place_image(cluster)
    remove_image(cluster)


def test_a_container_runs_jupyter_and_its_kernels(image: str, alice: Scientist) -> None:
    """`--container IMAGE` runs the image's own python3 under a real apptainer, on the node, in the
    job; the session passes its audit, and ends with the job.
    """
    path = f"export PATH={APPTAINER_BIN}:$PATH"
    show = ["--container", image, "--setup", path, "-w", "c1", "-c", "2"]

    seen, job_id = run_cell(alice, *show)

    assert seen == ["/usr/bin/python3", "/usr", "c1", "2", None, job_id]
    assert alice.slurm_nb("audit", job_id).exit_code == 0
    assert alice.slurm_nb("cancel", job_id).exit_code == 0
    alice.cluster.cancel_jobs()
    assert "slurm_nb_kit.preflight" not in alice.processes("c1")

    lacking = alice.slurm_nb("submit", *show, "--python", "/no/such/python")

    assert lacking.exit_code == 4
    assert "/no/such/python did not start on c1 in the container" in lacking.stderr


def test_an_image_file_runs_jupyter(cluster: Cluster, alice: Scientist) -> None:
    """A user has made the image file (SIF); the Python that it names, and a directory that --setup
    binds, are present. The job removes what apptainer unpacked on the node.
    """
    time_limits.allow(_FETCH_S)
    place_apptainer(cluster)
    image = place_image_file(cluster, "alice")
    setup = f"export PATH={APPTAINER_BIN}:$PATH APPTAINER_BIND=/srv"
    python = "/srv/venv/bin/python"

    seen, job_id = run_cell(
        alice, "--container", image, "--python", python, "--setup", setup, "-w", "c1"
    )
    unpacked = list((cluster.hosts["c1"].root / "tmp").glob("rootfs-*"))
    alice.slurm_nb("cancel", job_id)
    cluster.cancel_jobs()

    assert seen[:3] == [python, "/srv/venv", "c1"]
    assert len(unpacked) == 1
    assert list((cluster.hosts["c1"].root / "tmp").glob("rootfs-*")) == []


# --- modules ---

MODULES = ["lmod", "environment-modules"]
MODULEFILES = {
    "tools/jupyter/1.0": (
        "#%Module1.0\nprepend-path PATH /srv/jupyter-1.0/bin\nsetenv WHO module\n"
        'puts stderr "module of the site: no ERROR was seen"\n'
    )
}


@contextmanager
def module_site(
    cluster: Cluster, package: str, modulefiles: Mapping[str, str] = MODULEFILES
) -> Iterator[None]:
    """Give node c1 the package, and modules (their texts by name) outside the default paths.

    Nothing defines `module` but /etc/profile.d, which a job's bash does not read.
    """
    time_limits.allow(_FETCH_S)
    site = place_package(cluster, package)
    srv = cluster.state / "srv"
    profile = srv / package / "etc/profile.d/00-modulepath.sh"
    profile.write_text("export MODULEPATH=/srv/modulefiles\n")
    for name, text in modulefiles.items():
        modulefile = srv / "modulefiles" / name
        modulefile.parent.mkdir(parents=True, exist_ok=True)
        modulefile.write_text(text)
    make_env(Scientist(cluster), "/srv/jupyter-1.0")
    node = cluster.hosts["c1"]
    install_on(node, site)
    try:
        yield
    finally:
        remove_from(node)


@pytest.mark.parametrize("package", MODULES)
def test_a_module_brings_the_interpreter(alice: Scientist, package: str) -> None:
    """`--module NAME` works if only /etc/profile.d defines `module`, in either implementation; the
    python3 of the module runs Jupyter. Output of a module is not treated as a failure.
    """
    with module_site(alice.cluster, package):
        words = ["--setup", "run_dir=/no/such", "--module", "tools/jupyter/1.0", "-w", "c1"]
        seen, job_id = run_cell(alice, *words)

        assert seen[:3] == ["/srv/jupyter-1.0/bin/python3", "/srv/jupyter-1.0", "c1"]
        assert seen[4:] == ["module", job_id]
        assert alice.slurm_nb("audit", job_id).exit_code == 0


@pytest.mark.parametrize("package", MODULES)
def test_a_missing_module_is_reported_in_one_sentence(alice: Scientist, package: str) -> None:
    """submit ends with the module's name, the node, what `module` said, and the cure."""
    with module_site(alice.cluster, package):
        said = alice.slurm_nb("submit", "--module", "no/such", "-w", "c1")

    assert said.exit_code == 4
    assert "slurm-nb: Jupyter cannot start: cannot load the module no/such on c1: " in (said.stderr)
    assert "module avail" in said.stderr


# --- one sentence names the missing part ---


@pytest.mark.parametrize(
    ("words", "text", "cure"),
    [
        (["--module", "x"], "there is no command `module` on c", "--setup"),
        (["--env", "/no/such"], "the environment /no/such does not exist on c", "share"),
        (["--env", "nowhere"], "there is no conda environment named nowhere on c", "--env DIR"),
        (["--container", "/no.sif"], "there is neither apptainer nor singularity on c", "--module"),
        (["--setup", "false 'it is'"], "the --setup line failed: false 'it is'", "|| true"),
        (["--setup", "echo 'half"], "the --setup line failed: echo 'half", "|| true"),
        (
            ["--setup", "exit 3"],
            "the lines of --setup, --module or --env ended the job script on c",
            "exit",
        ),
        (["--python", "/no/python"], "there is no Python interpreter /no/python on c", "--python"),
        (["--python", "/usr/bin/false"], "/usr/bin/false did not start on c", "--python"),
    ],
)
def test_submit_names_the_missing_part(
    alice: Scientist, words: list[str], text: str, cure: str
) -> None:
    """The error is one sentence and its cure, not the end of a log; the exit code is 4."""
    said = alice.slurm_nb("submit", *words)

    lines = said.stderr.splitlines()
    at = next(i for i, line in enumerate(lines) if line.startswith("slurm-nb: "))
    assert said.exit_code == 4
    assert lines[at].startswith("slurm-nb: Jupyter cannot start: ")
    assert text in lines[at]
    assert cure in lines[at + 1]
    assert len(lines) == at + 3  # and where the output is


def test_a_jupyter_that_cannot_be_imported_is_reported(alice: Scientist) -> None:
    """A package does not fit the node: the error is its message, not the end of a traceback."""
    broken = alice.home / "bin/tornado.py"
    broken.parent.mkdir(exist_ok=True)
    broken.write_text("raise ImportError('libssl.so.3: cannot open shared object file')\n")

    said = alice.slurm_nb("submit", "-w", "c1", "--setup", "export PYTHONPATH=$HOME/bin")

    assert said.exit_code == 4
    assert (
        "slurm-nb: Jupyter cannot start: cannot import notebook of /srv/venv/bin/python on"
        " c1: ImportError: libssl.so.3: cannot open shared object file\n"
    ) in said.stderr


def test_a_course_that_can_only_be_read_opens_with_a_note(alice: Scientist) -> None:
    """The note comes before the queue; the notebooks there run."""
    said = alice.slurm_nb("submit", "--json", "--notebook-dir", "/srv")

    assert said.exit_code == 0, said
    assert "Note: you cannot write to /srv, so save notebooks elsewhere\n" in said.stderr


@pytest.mark.parametrize(
    ("words", "text", "cure"),
    [
        (["--container", "/home/alice/no.sif"], "'/home/alice/no.sif' does not exist", "ls /home"),
        (["--env", "/home/alice/.ssh"], "has no bin/python3", "virtual or conda"),
        (["--python", "/usr/bin/python3"], "does not have jupyter_server 2.0 or later", "--env"),
    ],
)
def test_errors_that_this_host_sees_are_reported_before_the_queue(
    alice: Scientist, words: list[str], text: str, cure: str
) -> None:
    """The error is one sentence and its cure, and there is no job."""
    said = alice.slurm_nb("submit", *words)

    assert said.exit_code == 1
    assert text in said.stderr
    assert cure in said.stderr
    assert "Submitted" not in said.stderr
    assert alice.squeue("%i") == []


# --- whose Jupyter runs ---


def test_a_module_without_python_does_not_change_whose_jupyter_runs(alice: Scientist) -> None:
    """The module cuda/12 brings no Python: slurm-nb starts its own, and the user reads why."""
    cuda = {"cuda/12": "#%Module1.0\nsetenv WHO cuda\nprepend-path PATH /srv/cuda/bin\n"}
    with module_site(alice.cluster, "environment-modules", cuda):
        said = alice.slurm_nb("submit", "--json", "--module", "cuda/12", "-w", "c1")
        assert said.exit_code == 0, said
        record = json.loads(said.stdout)
        seen = json.loads(cell_of(alice, record, SHOW))

    assert seen[0] == "/srv/venv/bin/python"
    assert seen[4] == "cuda"
    assert (
        "Note: slurm-nb starts its own Jupyter (/srv/venv/bin/python): the module cuda/12 brings"
        " no Python\n"
    ) in said.stderr


def make_old_env(alice: Scientist, *, kernel: bool) -> str:
    """Make and return an environment with notebook 6.4.12 and no jupyter_server."""
    path = "/home/alice/old"
    make = ["/usr/bin/python3", "-m", "venv", "--without-pip", path]
    alice.cluster.login.run(make, user="alice")
    (site,) = (alice.home / "old").glob("lib/python3*/site-packages")
    info = site / "notebook-6.4.12.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: notebook\nVersion: 6.4.12\n")
    (site / "notebook").mkdir()
    theirs = alice.cluster.state / "srv/venv/lib" / site.parent.name / "site-packages"
    for each in theirs.iterdir() if kernel else ():
        if not each.name.startswith(("notebook", "jupyter_server", "jupyterlab")):
            (site / each.name).symlink_to(f"/{each.relative_to(alice.cluster.state)}")
    return path


def test_an_old_environment_becomes_a_kernel_of_slurm_nbs_own_jupyter(alice: Scientist) -> None:
    """Everything that is missing is reported once, before the queue, and the session works."""
    env = make_old_env(alice, kernel=True)
    try:
        said = alice.slurm_nb("submit", "--json", "--env", env, "-w", "c1")
        assert said.exit_code == 0, said
        record = json.loads(said.stdout)
        seen = json.loads(cell_of(alice, record, SHOW))
        audit = alice.slurm_nb("audit", record["job_id"])
    finally:
        shutil.rmtree(alice.home / "old")

    assert seen[:3] == [f"{env}/bin/python3", env, "c1"]
    before = said.stderr.partition("Submitted job")[0]
    assert (
        f"Note: {env}/bin/python3 cannot run Jupyter Notebook: it does not have jupyter_server 2.0"
        " or later; its notebook is 6.4.12, and 7.0 or later is needed; slurm-nb will start its"
        " own Jupyter, with this one as a kernel\n"
    ) in before
    assert f"which runs {env}/bin/python3 as a kernel" in said.stderr
    assert audit.exit_code == 0, audit


def test_an_environment_without_a_kernel_is_reported_before_the_queue(alice: Scientist) -> None:
    """The error has the command that adds one, by a tool that the environment has."""
    env = make_old_env(alice, kernel=False)
    try:
        said = alice.slurm_nb("submit", "--env", env)
    finally:
        shutil.rmtree(alice.home / "old")

    assert said.exit_code == 1
    assert "its notebook is 6.4.12, and 7.0 or later is needed" in said.stderr
    assert "own Jupyter with it as a kernel: " in said.stderr or "install into" in said.stderr
    assert "Submitted" not in said.stderr


# --- what the login shell and the home bring ---


def test_limits_of_the_login_shell_do_not_reach_the_job(alice: Scientist) -> None:
    """`ulimit -t 60` on the login node would end a kernel after a minute of work."""
    limited = "ulimit -t 60 -v 8000000; exec slurm-nb submit --json -w c1"
    done = alice.cluster.login.run(
        ["bash", "-c", limited], user="alice", env=SSH_CONNECTION, timeout_s=90
    )
    record = json.loads(done.stdout)

    cell = "import resource as r; print(r.getrlimit(r.RLIMIT_CPU)[0], r.getrlimit(r.RLIMIT_AS)[0])"
    assert cell_of(alice, record, cell) == "-1 -1\n"


@pytest.mark.parametrize(
    ("line", "cause"),
    [("ulimit -S -t 1", "cpu-limit"), ("ulimit -v 60000", "memory-limit")],
)
def test_a_limit_of_the_node_is_named_as_the_cause(alice: Scientist, line: str, cause: str) -> None:
    """The error does not blame a missing package or a crash."""
    said = alice.slurm_nb("submit", "--json", "-w", "c1", "--setup", line)
    (folder,) = (alice.state / "sessions/testbed").iterdir()
    ended = json.loads((folder / "ended.json").read_text())
    print(alice.log(folder.name))  # noqa: T201  pytest shows it where a test fails

    assert said.exit_code == 4
    assert ended["cause"] == cause


def test_a_home_of_a_lab_group_is_accepted_by_name_and_the_audit_shows_it(
    alice: Scientist,
) -> None:
    """`chmod 2770` gives it to the lab's group: the printed line works unchanged."""
    group = next(line for line in Path("/etc/group").read_text().splitlines() if ":100:" in line)
    name = group.partition(":")[0]
    os.chown(alice.home, -1, 100)
    alice.home.chmod(0o2770)
    try:
        refused = alice.slurm_nb("submit", "-w", "c1")
        trust = re.search(r"export (SLURM_NB_TRUST)=(\S+);", refused.stderr)
        assert trust, refused
        done = alice.slurm_nb("submit", "--json", "-w", "c1", env={trust[1]: trust[2].strip("'")})
        assert done.exit_code == 0, done
        audit = alice.slurm_nb(
            "audit", json.loads(done.stdout)["job_id"], env={trust[1]: trust[2].strip("'")}
        )
    finally:
        alice.home.chmod(0o700)
        os.chown(alice.home, -1, alice.user.uid)

    assert refused.exit_code == 1
    assert f"/home/alice can be changed by the group {name}" in refused.stderr
    assert audit.exit_code == 0
    assert "accepted by SLURM_NB_TRUST" in audit.stdout


def test_a_full_node_is_reported(alice: Scientist) -> None:
    """The error names a node without room in /tmp, and the option that leaves it out."""
    with full_tmp(alice.cluster):
        said = alice.slurm_nb("submit", "-w", "c1")

    assert said.exit_code == 4
    assert "/tmp on c1" in said.stderr
    assert "--exclude c1" in said.stderr


@contextmanager
def full_tmp(cluster: Cluster) -> Iterator[None]:
    """Shrink /tmp of c1 to one MiB."""
    node = cluster.hosts["c1"]
    node.run(["mount", "-t", "tmpfs", "-o", "mode=1777,size=1m", "tmpfs", "/tmp"])
    try:
        yield
    finally:
        node.run(["umount", "--lazy", "/tmp"])
