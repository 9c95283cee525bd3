"""Private files and directories of the user, and checks that they are private."""

from __future__ import annotations

import errno
import grp
import os
import pwd
import shlex
import stat
from collections.abc import Collection, Iterator
from contextlib import suppress
from itertools import chain
from pathlib import Path

from slurm_nb.errors import UserError

SECRETS = ("token", "open.html")
"""Files of a session's directory that contain its token."""


def user_name(uid: int | None = None) -> str:
    """Return the name of an account, by default the one that runs this program.

    Ignores environment variables. The name of an unknown account is `user 1234`.
    """
    uid = os.geteuid() if uid is None else uid
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"


def write_private(path: Path, text: str) -> None:
    """Write the whole 0600 file or nothing. Raises `UserError` if the disk refuses."""
    fresh = path.with_name(f"{path.name}.{os.getpid()}.new")
    try:
        fresh.unlink(missing_ok=True)
        with open(
            os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8"
        ) as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
    except OSError as error:
        with suppress(OSError):  # a read-only disk refuses that too
            fresh.unlink()
        raise cannot_write(path, error) from error


def cannot_write(path: Path, error: OSError, *, hint: str = "") -> UserError:
    """Return the error for a file or directory that cannot be written."""
    if error.errno not in {errno.ENOSPC, errno.EDQUOT}:
        return UserError(f"cannot write {path}: {error.strerror}", hint=hint)
    where = "your home directory is" if _is_on_home(path) else f"the disk of {path.parent} is"
    full = "full, or you have reached your quota"
    return UserError(f"{where} {full}", hint="delete files there; check with: df -h, quota -s")


def _is_on_home(path: Path) -> bool:
    """Return whether a path is in the home directory, and on its disk."""
    try:
        home = Path("~").expanduser()
        return path.is_relative_to(home) and path.parent.stat().st_dev == home.stat().st_dev
    except (OSError, RuntimeError):
        return False


def touch_private(path: Path) -> None:
    """Create an empty 0600 file, or set that mode on an existing one. Raises `UserError`."""
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        os.fchmod(handle, 0o600)
        os.close(handle)
    except OSError as error:
        raise cannot_write(path, error) from error


def refresh_nfs(folder: Path) -> None:
    """Make NFS read `folder` again: opening a directory revalidates its cached entries.

    Seen in Open OnDemand, session.rb, `connect_file`.
    """
    try:
        os.close(os.open(folder, os.O_RDONLY | os.O_DIRECTORY))
    except OSError:
        return


def check_directory_is_ours(folder: Path, names: frozenset[str]) -> None:
    """Raise `UserError` if others may enter the directory and it has files besides `names`."""
    try:
        closed = stat.S_IMODE(folder.stat().st_mode) == 0o700
        foreign = [path.name for path in folder.iterdir() if path.name not in names]
    except OSError:
        return  # does not exist yet, or the next step fails
    if foreign and not closed:
        raise UserError(
            f"{folder} contains other files ({foreign[0]}) and is open to other users",
            hint="set SLURM_NB_HOME to a separate directory",
        )


def make_private(folder: Path) -> None:
    """Create a 0700 directory if it does not exist. Raises `UserError`."""
    try:
        _make(folder)
        status, link = folder.stat(), folder.lstat()
        if {status.st_uid, link.st_uid} != {os.geteuid()}:
            raise UserError(
                f"{folder}, or a link in its place, belongs to another user",
                hint="set SLURM_NB_HOME to your own directory",
            )
        if stat.S_IMODE(status.st_mode) != 0o700:
            folder.chmod(0o700)
    except OSError as error:
        hint = "set SLURM_NB_HOME to a directory that login and compute nodes share"
        raise cannot_write(folder, error, hint=hint) from error


def check_parent(folder: Path) -> None:
    """Raise `UserError` if another user could replace our directory.

    On many systems every user has a private group, which counts as the user (useradd(8),
    USERGROUPS_ENAB).
    """
    status = folder.stat()
    mode = stat.S_IMODE(status.st_mode)
    group = mode & 0o020 and not _is_own_group(status.st_gid)
    if status.st_uid not in {0, os.geteuid()}:
        problem = "belongs to another user"
    elif (mode & 0o002 or group) and not mode & stat.S_ISVTX:
        problem = "is writable by other users"
    else:
        return
    raise UserError(
        f"{folder} {problem}, so the state directory in it is not safe",
        hint="set SLURM_NB_HOME to a directory in your home",
    )


