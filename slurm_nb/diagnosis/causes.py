"""The known causes of an ending: how each is known, what is told of it, and what to do then.

Pure: no I/O, no clock. endings.py finds the cause of a job; docs/reference/states-and-causes.md
shows the table.
"""

from __future__ import annotations

from dataclasses import dataclass

from slurm_nb.joblog.events import StoppingKind


@dataclass(frozen=True)
class Cause:
    """One row; all that it names must hold, and the first row that does counts.

    In `text` and `cure`, endings.py fills in the words in braces: {again} is
    `slurm-nb submit --again 7`, {found} the session's or the job's own word.
    """

    word: str
    """For programs, never changed: `time-limit`."""
    text: str
    """What the user is told: `the time limit of the job was reached`."""
    why: str
    """What brings it about; for the page."""
    cure: str
    states: tuple[str, ...] = ()
    """Slurm's words for it."""
    reason: str = ""
    """Slurm's reason (a regular expression), where Slurm gives one."""
    line: str = ""
    """A line of the job's output (a regular expression for all of it). It shows the cause, and must
    be there unless Slurm's word is the cause already."""
    exit_codes: tuple[int | None, ...] = ()
    """Of Jupyter; None: the job script ended without saying it."""
    started: bool | None = None
    """Whether the job script ran."""
    pending: bool = False
    """It was in the queue, for the first time."""
    silent: bool = False
    """There is no output."""
    by_other: bool = False
    """Another than the user cancelled it."""
    stopping: StoppingKind | None = None
    """The session's own word."""
    failed: str = ""
    """The job's own word (a regular expression for all of it) why Jupyter can't be started."""
    example: str = "..."
    """What {found} may be; for the page."""


# Seen: 22.05 and 24.11 begin with `slurmstepd: `, or `slurmstepd-c1: ` where slurmd was given the
# node's name; 26.05 with `[2026-11-26T04:50:48.286] `, and adds `DUE to SIGNAL Terminated`.
_STEPD = r"(?:slurmstepd(?:-\S+)?:|\[[\dT:.-]+\]) error: "
_CANCELLED = _STEPD + r"\*\*\* (?:JOB|STEP) (?P<job>\d+)\S* ON \S+ CANCELLED AT \S+"
# task/cgroup, "oom-kill event(s)" on 22.05 and "oom_kill event" later; OverMemoryKill of
# JobAcctGatherParams.
_OOM = (
    _STEPD + r"(?:Detected \d+ oom[-_]kill event\S* in StepId=(?P<job>\d+)\..*"
    r"|StepId=(?P<killed>\d+)\.\S+ exceeded memory limit .*, being killed)"
)
_SCRIPT = r"\S*/slurm_script: line \d+: "
_FULL = "(?:No space left on device|Disk quota exceeded)"

_FAILED = ("FAILED",)
_DONE = ("COMPLETED", "FAILED")
_AGAIN = "start another: `{again}`"
_MEMORY = "ask for more memory: `{again} --mem {mem}`"
_TIME = "ask for more time: `{again} --time {time}`"
_NODE = "take another node: `{again}{exclude}`; if it goes on, tell your site"
# Not --again: the session is in the state directory that it had.
_SHARED = (
    "set `SLURM_NB_HOME` to a directory that login and compute nodes share, then `slurm-nb submit`"
    " with the same options"
)
_CANT = "Jupyter can't be started: {found}"
_KILL = "something such as `kill` ended it"
_STRAIN = "the node had no memory left, or a watch of your site's ended it"

