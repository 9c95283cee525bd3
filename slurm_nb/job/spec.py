"""JobSpec: the values of a job script, checked."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal, get_args

from slurm_nb.errors import UserError
from slurm_nb.job.auth import AUTHS, Auth
from slurm_nb.job.routes import ROUTES, RouteName, names_with_tls
from slurm_nb.job.text import refuse_control_characters
from slurm_nb.times import time_limit_s

Ui = Literal["notebook", "lab"]
UIS: tuple[Ui, ...] = get_args(Ui)
Listen = Literal["port", "socket"]
LISTENS: tuple[Listen, ...] = get_args(Listen)
Peers = Literal["user", "any"]
PEERS: tuple[Peers, ...] = get_args(Peers)

# Up to this number without a unit, memory was probably meant in GiB: Jupyter needs about 200 MiB.
_GIB_MEANT = 128
_MEM = re.compile(r"\d{1,15}(?:[KMGT]B?)?", re.ASCII | re.IGNORECASE)
_GPUS = re.compile(r"(?:[\w.+-]+:)?[1-9]\d*(?:,[\w.+-]+:[1-9]\d*)*", re.ASCII)
_URI = re.compile(r"[a-z][a-z0-9+.-]*://.", re.ASCII)

# sbatch options that would change what slurm-nb sets itself: the job's output, its script, and one
# job per submission.
_RESERVED_LONG = {
    "output", "error", "open-mode", "array", "wrap", "wait", "test-only",
    "parsable", "help", "usage", "version",
}  # fmt: skip
_RESERVED_SHORT = frozenset("oeaWhV")
# Short options of sbatch without a value; another one may follow in the same word.
_SHORT_FLAGS = frozenset("HIkKOQsv")


@dataclass(frozen=True, kw_only=True)
class JobSpec:
    """One requested job. `None` leaves the choice to Slurm.

    Raises `UserError`, naming option and value, for values that sbatch never accepts.
    """

    job_name: str = "slurm-nb"
    """Shown by squeue to every user of the cluster."""
    account: str | None = None
    time: str | None = None
    """In the format of sbatch: `90`, `90:00`, `2:00:00`, `1-12`, `1-12:30:00`, `UNLIMITED`."""
    partition: str | None = None
    """One name, or several with commas."""
    qos: str | None = None
    cpus_per_task: int | None = None
    mem: str | None = None
    """Per node, in the format of sbatch: `4G`; MiB without a unit."""
    gpus: str | None = None
    """`2` or `a100:2`."""
    gres: str | None = None
    """`gpu:a100:2`."""
    constraint: str | None = None
    nodelist: str | None = None
    exclude: str | None = None
    reservation: str | None = None
    clusters: str | None = None
    """One name, or several with commas: Slurm chooses the one that starts the job first."""
    comment: str | None = None
    """Shown by squeue to every user of the cluster."""
    sbatch_options: tuple[str, ...] = ()
    """More options for sbatch, as words of a command line: `("--exclusive",)`."""
    ui: Ui = "notebook"
    listen: Listen = "port"
    """On a TCP port, or on a UNIX socket."""
    route: RouteName = "jump"
    """How the laptop connects: ssh to the node, or TCP from the login node."""
    tls: bool = False
    """With the direct route: encrypt with a certificate made in the job."""
    peers: Peers = "user"
    """Whose processes on the node may connect, in addition to root's: `user` (yours) or `any`. The
    direct route accepts any, because its connections come from another machine."""
    auth: Auth = "token"
    terminals: bool = True
    """Offer terminals on Jupyter's pages. A cell of a notebook can run the same programs."""
    allow_debugger: bool = False
    """Let kernels start a debugger, which listens on a loopback port without a secret."""
    notebook_dir: Path
    """Absolute; Jupyter's root directory."""
    python: Path | None = None
    """The interpreter that runs Jupyter: an absolute path, or a name on the node. None: `python3`
    of env, module or container; without one of them slurm-nb's own."""
    env: str | None = None
    """Absolute path of a virtual or conda environment, or a conda environment's name."""
    module: tuple[str, ...] = ()
    """Modules of Lmod or Environment Modules: `("python/3.11",)`."""
    container: str | None = None
    """Absolute path of an image on the node, or a URI: `docker://jupyter/base-notebook`."""
    setup: tuple[str, ...] = ()
    """Lines of bash that run before env, module and container."""
    idle_timeout: str = "60"
    """A time as in `--time`: the session ends when it was idle for so long. `0` or `UNLIMITED`:
    never."""

    def __post_init__(self) -> None:
        for field in fields(self):
            _check_text(_option(field.name), getattr(self, field.name))
        if self.time is not None:
            time_limit_s(self.time)
        time_limit_s(self.idle_timeout, "idle-timeout")
        if self.cpus_per_task is not None and self.cpus_per_task < 1:
            raise UserError(
                f"--cpus-per-task {self.cpus_per_task}: must be 1 or more",
                options=("cpus-per-task",),
            )
        if self.mem is not None and not _MEM.fullmatch(self.mem):
            raise UserError(
                f"--mem {self.mem!r}: is not a size",
                hint="write 4G, 500M or 4096 (MiB)",
                options=("mem",),
            )
        if self.gpus is not None and not _GPUS.fullmatch(self.gpus):
            raise UserError(
                f"--gpus {self.gpus!r}: is not a number of GPUs",
                hint="write 1 or a100:2",
                options=("gpus",),
            )
        _check_ways(self)
        if not self.notebook_dir.is_absolute():
            raise UserError(
                f"--notebook-dir {str(self.notebook_dir)!r}: must be an absolute path",
                options=("notebook-dir",),
            )
        _check_environment(self)
        _check_sbatch_options(self.sbatch_options)

    @property
    def idle_timeout_s(self) -> int | None:
        """Seconds; None: no limit."""
        return time_limit_s(self.idle_timeout, "idle-timeout")

    def directives(self) -> list[str]:
        """Return the unquoted `#SBATCH` options: `["--job-name=slurm-nb", "--time=90"]`."""
        names = [
            "job_name", "account", "time", "partition", "qos", "cpus_per_task", "mem", "gpus",
            "gres", "constraint", "nodelist", "exclude", "reservation", "clusters", "comment",
        ]  # fmt: skip
        values = ((name, getattr(self, name)) for name in names)
        return [f"--{_option(name)}={value}" for name, value in values if value is not None]


