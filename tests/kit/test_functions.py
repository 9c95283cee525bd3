"""The job script's functions: lines for the login node, directories, environments, and the end."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from slurm_nb.joblog.events import read_progress
from tests.kit.bash import bash


def told(text: str) -> list[dict[str, object]]:
    """Return what the lines for the login node say."""
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


@pytest.mark.parametrize(
    "text", ["plain", 'a "b" \\ c', "tab\tnew\nline\x1b[0m", "é名", "%s $(id)"]
)
def test_a_failure_is_json(text: str, tmp_path: Path) -> None:
    """The login node can read any value back; control characters become blanks."""
    code = 'slurm_nb_clean_up() { :; }\nfail "$1" "$2"\necho went on'
    done = bash(code, text, "cure", folder=tmp_path, check=False)

    clean = "".join(char if char.isprintable() else " " for char in text)
    assert told(done.stdout) == [{"what": "failed", "text": clean, "cure": "cure", "known": True}]
    assert (done.returncode, "went on" in done.stdout) == (1, False)


# --- begin and end ---


def test_a_job_leaves_nothing_on_the_node(tmp_path: Path) -> None:
    """Its directory, with the token, is private while the job runs and gone afterwards."""
    token = tmp_path / "session/token"
    show = 'touch "$slurm_nb_session_dir/token"; stat -c %a "$slurm_nb_run_dir"/{,runtime}'

    done = bash(f"slurm_nb_begin\n{show}\nexit 3", folder=tmp_path, check=False)

    assert done.stdout.splitlines()[:2] == ["700", "700"]
    assert told(done.stdout) == [{"what": "ended", "exit_code": 3}]
    assert not token.exists()


def test_a_job_notes_the_kit_that_it_uses(tmp_path: Path) -> None:
    """A clean-up then keeps the kit as long as the session."""
    (tmp_path / "kit").mkdir()
    os.utime(tmp_path / "kit", (0, 0))

    bash("slurm_nb_begin", folder=tmp_path)

    note = tmp_path / "session/kit"
    assert (note.read_text(), note.stat().st_mode & 0o777) == ("kit\n", 0o600)
    assert (tmp_path / "kit").stat().st_mtime > 0


YOURS = [
    "run_dir=/no/such node=x cluster=x job_id=x session_dir=x state_dir=x kit_dir=x",
    "IFS=/",
    "set -f",
    "set -u",
    "set -C",
    "trap : EXIT TERM USR1",
    "trap 'echo theirs; exit 9' EXIT",
    "tell() { :; }; clean_up() { :; }; json() { :; }; ours() { :; }",
    "export SLURM_NB_SESSION=hpc/8",
    "unset run_dir cluster",
]


@pytest.mark.parametrize("line", YOURS)
def test_the_users_own_lines_do_no_harm(line: str, tmp_path: Path) -> None:
    """--setup, a module or a template may set any names, options and traps: the script still ends
    as
    usual, reports it, and removes its own directory.
    """
    code = f"""slurm_nb_begin
echo "$slurm_nb_run_dir"
slurm_nb_enter_environment
{line}
slurm_nb_leave_environment
x='a b'; printf '<%s>' $x; echo /bi*
exit 3"""

    done = bash(code, folder=tmp_path, check=False, environ={"TMPDIR": str(tmp_path)})

    run_dir, shown, *_ = done.stdout.splitlines()
    assert run_dir.startswith("/tmp/slurm-nb.")
    assert not Path(run_dir).exists()
    assert shown == "<a><b>/bin"
    assert told(done.stdout) == [{"what": "ended", "exit_code": 3}]
    assert done.returncode == 3


@pytest.mark.parametrize("line", YOURS)
def test_a_failure_after_the_users_own_lines_is_reported(line: str, tmp_path: Path) -> None:
    """The output shows failure and end, and the directory is gone, even if they set a trap."""
    code = f"""slurm_nb_begin