CAUSES = (
    # The session's own word.
    Cause("idle", "it stopped by itself: {found}", "nobody used it for --idle-timeout",
          _AGAIN + "; --idle-timeout sets how long it may be idle", stopping="idle",
          example="nothing ran and nobody was connected for TIME (--idle-timeout)"),
    Cause("time-limit", "the time limit of the job was reached", "a job ends at its time limit",
          _TIME, stopping="time"),
    # What the job script and slurm_nb_start find missing; the cure is theirs.
    Cause("jupyter-missing", _CANT, "the environment has no Jupyter, or one that is too old",
          "{cure}",
          failed=r".* has no (?:jupyter_server|notebook|jupyterlab)|.*, and \S+ or later is .*",
          example="PYTHON on NODE has no PACKAGE"),
    Cause("broken-environment", _CANT, "a package of the environment is broken", "{cure}",
          failed=r"\S+ of .* can't be imported: .*",
          example="PACKAGE of PYTHON can't be imported: ..."),
    Cause("disk-full", _CANT, "a full quota or disk, at home or on the node; or a broken mount",
          "{cure}",
          failed=r".* can't be written(?: on .*)?: .*|.* has only \d+ MiB left"
          r"|no directory can be made in .*",
          example="your home, DIR, can't be written on NODE: ..."),
    Cause("notebook-dir", _CANT, "the notebook directory is not there on the node, or not yours",
          "{cure}", failed=r"(?:the|you can't write to the) notebook directory .*",
          example="the notebook directory DIR is not there on NODE"),
    Cause("environment-missing", _CANT, "the node does not see it, or a misspelt name", "{cure}",
          failed=r"the (?:environment|module|image) .*|there is (?:no|neither) .*",
          example="the environment DIR is not there on NODE"),
    Cause("setup-failed", _CANT, "the exit code of this line of --setup was not 0", "{cure}",
          failed=r"the line of --setup failed: .*",
          example="the line of --setup failed: LINE"),
    Cause("python-broken", "the Python interpreter does not run on {node}",
          "it is made for another kind of node, or lacks a library there",
          "name one that the node can run: `{again} --python PATH`, or --env, --module",
          failed=r".* did not start on .*",
          line=_SCRIPT + r".*: (?:cannot execute|bad interpreter:).*"
          r"|.*: error while loading shared libraries: .*|.*: version `\S+' not found .*"),
    # Slurm names the cause; where it knows only that the job has ended, slurmstepd's line does.
    Cause("out-of-memory", "the job ran out of memory",
          "notebooks, and what they started, took more memory than the job has", _MEMORY,
          states=("OUT_OF_MEMORY", *_FAILED), line=_OOM),
    Cause("time-limit", "the time limit of the job was reached", "a job ends at its time limit",
          _TIME, states=("TIMEOUT",), line=_CANCELLED + r" DUE TO TIME LIMIT \*\*\*"),
    Cause("preempted", "a job that goes first took its place",
          "its partition or QOS can be preempted, and it could not be put back in the queue",
          _AGAIN + "; your site knows which partition or QOS is not preempted",
          states=("PREEMPTED",), line=_CANCELLED + r" DUE TO PREEMPTION \*\*\*"),
    Cause("node-failed", "{node} failed", "it crashed, was restarted, or was taken out of service",
          _NODE, states=("NODE_FAIL",), line=_CANCELLED + r" DUE TO NODE FAILURE\b.* \*\*\*"),
    Cause("boot-failed", "{node} could not be started for it", "Slurm had to start the node first",
          _NODE, states=("BOOT_FAIL", "RECONFIG_FAIL")),
    Cause("launch-failed", "{node} could not start it", "its prolog failed, or its disk is full",
          _NODE, states=("LAUNCH_FAILED",)),
    Cause("deadline", "it could not be done by its --deadline", "no room was free in time",
          "`{again}` with a later --deadline or a shorter --time", states=("DEADLINE",)),
    Cause("revoked", "another cluster of the federation has started it",
          "the clusters of a federation share their queue",
          "look for it there: `squeue --federation --me`", states=("REVOKED",)),
    Cause("cancelled-by-other", "{who} cancelled it before it started",
          "an admin, or a coordinator of your account", "ask {who} why; " + _AGAIN,
          states=("CANCELLED",), pending=True, by_other=True),
    Cause("cancelled-by-other", "{who} cancelled it", "an admin, or a coordinator of your account",
          "ask {who} why; " + _AGAIN, states=("CANCELLED",), by_other=True,
          line=_CANCELLED + r"(?: DUE to SIGNAL \S+)? \*\*\*"),
    Cause("cancelled", "it was cancelled before it started",
          "slurm-nb cancel or scancel; Slurm itself, where it can never start", _AGAIN,
          states=("CANCELLED",), pending=True),
    Cause("cancelled", "it was cancelled", "slurm-nb cancel or scancel", _AGAIN,
          states=("CANCELLED",), line=_CANCELLED + r"(?: DUE to SIGNAL \S+)? \*\*\*"),
    Cause("requeued", "it was put back in the queue, and did not start again",
          "scontrol requeue; what came then is not known", _AGAIN, states=("REQUEUED",),
          line=_CANCELLED + r" DUE TO JOB REQUEUE \*\*\*"),
    Cause("not-started", _CANT, "the job looked, and says what it lacks", "{cure}", failed=r".*"),
    # Slurm says only that it failed or has ended.
    Cause("no-output", "its output could not be written on {node}",
          "the state directory is not there on the node, is full, or is not yours there", _SHARED,
          states=_FAILED, reason=r"JobLaunchFailure|RaisedSignal:53\(.*", started=False,
          silent=True),
    Cause("kit-refused", "Jupyter was not started",
          "slurm-nb's part of its configuration could not be loaded: there would be no lock",
          "mend that, then `{again}`", states=_FAILED, exit_codes=(1,),
          line=r"slurm-nb: Jupyter is not started: .*"),
    Cause("not-safe", "Jupyter was stopped, for it was not safe",
          "an extension, a configuration or a helper opens a port, or replaces Jupyter's lock",
          "disable it (`jupyter server extension list`), then `{again}`", states=_FAILED,
          exit_codes=(1,), line=r"slurm-nb: Jupyter was stopped, for it is not safe: .+"),
    Cause("configuration", "Jupyter refuses a value of your configuration",
          "a jupyter_*_config file holds what this version does not take",
          "mend it (`jupyter --paths` names the places), then `{again}`", states=_FAILED,
          exit_codes=(1,),
          line=r"\[C [^\]]+\] Bad config encountered during initialization: .*"),
    Cause("disk-full", "there was no room to write", "a full quota or disk",
          "make room (`quota`, `df`), then `{again}`", states=_FAILED,
          line=rf"\S+: .*: {_FULL}|OSError: \[Errno (?:28|122)\] {_FULL}.*"
          r"|sqlite3\.OperationalError: database or disk is full"),
    Cause("state-directory", "the session's directory could not be made on {node}",
          "the state directory is not there on the node, or not yours there", _SHARED,
          states=_FAILED, started=False, line=r"mkdir: cannot create directory .*"),
    Cause("port", "an address or a socket could not be used",
          "something else has it, or its path is too long", _AGAIN + "; if it goes on, report it",
          states=_FAILED, exit_codes=(1,),
          line=r"OSError: \[Errno (?:98|99)\] .*|OSError: AF_UNIX path too long.*"
          r"|zmq\.error\.ZMQError: (?:Address already in use|ipc path .*longer than).*"),
    Cause("too-many-files", "it may open no more files", "a low `ulimit -n`",
          "raise it: `{again} --setup 'ulimit -n 4096'`", states=_FAILED, exit_codes=(1,),
          line=r"OSError: \[Errno 24\] Too many open files.*"),
    Cause("denied", "it may not read or write there",
          "a file or directory of Jupyter's is another user's, or closed",
          "look whose it is (`ls -ld`), mend that, then `{again}`", states=_FAILED,
          exit_codes=(1,), line=r"PermissionError: \[Errno 13\] .*"),
    Cause("broken-environment", "a package of the environment can't be imported",
          "packages are missing, or of versions that do not go together",
          "repair it (`PYTHON -m pip check`), or name another: `{again} --env DIR`",
          states=_FAILED, exit_codes=(1,),
          line=r"(?:ModuleNotFoundError|ImportError|SyntaxError|IndentationError): .*"),
    Cause("killed", "Jupyter was killed (SIGKILL)", _STRAIN, _MEMORY, states=_FAILED,
          exit_codes=(137,)),
    Cause("killed", "the job script ended without a word, as it does when it is killed", _STRAIN,
          _MEMORY, states=_FAILED, reason=r"JobLaunchFailure|RaisedSignal.*", started=True,
          exit_codes=(None,)),
    Cause("crashed", "Jupyter crashed, with exit code {exit_code}",
          "a compiled package is broken, or made for another kind of node",
          "look what its output says, or take another environment: `{again} --env DIR`",
          states=_FAILED, exit_codes=(132, 134, 135, 136, 139)),
    Cause("told-to-end", "it was told to end (SIGTERM)", _KILL, _AGAIN,
          states=_FAILED, exit_codes=(143,)),
    Cause("shut-down", "it was shut down from within", "File > Shut Down in Jupyter", _AGAIN,
          states=_DONE, exit_codes=(0,),
          line=r"\[I [^\]]+\] Shutting down on /api/shutdown request\."),
    Cause("ended-itself", "Jupyter ended, without an error", _KILL, _AGAIN,
          states=_DONE, exit_codes=(0,)),
)  # fmt: skip

NAMING = frozenset(word for cause in CAUSES for word in cause.states) - set(_DONE)
"""Slurm's words that are a cause by themselves."""


_VALUES = {
    "again": "slurm-nb submit --again JOBID",
    "mem": "SIZE",
    "time": "TIME",
    "node": "NODE",
    "exclude": " --exclude NODE",
    "who": "USER",
    "exit_code": "NUMBER",
    "cure": "as the next line says",
}


def rows() -> list[tuple[str, str, str]]:
    """Return message, cause and cure for docs/reference/states-and-causes.md."""
    told = [
        (
            f"`{each.text}`".format(found=each.example, **_VALUES),
            each.why,
            each.cure.format(**_VALUES),
        )
        for each in CAUSES
    ]
    return list(dict.fromkeys(told))
