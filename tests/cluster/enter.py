"""Runs one command inside a host as one of its users.

A program, not a module of the package: `python3 -I enter.py INITPID USER CWD MODE COMMAND...`, with
the command's environment as its own. MODE is `session` (the command leads a session of its own),
`terminal` (the same, with stdin as its controlling terminal) or `foreground` (it stays in the
caller's session).

This is nsenter(1) and setpriv(1) in one, because nsenter forks for a PID namespace and dies of a
signal without passing it on. Here INT, TERM, HUP and the like reach the command's whole process
group as a Ctrl-C would; if this program is killed, the command is killed too; and it ends like the
command.
"""

import ctypes
import fcntl
import os
import pwd
import signal
import sys
import termios
import warnings  # noqa: F401  os.execvpe imports it, when /usr may be another Debian's

# Numbers of <linux/sched.h> and <linux/prctl.h>.
CLONE_NEWNS, CLONE_NEWUTS, CLONE_NEWIPC = 0x00020000, 0x04000000, 0x08000000
CLONE_NEWPID, CLONE_NEWNET = 0x20000000, 0x40000000
PR_SET_PDEATHSIG = 1

FORWARDED = (
    signal.SIGINT,
    signal.SIGTERM,
    signal.SIGHUP,
    signal.SIGQUIT,
    signal.SIGUSR1,
    signal.SIGUSR2,
)


def enter(libc: ctypes.CDLL, init_pid: int) -> None:
    """Move this process into all the namespaces of a host (setns(2) with a pidfd, Linux 5.8)."""
    pidfd = os.pidfd_open(init_pid)
    flags = CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWPID | CLONE_NEWNET
    if libc.setns(pidfd, flags) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"setns: {os.strerror(number)}")
    os.close(pidfd)


def become(user: str) -> None:
    """Take the user's ids and groups as the host's own /etc/passwd and /etc/group say."""
    entry = pwd.getpwnam(user)
    if entry.pw_uid != 0:
        os.initgroups(user, entry.pw_gid)
        os.setgid(entry.pw_gid)
        os.setuid(entry.pw_uid)


def start(libc: ctypes.CDLL, user: str, cwd: str, mode: str, command: list[str]) -> None:
    """Run the command in the child; end with it or with exit code 127."""
    try:
        if mode != "foreground":
            os.setsid()
        if mode == "terminal":
            os.fchown(0, pwd.getpwnam(user).pw_uid, -1)
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)
        become(user)
        # After setuid, which clears it.
        libc.prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
        os.umask(0o022)
        os.chdir(cwd)
        # Ignored signals stay ignored across exec: by Python, or by a script's `&` and nohup.
        for number in (signal.SIGPIPE, signal.SIGXFSZ, *FORWARDED):
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        os.execvpe(command[0], command, os.environ)  # noqa: S606  without a shell is the point
    except (OSError, KeyError) as error:
        sys.stderr.write(f"enter.py: {command[0]}: {error}\n")
        sys.stderr.flush()
    os._exit(127)


def end_as(status: int) -> None:
    """End this process as a wait status says: the same exit code or the same signal."""
    code = os.waitstatus_to_exitcode(status)
    if code >= 0:
        sys.exit(code)
    if -code != signal.SIGKILL:
        signal.signal(-code, signal.SIG_DFL)
    os.kill(os.getpid(), -code)
    sys.exit(128 - code)  # only after a signal that does not kill


def main() -> None:
    init_pid, user, cwd, mode, *command = sys.argv[1:]
    libc = ctypes.CDLL(None, use_errno=True)
    signal.pthread_sigmask(signal.SIG_BLOCK, FORWARDED)
    enter(libc, int(init_pid))
    child = os.fork()
    if child == 0:
        start(libc, user, cwd, mode, command)
    for number in FORWARDED:
        if mode == "foreground":
            signal.signal(number, signal.SIG_IGN)
        else:
            signal.signal(number, lambda received, _: _forward(child, received))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, FORWARDED)
    _, status = os.waitpid(child, 0)
    end_as(status)


def _forward(child: int, number: int) -> None:
    try:
        os.killpg(child, number)
    except ProcessLookupError:
        os.kill(child, number)  # it has not made its own group yet, or is ending


if __name__ == "__main__":
    main()