echo "$slurm_nb_run_dir"
slurm_nb_enter_environment
{line}
slurm_nb_fail text cure"""

    done = bash(code, folder=tmp_path, check=False)

    assert not Path(done.stdout.splitlines()[0]).exists()
    assert [each["what"] for each in told(done.stdout)] == ["failed", "ended"]
    assert done.returncode == 1


@pytest.mark.parametrize(("line", "code"), [("exit 7", 7), ("set -e; false", 1)])
def test_a_line_that_ends_the_script_is_reported(line: str, code: int, tmp_path: Path) -> None:
    """Lines of --setup should not call exit or leave set -e on; the job still cleans up."""
    text = f'slurm_nb_begin\necho "$slurm_nb_run_dir"\nslurm_nb_enter_environment\n{line}\necho no'

    done = bash(text, folder=tmp_path, check=False)

    failed, ended = told(done.stdout)
    assert failed["text"] == (
        f"the lines of --setup, --module or --env ended the job script on c1: exit code {code}"
    )
    assert ended == {"what": "ended", "exit_code": code}
    assert not Path(done.stdout.splitlines()[0]).exists()
    assert "no\n" not in done.stdout


def test_a_failure_in_a_subshell_does_not_end_the_job(tmp_path: Path) -> None:
    """The job still needs its directory."""
    code = 'slurm_nb_begin\n(fail text cure)\n[ -d "$slurm_nb_run_dir" ] && echo there'

    done = bash(code, folder=tmp_path, check=False)

    assert "there\n" in done.stdout
    assert [each["what"] for each in told(done.stdout)] == ["failed", "ended"]


# --- the location of the job's own directory ---


def chosen_base(tmpdir: str | None) -> str:
    """Return the base directory chosen for this TMPDIR."""
    environ = {} if tmpdir is None else {"TMPDIR": tmpdir}
    done = bash("slurm_nb_find_base", environ=environ)
    assert done.stderr == ""
    return done.stdout


@pytest.fixture
def short() -> Iterator[Path]:
    """Yield a private directory whose path is short enough for sockets."""
    with tempfile.TemporaryDirectory(prefix="nb", dir="/tmp") as name:
        yield Path(name)


def in_short(short: Path, name: str, mode: int, owner: int | None = None) -> str:
    folder = short / name
    folder.mkdir()
    folder.chmod(mode)
    if owner is not None:
        os.chown(folder, owner, owner)
    return str(folder)


@pytest.mark.parametrize("mode", [0o700, 0o755, 0o1700])
def test_the_users_own_directory_is_used(short: Path, mode: int) -> None:
    """A TMPDIR that the site creates for the job holds the job's files."""
    folder = in_short(short, "mine", mode)

    assert chosen_base(folder) == folder


@pytest.mark.parametrize("tmpdir", [None, "", "/tmp", "/var/tmp"])
def test_a_sticky_system_directory_is_used(tmpdir: str | None) -> None:
    """Every user can write to /tmp, but nobody can move another user's files."""
    assert chosen_base(tmpdir) == (tmpdir or "/tmp")


@pytest.mark.parametrize("mode", [0o777, 0o770, 0o775, 0o722])
def test_a_directory_that_others_can_change_is_not_used(short: Path, mode: int) -> None:
    """They could rename the job's directory and put another in its place."""
    assert chosen_base(in_short(short, "shared", mode)) == "/tmp"


as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")


@as_root
@pytest.mark.parametrize("mode", [0o700, 0o755, 0o777, 0o1777])
def test_another_users_directory_is_not_used(short: Path, mode: int) -> None:
    """Its owner can do anything with it, sticky or not."""
    assert chosen_base(in_short(short, "theirs", mode, owner=12345)) == "/tmp"


@as_root
def test_a_directory_below_one_that_others_can_change_is_not_used(short: Path) -> None:
    """They could move the user's own directory away."""
    (short / "open").mkdir()
    mine = in_short(short, "open/mine", 0o700)
    (short / "open").chmod(0o777)

    assert chosen_base(mine) == "/tmp"