def check_only_owner_can_write(path: Path) -> None:
    """Raise `UserError` if users other than its owner and root could change `path`.

    Checks both the path of a link and its target.
    """
    real = path.resolve()
    for place in dict.fromkeys((path, *path.parents, real, *real.parents)):
        try:
            status = place.stat()
        except OSError as error:
            raise UserError(f"cannot read {place}: {error.strerror}") from error
        mode = stat.S_IMODE(status.st_mode)
        sticky = mode & stat.S_ISVTX and place not in {path, real}
        group = mode & 0o020 and not _is_own_group(status.st_gid)
        if (mode & 0o002 or group) and not sticky:
            raise UserError(
                f"{path} is not safe: other users can change {place}",
                hint=f"chmod go-w {place}; or copy the file to your own directory",
            )


def _is_own_group(gid: int) -> bool:
    try:
        group = grp.getgrgid(gid)
    except KeyError:
        return False
    return group.gr_name == user_name() and set(group.gr_mem) <= {user_name()}


def read_trusted(path: Path, owners: Collection[int]) -> str | None:
    """Return the text of a file that belongs to one of `owners`; None if it does not exist.

    Raises `UserError` if it belongs to somebody else, if others may change it, or if reading it
    fails.
    """
    try:
        # A pipe must not block; some editors write a byte order mark.
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK), encoding="utf-8-sig") as file:
            status = os.fstat(file.fileno())
            mode = stat.S_IMODE(status.st_mode)
            if not stat.S_ISREG(status.st_mode):
                raise UserError(f"{path}: is not a file")
            if status.st_uid not in owners:
                names = " or ".join(user_name(uid) for uid in sorted(owners))
                raise UserError(
                    f"{path} belongs to {user_name(status.st_uid)}, so slurm-nb does not read it",
                    hint=f"it must belong to {names}",
                )
            group = mode & 0o020 and status.st_gid != 0 and not _is_own_group(status.st_gid)
            if mode & 0o002 or group:
                raise UserError(
                    f"other users can change {path}, so slurm-nb does not read it",
                    hint=f"check its contents, then run: chmod go-w {shlex.quote(str(path))}",
                )
            return file.read()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
    except ValueError as error:
        raise UserError(f"{path}: is not UTF-8 text") from error


def _make(folder: Path) -> None:
    """Create a directory and its parents with mode 0700, regardless of the umask."""
    if not folder.is_dir():
        if not folder.parent.is_dir():
            _make(folder.parent)
        folder.mkdir(mode=0o700, exist_ok=True)


def check_private(folder: Path) -> None:
    """Raise `UserError` if anyone else can change `folder` or its files."""
    # This runs for each of a thousand sessions, so it makes no Path for each file.
    for path in chain((str(folder.parent), str(folder)), _inside(folder)):
        try:
            status = os.lstat(path)
        except FileNotFoundError:  # replaced by another slurm-nb just now
            continue
        kind = stat.S_IFMT(status.st_mode)
        secret = path.rpartition("/")[2] in SECRETS
        if status.st_uid != os.geteuid() or kind not in {stat.S_IFDIR, stat.S_IFREG}:
            problem = "is a link or belongs to another user"
        elif stat.S_IMODE(status.st_mode) & (0o077 if secret else 0o022):
            problem = "is open to other users"
        else:
            continue
        raise UserError(
            f"{path} {problem}, so slurm-nb does not trust this session",
            hint=f"cancel the job with `scancel {folder.name}`, then remove {folder}",
        )


def _inside(folder: Path) -> Iterator[str]:
    """Yield the paths in a directory; nothing if it is not one. Raises `UserError`."""
    try:
        with os.scandir(folder) as found:
            yield from [entry.path for entry in found]
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        raise UserError(f"cannot read {folder}: {error.strerror}") from error
