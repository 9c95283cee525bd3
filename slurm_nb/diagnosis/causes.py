"""The known causes of an ending: how to recognise each, what to tell the user, and the cure.

explain.py finds the cause of a job; docs/reference/states-and-causes.md shows the table.
"""

from __future__ import annotations

from dataclasses import dataclass

from slurm_nb.joblog.events import StoppingKind

CANNOT_START = "Jupyter cannot start"
"""The beginning of each text with a reason that the job reported."""


@dataclass(frozen=True)
class Cause:
    """One row; every condition in it must hold, and the first row that fits wins.

    explain.py fills in the words in braces in `text` and `cure`: {again} is
    `slurm-nb submit --again 7`, {found} the text that the session or the job printed.
    """

    word: str
    """For programs, never changed: `time-limit`."""
    text: str
    """For the user: `the job reached its time limit`."""
    why: str
    """The reason behind it; for the page."""
    cure: str
    states: tuple[str, ...] = ()
    """Job states of Slurm."""
    reason: str = ""
    """Slurm's reason (a regular expression), if Slurm gives one."""
    line: str = ""
    """A whole line of the job's output (a regular expression). It shows the cause; the row needs
    it unless Slurm's state already names the cause."""
    exit_codes: tuple[int | None, ...] = ()
    """Of Jupyter; None: the job script ended without reporting one."""
    started: bool | None = None
    """Whether the job script ran."""
    pending: bool = False
    """The job was pending and had never run."""
    silent: bool = False
    """There is no output."""
    by_other: bool = False
    """Another user cancelled it."""
    stopping: StoppingKind | None = None
    """The kind of ending that the session reported."""
    failed: str = ""
    """The job's whole report of why Jupyter cannot start (a regular expression). A job that is
    still pending may print the texts of an older version, so these stay."""
    example: str = "..."
    """An example of {found}; for the page."""


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
_AGAIN = "start a new session: `{again}`"
_MEMORY = "request more memory: `{again} --mem {mem}`"
_TIME = "request more time: `{again} --time {time}`"
_NODE = "use another node: `{again}{exclude}`; if it happens again, contact your site"
# Not --again: the session is in the old state directory.
SHARED = (
    "set `SLURM_NB_HOME` to a directory that login and compute nodes share, then run"
    " `slurm-nb submit` with the same options"
)
_FOUND = f"{CANNOT_START}: {{found}}"
_KILL = "a command such as `kill` ended it"
_STRAIN = "the node ran out of memory, or a monitor at your site ended it"
_STATE_DIR = "the state directory on the node does not exist, is full, or belongs to another user"