@pytest.mark.parametrize(
    "name",
    ["a b", "$(id)", "`id`", "a;id", "a*", "a:b", "a\nb", "é", "a'b", 'a"b', "a\\b", "-", "x" * 40],
)
def test_a_directory_whose_path_does_not_suit_a_socket_is_not_used(short: Path, name: str) -> None:
    """Long paths and special characters would break sockets and ssh's -L."""
    expected = f"{short}/-" if name == "-" else "/tmp"

    assert chosen_base(in_short(short, name, 0o700)) == expected


@pytest.mark.parametrize(
    "tmpdir", ["relative", "./x", "..", "-delete", "/no/such/dir", "/dev/null"]
)
def test_a_tmpdir_that_is_not_a_directory_is_not_used(tmpdir: str) -> None:
    """A relative path, an option or a missing directory leads to /tmp."""
    assert chosen_base(tmpdir) == "/tmp"


@pytest.mark.parametrize("tmpdir", ["/tmp", "/tmp/", "/var/tmp//", "//tmp", None])
def test_slurm_nb_accepts_the_path_of_the_socket(tmpdir: str | None) -> None:
    """Even a TMPDIR that ends in a slash gives a path that the ready line may hold."""
    who = {"cluster": "hpc", "job_id": "7", "nonce": "5f" * 16}
    path = f"{chosen_base(tmpdir)}/slurm-nb.AbCd1234/jupyter.sock"
    line = json.dumps({**who, "node": "c1", "path": "/tree", "socket": path})

    progress = read_progress([f"slurm-nb ready: {line}"], who=who)

    assert progress.ready
    assert progress.ready.socket == path


def test_a_kernels_sockets_fit_into_the_longest_base() -> None:
    """Even there the path of a kernel's socket has at most 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="nb", dir="/tmp") as name:
        longest = max(
            (chosen_base(in_short(Path(name), "x" * length, 0o700)) for length in range(1, 30)),
            key=len,
        )

    kernel = f"{longest}/slurm-nb.AbCd1234/runtime/kernel-{uuid.uuid4()}-ipc-10"
    assert longest.endswith("x")
    assert len(kernel) <= 107


# --- environments ---


def make_env(folder: Path, *files: str) -> Path:
    """Create an environment with these files and a python3 that runs the tests' own."""
    for name in ("bin/python3", *files):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f'#!/bin/bash\nexec {sys.executable} "$@"\n')
        path.chmod(0o755)
    return folder


def failure(code: str, folder: Path, *words: str, **environ: str) -> dict[str, object]:
    """Return the failure that `code` reports."""
    text = f"slurm_nb_begin\nslurm_nb_enter_environment\n{code}\necho went on"
    done = bash(text, *words, folder=folder, check=False, environ=environ)
    assert "went on" not in done.stdout
    failed, ended = told(done.stdout)
    assert (failed["what"], ended) == ("failed", {"what": "ended", "exit_code": 1})
    return failed


def test_a_virtual_environment_is_activated(tmp_path: Path) -> None:
    """PATH begins with its programs, and Python finds its own library."""
    env = make_env(tmp_path / "my env")
    code = 'use_env "$1"; echo "${PATH%%:*} $VIRTUAL_ENV ${PYTHONHOME-unset}"'

    done = bash(code, str(env), environ={"PYTHONHOME": "/old"})

    assert done.stdout == f"{env}/bin {env} unset\n"