def _check_ways(spec: JobSpec) -> None:
    for option, value, words in (
        ("ui", spec.ui, UIS),
        ("listen", spec.listen, LISTENS),
        ("route", spec.route, tuple(ROUTES)),
        ("peers", spec.peers, PEERS),
        ("auth", spec.auth, AUTHS),
    ):
        if value not in words:
            raise UserError(
                f"--{option} {value!r}: must be {' or '.join(words)}", options=(option,)
            )
    route = ROUTES[spec.route]
    if spec.listen == "socket" and route.no_socket:
        raise UserError(
            f"--listen socket and --route {spec.route} cannot be combined: {route.no_socket}",
            hint="leave one of them out",
            options=("listen", "route"),
        )
    if spec.tls and route.no_tls:
        raise UserError(
            f"--tls needs --route {' or '.join(names_with_tls())}: {route.no_tls}",
            options=("route", "tls"),
        )


def _check_environment(spec: JobSpec) -> None:
    python = spec.python
    if python is not None and not python.is_absolute() and len(python.parts) != 1:
        raise UserError(
            f"--python {str(python)!r}: must be an absolute path, or a name", options=("python",)
        )
    if spec.env is not None and spec.container is not None:
        raise UserError(
            "--env and --container cannot be combined",
            hint="name an interpreter in the image: --python /PATH/IN/THE/IMAGE/bin/python",
            options=("env", "container"),
        )
    if spec.env is not None and "/" in spec.env and not spec.env.startswith("/"):
        raise UserError(
            f"--env {spec.env!r}: must be an absolute path, or a name", options=("env",)
        )
    image = spec.container
    if image is not None and not image.startswith("/") and not _URI.match(image):
        raise UserError(
            f"--container {image!r}: must be an absolute path, or a URI", options=("container",)
        )
    names = [("env", spec.env or ""), *(("module", name) for name in spec.module)]
    for option, name in names:
        if name.startswith("-"):
            raise UserError(f"--{option} {name!r}: must not begin with a dash", options=(option,))
    for option, texts in (("module", spec.module), ("setup", spec.setup)):
        if not all(text.strip() for text in texts):
            raise UserError(f"--{option} '': is empty", options=(option,))


def _option(field_name: str) -> str:
    return field_name.replace("_", "-")


def _check_text(option: str, value: object) -> None:
    texts = value if isinstance(value, tuple) else (value,)
    for text in texts:
        if isinstance(text, str | Path):
            refuse_control_characters(f"--{option}", str(text), options=(option,))
        if isinstance(text, str) and not text.strip() and not isinstance(value, tuple):
            raise UserError(f"--{option} {text!r}: is empty", options=(option,))


def _check_sbatch_options(words: tuple[str, ...]) -> None:
    if words and not words[0].startswith("-"):
        raise UserError(
            f"{words[0]!r} is not an option",
            hint="options for sbatch go after `--`: -- --exclusive",
            options=("sbatch-options",),
        )
    if ":" in words:
        raise UserError(
            "sbatch option ':' starts a second component: slurm-nb submits one job, not a"
            " heterogeneous one",
            hint="leave out `:` and the options after it",
        )
    for word in words:
        if _is_reserved(word):
            raise UserError(
                f"slurm-nb cannot pass {word!r} to sbatch: it needs one job per submission and its"
                " own output file",
                hint="leave it out, or run sbatch yourself with the script that"
                " `slurm-nb submit --dry-run` prints",
                options=("sbatch-options",),
            )


def _is_reserved(word: str) -> bool:
    if word.startswith("--"):
        name = word[2:].partition("=")[0]
        # sbatch accepts any unambiguous beginning of a long option (getopt_long).
        return len(name) > 1 and any(long.startswith(name) for long in _RESERVED_LONG)
    return not _RESERVED_SHORT.isdisjoint(short_options(word))


def short_options(word: str) -> str:
    """Return the short options in one word for sbatch: `Ht` for `-Ht6`."""
    if not word.startswith("-") or word.startswith("--"):
        return ""
    letters = word[1:]
    value_at = next((i for i, c in enumerate(letters) if c not in _SHORT_FLAGS), len(letters))
    return letters[: value_at + 1]


def likely_too_small(mem: str) -> str:
    """Return a note if an amount of memory is probably in the wrong unit; else nothing.

    Slurm reads `8` as 8 MiB.
    """
    if not mem.isdecimal() or not 0 < int(mem) <= _GIB_MEANT:
        return ""
    return f"--mem {mem} is {mem} MiB; for {mem} GiB write {mem}G"