CAUSES = (
    # The session reported it.
    Cause("idle", "the session was idle and stopped: {found}",
          "nobody used the session for --idle-timeout",
          _AGAIN + "; change the limit with --idle-timeout", stopping="idle",
          example="nothing ran and nobody was connected for TIME (--idle-timeout)"),
    Cause("time-limit", "the job reached its time limit", "Slurm ends a job at its time limit",
          _TIME, stopping="time"),
    # The job script and the preflight checks reported it, with a cure.
    Cause("memory-limit", _FOUND, "a limit of the login shell or the node (`ulimit -v`) is too low",
          "{cure}", failed=r".* cannot allocate memory .*",
          example="PYTHON cannot allocate memory for notebook on NODE"),
    Cause("configuration", _FOUND,
          "a jupyter_*_config file names a class that this Python does not have", "{cure}",
          failed=r"your Jupyter configuration .*",
          example="your Jupyter configuration (FILE) sets NAME = CLASS, and PYTHON does not have"
          " PACKAGE"),
    Cause("jupyter-missing", _FOUND, "the environment has no Jupyter, or its Jupyter is too old",
          "{cure}",
          failed=r".* (?:has no|does not have) (?:jupyter_server|notebook|jupyterlab)"
          r"|.*\b[\d.]+ or later\b.*",
          example="PYTHON on NODE cannot run Jupyter Notebook: it does not have notebook 7.0 or"
          " later"),
    Cause("broken-environment", _FOUND, "a package in the environment is broken", "{cure}",
          failed=r"\S+ of .* can't be imported.*|(?:.* )?cannot (?:be imported|import)\b.*",
          example="cannot import PACKAGE of PYTHON: ..."),
    Cause("disk-full", _FOUND, "a quota or disk is full, or a file system is not mounted correctly",
          "{cure}",
          failed=r".* (?:can't|cannot) be written(?: on .*)?: .*"
          r"|cannot write to (?!the notebook directory).*"
          r"|.* has only \d+ MiB (?:left|free).*"
          r"|no directory can be made in .*|cannot create a directory in .*",
          example="cannot write to your home, DIR, on NODE: ..."),
    Cause("notebook-dir", _FOUND,
          "the notebook directory does not exist on the node, or you cannot read it", "{cure}",
          failed=r"(?:the|(?:you )?(?:can't|cannot) (?:write to|read) the) notebook directory .*",
          example="the notebook directory DIR does not exist on NODE"),
    Cause("environment-missing", _FOUND, "it does not exist on the node, or its name is misspelt",
          "{cure}",
          failed=r"the (?:conda )?(?:environment|module|image) .*|there is (?:no|neither) .*"
          r"|cannot (?:load|find) .*",
          example="the environment DIR does not exist on NODE"),
    Cause("setup-failed", _FOUND, "the --setup line exited with a code other than 0", "{cure}",
          failed=r"the (?:line of --setup|--setup line) failed: .*",
          example="the --setup line failed: LINE"),
    Cause("python-broken", "the Python interpreter does not run on {node}",
          "it was built for another type of node, or a shared library is missing there",
          "choose an interpreter that runs there: `{again} --python PATH`, or --env, --module",
          failed=r".* (?:did not|cannot) (?:start|run) on .*",
          line=_SCRIPT + r".*: (?:cannot execute|bad interpreter:).*"
          r"|.*: error while loading shared libraries: .*|.*: version `\S+' not found .*"),
    # Slurm's state names the cause; if it says only that the job ended, slurmstepd's line does.
    Cause("out-of-memory", "the job ran out of memory",
          "notebooks and the programs they started used more memory than the job has", _MEMORY,
          states=("OUT_OF_MEMORY", *_FAILED), line=_OOM),
    Cause("time-limit", "the job reached its time limit", "Slurm ends a job at its time limit",
          _TIME, states=("TIMEOUT",), line=_CANCELLED + r" DUE TO TIME LIMIT \*\*\*"),
    Cause("preempted", "a job with higher priority preempted this one",
          "its partition or QOS allows preemption, and Slurm could not requeue it",
          _AGAIN + "; ask your site which partition or QOS is never preempted",
          states=("PREEMPTED",), line=_CANCELLED + r" DUE TO PREEMPTION \*\*\*"),
    Cause("node-failed", "{node} failed", "the node crashed, rebooted, or was taken out of service",
          _NODE, states=("NODE_FAIL",), line=_CANCELLED + r" DUE TO NODE FAILURE\b.* \*\*\*"),
    Cause("boot-failed", "Slurm could not boot {node} for the job",
          "the node was powered off, or had to boot into another configuration",
          _NODE, states=("BOOT_FAIL", "RECONFIG_FAIL")),
    Cause("launch-failed", "{node} could not start the job",
          "the node's prolog failed, or its disk is full", _NODE, states=("LAUNCH_FAILED",)),
    Cause("deadline", "the job could not finish before its --deadline",
          "no resources were free in time",
          "run `{again}` with a later --deadline or a shorter --time", states=("DEADLINE",)),
    Cause("revoked", "another cluster of the federation started the job",
          "the clusters of a federation share their queue",
          "find it with: `squeue --federation --me`", states=("REVOKED",)),
    Cause("cancelled-by-other", "{who} cancelled the job before it started",
          "an admin or a coordinator of your account used scancel", "ask {who} why; " + _AGAIN,
          states=("CANCELLED",), pending=True, by_other=True),
    Cause("cancelled-by-other", "{who} cancelled the job",
          "an admin or a coordinator of your account used scancel", "ask {who} why; " + _AGAIN,
          states=("CANCELLED",), by_other=True,
          line=_CANCELLED + r"(?: DUE to SIGNAL \S+)? \*\*\*"),
    Cause("cancelled", "the job was cancelled before it started",
          "you or an admin cancelled it, or Slurm found that it can never start", _AGAIN,
          states=("CANCELLED",), pending=True),
    Cause("cancelled", "the job was cancelled",
          "you used slurm-nb cancel, or you or an admin used scancel", _AGAIN,
          states=("CANCELLED",), line=_CANCELLED + r"(?: DUE to SIGNAL \S+)? \*\*\*"),
    Cause("requeued", "Slurm requeued the job, and it did not start again",
          "you or an admin used scontrol requeue; Slurm no longer knows how the job ended", _AGAIN,
          states=("REQUEUED",), line=_CANCELLED + r" DUE TO JOB REQUEUE \*\*\*"),
    Cause("not-started", _FOUND, "a check in the job failed", "{cure}", failed=r".*"),
    # Slurm's state says only that it failed or ended.
    Cause("no-output", "{node} could not write the job's output", _STATE_DIR, SHARED,
          states=_FAILED, reason=r"JobLaunchFailure|RaisedSignal:53\(.*", started=False,
          silent=True),
    Cause("kit-refused", "slurm-nb did not start Jupyter",
          "slurm-nb could not load its own Jupyter settings, which protect the session",
          "fix the problem, then run `{again}`", states=_FAILED, exit_codes=(1,),
          line=r"slurm-nb: (?:Jupyter (?:is|was) not started|Jupyter cannot start): .*"),
    Cause("not-safe", "Jupyter was stopped because a security check failed",
          "an extension, a setting or a helper opens a port or replaces Jupyter's authentication",
          "disable it (see `jupyter server extension list`), then run `{again}`", states=_FAILED,
          exit_codes=(1,),
          line=r"slurm-nb: Jupyter was stopped(?:, for it is not safe"
          r"| because a security check failed): .+"),
    Cause("configuration", "Jupyter rejects a value in your configuration",
          "a jupyter_*_config file sets a value that this version does not accept",
          "fix it (`jupyter --paths` lists the directories), then run `{again}`", states=_FAILED,
          exit_codes=(1,),
          line=r"\[C [^\]]+\] Bad config encountered during initialization: .*"),
    Cause("disk-full", "the disk or your quota is full", "a file could not be written",
          "free some space (check with `quota` and `df`), then run `{again}`", states=_FAILED,
          line=rf"\S+: .*: {_FULL}|OSError: \[Errno (?:28|122)\] {_FULL}.*"
          r"|sqlite3\.OperationalError: database or disk is full"),
    Cause("state-directory", "{node} could not create the session's directory", _STATE_DIR, SHARED,
          states=_FAILED, started=False, line=r"mkdir: cannot create directory .*"),
    Cause("port", "Jupyter could not use an address or socket",
          "another process uses it, or its path is too long",
          _AGAIN + "; if it happens again, report it",
          states=_FAILED, exit_codes=(1,),
          line=r"OSError: \[Errno (?:98|99)\] .*|OSError: AF_UNIX path too long.*"
          r"|zmq\.error\.ZMQError: (?:Address already in use|ipc path .*longer than).*"),
    Cause("too-many-files", "Jupyter reached its limit of open files", "`ulimit -n` is too low",
          "raise the limit: `{again} --setup 'ulimit -n 4096'`", states=_FAILED, exit_codes=(1,),
          line=r"OSError: \[Errno 24\] Too many open files.*"),
    Cause("denied", "Jupyter has no permission to read or write a file",
          "another user owns a file or directory that Jupyter uses, or its mode is too strict",
          "check its owner and mode (`ls -ld`), fix them, then run `{again}`", states=_FAILED,
          exit_codes=(1,), line=r"PermissionError: \[Errno 13\] .*"),
    Cause("memory-limit", "Jupyter could not allocate memory",
          "a limit of the login shell or the node (`ulimit -v`) is too low",
          "raise the limit: `{again} --setup 'ulimit -v unlimited'`, or request more memory with"
          " --mem", states=_FAILED, exit_codes=(1,),
          line=r"MemoryError.*|OSError: \[Errno 12\] .*"),
    Cause("cpu-limit", "Jupyter used more CPU time than the limit of the node allows (SIGXCPU)",
          "the node has a hard limit of CPU time (`ulimit -H -t`)",
          "use a node without that limit, or ask your site to raise it; then run `{again}`",
          states=_FAILED, exit_codes=(152,)),
    Cause("broken-environment", "Jupyter could not import a package in the environment",
          "a package is missing, or its version does not fit the others",
          "repair the environment (`PYTHON -m pip check`), or use another: `{again} --env DIR`",
          states=_FAILED, exit_codes=(1,),
          line=r"(?:ModuleNotFoundError|ImportError|SyntaxError|IndentationError): .*"),
    Cause("killed", "Jupyter was killed (SIGKILL)", _STRAIN, _MEMORY, states=_FAILED,
          exit_codes=(137,)),
    Cause("killed", "the job script ended without a message, so it was probably killed", _STRAIN,
          _MEMORY, states=_FAILED, reason=r"JobLaunchFailure|RaisedSignal.*", started=True,
          exit_codes=(None,)),
    Cause("crashed", "Jupyter crashed with exit code {exit_code}",
          "a compiled package is broken, or was built for another type of node",
          "read the job's output, or use another environment: `{again} --env DIR`",
          states=_FAILED, exit_codes=(132, 134, 135, 136, 139)),
    Cause("told-to-end", "Jupyter was terminated (SIGTERM)", _KILL, _AGAIN,
          states=_FAILED, exit_codes=(143,)),
    Cause("shut-down", "Jupyter was shut down from the browser", "you used File > Shut Down",
          _AGAIN, states=_DONE, exit_codes=(0,),
          line=r"\[I [^\]]+\] Shutting down on /api/shutdown request\."),
    Cause("ended-itself", "Jupyter ended without an error", _KILL, _AGAIN,
          states=_DONE, exit_codes=(0,)),
)  # fmt: skip

NAMING = frozenset(word for cause in CAUSES for word in cause.states) - set(_DONE)
"""States of Slurm that name the cause."""


_VALUES = {
    "again": "slurm-nb submit --again JOBID",
    "mem": "SIZE",
    "time": "TIME",
    "node": "NODE",
    "exclude": " --exclude NODE",
    "who": "USER",
    "exit_code": "NUMBER",
    "cure": "see the next line of the message",
}


def rows() -> list[tuple[str, str, str]]:
    """Return message, cause and cure for the docs, values in uppercase."""
    shown = [
        (
            f"`{each.text}`".format(found=each.example, **_VALUES),
            each.why,
            each.cure.format(**_VALUES),
        )
        for each in CAUSES
    ]
    return list(dict.fromkeys(shown))