@pytest.mark.parametrize("where", ["CONDA_ENVS_PATH", "CONDA_EXE", "MAMBA_ROOT_PREFIX", "note"])
def test_a_conda_environment_is_found_by_name(tmp_path: Path, where: str) -> None:
    """conda's own locations are searched, with any IFS; its packages may set any variable."""
    env = make_env(tmp_path / "root dir/envs/analysis", "conda-meta/history")
    (env / "conda-meta/state").write_text('{"env_vars": {"WHO": "it\\u0027s $(id)"}}')
    script = env / "etc/conda/activate.d/x.sh"
    script.parent.mkdir(parents=True)
    script.write_text("export file=theirs folder=theirs name=theirs")
    root = env.parents[1]
    environ = {"HOME": str(tmp_path)}
    if where == "note":
        (tmp_path / ".conda").mkdir()
        (tmp_path / ".conda/environments.txt").write_text(f"/no/such/analysis\n{env}\n")
    else:
        values = {"CONDA_ENVS_PATH": f"/no:{env.parent}", "CONDA_EXE": f"{root}/bin/conda"}
        environ[where] = values.get(where, str(root))

    show = 'echo "$CONDA_PREFIX|$CONDA_DEFAULT_ENV|$WHO|$file|$folder|$name"'
    done = bash(f"IFS=/\nuse_env analysis\n{show}", environ=environ)

    assert done.stdout == f"{env}|analysis|it's $(id)|theirs|theirs|theirs\n"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("nowhere", "there is no conda environment named nowhere on c1"),
        ("/no/such", "the environment /no/such does not exist on c1"),
        ("/tmp", "the environment /tmp has no bin/python3 on c1"),
    ],
)
def test_a_missing_environment_is_reported(tmp_path: Path, name: str, text: str) -> None:
    """The message gives its name and the node."""
    assert failure('use_env "$1"', tmp_path, name)["text"] == text


@pytest.mark.parametrize(
    "body", ["echo 'ERROR: Unable to locate x' >&2", "echo 'Lmod error: unknown' >&2; return 1"]
)
def test_a_module_that_did_not_load_is_reported(tmp_path: Path, body: str) -> None:
    """Environment Modules 3 and 4 return success even then."""
    text = str(failure(f"module() {{ {body}; }}\nload_module x/1", tmp_path)["text"])

    assert text.startswith("cannot load the module x/1 on c1: ")
    assert "nable to locate x" in text or "unknown" in text


def test_a_module_can_set_any_variable(tmp_path: Path) -> None:
    """Even names that the functions use reach Jupyter."""
    code = """slurm_nb_begin
module() { export file=$2 said=$2 folder=$2; echo hello >&2; }
load_module x/1
echo "$file $said $folder"
"""

    done = bash(code, folder=tmp_path, check=False)

    assert done.stdout.startswith("x/1 x/1 x/1\n")
    assert done.stderr == "hello\n"


def test_a_container_sees_the_kit_and_the_directories(tmp_path: Path) -> None:
    """The image's own interpreter starts in the kit's directory, with access to GPUs."""
    make_env(tmp_path / "programs", "bin/apptainer")
    path = f"{tmp_path}/programs/bin:{os.environ['PATH']}"
    code = """slurm_nb_run_dir=/run/x
slurm_nb_enter_environment
use_container "$1"
slurm_nb_leave_environment
printf "%s\\n" "${inside[@]}" "$python"
trap - EXIT"""

    done = bash(
        code, "docker://image", folder=tmp_path, environ={"PATH": path, "CUDA_VISIBLE_DEVICES": "0"}
    )

    binds = ["/run/x", f"{tmp_path}/state", "/home/alice"]
    assert done.stdout.splitlines() == [
        f"{tmp_path}/programs/bin/apptainer", "exec", "--pwd", f"{tmp_path}/kit",
        *(word for each in binds for word in ("--bind", each)),
        "--nv", "docker://image", "python3",
    ]  # fmt: skip


def test_threads_follow_the_cpus_of_the_job() -> None:
    """A number that the user has set stays."""
    done = bash(
        "slurm_nb_limit_threads; echo $OMP_NUM_THREADS $MKL_NUM_THREADS",
        environ={"SLURM_CPUS_PER_TASK": "4", "MKL_NUM_THREADS": "1"},
    )

    assert done.stdout == "4 1\n"


def test_a_missing_interpreter_is_reported(tmp_path: Path) -> None:
    """The message names it before anything starts."""
    text = failure("python=/no/python\nslurm_nb_leave_environment", tmp_path)["text"]

    assert text == "there is no Python interpreter /no/python on c1"


# --- Jupyter's end is the job's ---

STARTED = 'touch "$slurm_nb_run_dir/python-started"'


@pytest.mark.parametrize("code", [0, 5])
def test_the_job_ends_with_the_servers_exit_code(tmp_path: Path, code: int) -> None:
    """Everything has been removed by then."""
    text = f"slurm_nb_begin\n{STARTED}\n(exit {code}) &\nslurm_nb_wait_for $!"

    done = bash(text, folder=tmp_path, check=False)

    assert done.returncode == code
    assert told(done.stdout) == [{"what": "ended", "exit_code": code}]


def test_an_interpreter_that_does_not_start_is_reported(tmp_path: Path) -> None:
    """The kit creates a marker file as soon as it runs."""
    done = bash("slurm_nb_begin\n(exit 3) &\nslurm_nb_wait_for $!", folder=tmp_path, check=False)

    failed, _ = told(done.stdout)
    assert failed["text"] == "python3 did not start on c1: exit code 3"
    assert failed["known"] is False


@pytest.mark.parametrize(("end", "said"), [("1", True), ("9999999999", False)])
def test_a_signalled_job_stops_the_server(
    tmp_path: Path,
    end: str,
    said: bool,  # noqa: FBT001  a column of the table
) -> None:
    """The server gets SIGTERM; the time shows whether the time limit was the reason."""
    server = "trap 'exit 7' TERM; kill -TERM $PARENT; while :; do sleep 0.05; done"
    text = f"""slurm_nb_cluster=local
slurm_nb_begin {end}
{STARTED}
PARENT=$$ bash -c "$1" &
slurm_nb_wait_for $!"""

    done = bash(text, server, folder=tmp_path, check=False)

    *stopping, ended = told(done.stdout)
    assert done.returncode == 7
    assert ended == {"what": "ended", "exit_code": 7}
    assert [each["kind"] for each in stopping] == (["time"] if said else [])


# --- the certificate ---


def certificate(folder: Path, **environ: str) -> str:
    """Return what openssl shows about the certificate."""
    bash("slurm_nb_make_certificate", slurm_nb_run_dir=str(folder), environ=environ)
    return subprocess.run(
        ["openssl", "x509", "-noout", "-text", "-in", str(folder / "certificate.pem")],
        capture_output=True,
        text=True,
        check=True,
    ).stdout


@pytest.mark.parametrize("configured", [False, True])
def test_browsers_accept_the_certificate_and_its_key_is_private(
    tmp_path: Path,
    configured: bool,  # noqa: FBT001  a column of the table
) -> None:
    """It is for localhost and readable only by its user, with any openssl configuration."""
    config = tmp_path / "openssl.cnf"
    config.write_text(
        "[req]\ndistinguished_name=d\nx509_extensions=x\n[d]\n[x]\nkeyUsage=cRLSign\n"
        "nsComment=of the site\n"
    )

    shown = certificate(tmp_path, **({"OPENSSL_CONF": str(config)} if configured else {}))

    assert (tmp_path / "key.pem").stat().st_mode & 0o777 == 0o600
    lines = [line.strip() for line in shown.splitlines()]
    at = lines.index("X509v3 extensions:")
    extensions = dict(zip(lines[at + 1 :: 2], lines[at + 2 :: 2], strict=False))
    assert "Subject: CN = localhost" in lines
    assert extensions["X509v3 Subject Alternative Name:"] == "DNS:localhost, IP Address:127.0.0.1"
    assert extensions["X509v3 Basic Constraints: critical"] == "CA:FALSE"
    assert extensions["X509v3 Key Usage: critical"] == "Digital Signature"
    assert extensions["X509v3 Extended Key Usage:"] == "TLS Web Server Authentication"
    assert "X509v3 Subject Key Identifier:" in extensions
    assert "of the site" not in shown


def test_without_openssl_the_job_ends_and_says_so(tmp_path: Path) -> None:
    """If there is no certificate, Jupyter does not start without one."""
    for name in ("cat", "tail"):
        (tmp_path / name).symlink_to(f"/usr/bin/{name}")

    done = bash(
        "PATH=$slurm_nb_run_dir\nslurm_nb_make_certificate\necho went on",
        folder=tmp_path,
        check=False,
        slurm_nb_run_dir=str(tmp_path),
    )

    assert done.returncode == 1
    assert "went on" not in done.stdout
    assert "cannot create a certificate on c1" in done.stdout


# --- the Python that runs Jupyter ---


FIND = """slurm_nb_before=$(slurm_nb_on_path)
%s
slurm_nb_find_python; printf 'python=%%s\\n' "$python"
"""


@pytest.fixture
def pythons(tmp_path: Path) -> dict[str, str]:
    """Return a PATH with a python3, and directories with other python3 and jupyter programs."""
    for name in ("usr", "module", "wheel", "own"):
        (tmp_path / name).mkdir()
    for name in ("usr/python3", "module/python3", "wheel/python3.12", "own/python"):
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(0o755)
    (tmp_path / "wheel/bin").mkdir()
    (tmp_path / "wheel/bin/jupyter").write_text(f"#!{tmp_path}/wheel/python3.12\n")
    (tmp_path / "wheel/bin/jupyter").chmod(0o755)
    return {"PATH": f"{tmp_path}/usr:/usr/bin:/bin"}


@pytest.mark.parametrize(
    ("line", "python", "notices"),
    [
        ("export CUDA_HOME=/cuda", "own/python", 1),
        ("PATH={}/module:$PATH", "module/python3", 0),
        ("export PYTHONPATH=/sw/jupyter", "usr/python3", 0),
        ("PATH={}/wheel/bin:$PATH", "wheel/python3.12", 0),
    ],
)
def test_a_module_decides_whose_jupyter_runs_only_if_it_brings_a_python(
    line: str, python: str, notices: int, pythons: dict[str, str], tmp_path: Path
) -> None:
    """`--module cuda` changes nothing, and a notice says which Python runs Jupyter and why."""
    done = bash(
        FIND % line.format(tmp_path),
        folder=tmp_path,
        environ=pythons,
        slurm_nb_own_python=f"{tmp_path}/own/python",
        slurm_nb_brought_by="the module cuda/12",
    )

    assert f"python={tmp_path}/{python}\n" in done.stdout
    said = [each["text"] for each in told(done.stdout)]
    own = f"slurm-nb starts its own Jupyter ({tmp_path}/own/python)"
    assert said == notices * [f"{own}: the module cuda/12 brings no Python"]


@pytest.mark.parametrize("name", ["PYTHONHOME", "PYTHONINSPECT", "PYTHONSAFEPATH"])
def test_a_variable_that_breaks_python_is_unset_and_reported(name: str, tmp_path: Path) -> None:
    """Modules set some of them for their own Python."""
    code = f'slurm_nb_clean_python; printf "%s\\n" "${{{name}-gone}}"'

    done = bash(code, folder=tmp_path, environ={name: "/sw/python"})

    assert done.stdout.splitlines()[-1] == "gone"
    (notice,) = told(done.stdout)
    assert notice["text"] == f"slurm-nb unset {name}=/sw/python, which breaks Jupyter"


@pytest.mark.parametrize(("letter", "number"), [("t", 400), ("v", 9000000), ("d", 9000000)])
def test_soft_limits_of_the_login_shell_are_raised(
    letter: str, number: int, tmp_path: Path
) -> None:
    """Slurm passes them to the job; the node's hard limits stay, with a notice."""
    show = f'slurm_nb_raise_limits; printf "%s\\n" "$(ulimit -S -{letter})"'

    soft = bash(f"ulimit -S -{letter} {number}\n{show}", folder=tmp_path)
    hard = bash(f"ulimit -{letter} {number}\n{show}", folder=tmp_path)

    assert soft.stdout.splitlines()[-1] == "unlimited"
    assert told(soft.stdout) == []
    assert hard.stdout.splitlines()[-1] == str(number - (letter == "t"))
    assert f"(ulimit -{letter})" in str(told(hard.stdout))
