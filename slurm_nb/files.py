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

_LONGEST_TRUSTED = 4 << 20
SECRETS = ("token", "open.html")
"""Files of a session's directory that contain its token."""


class NotRegularError(OSError):
    """The path is a pipe, a device or a socket instead of a file."""

    def __init__(self) -> None:
        super().__init__(errno.EINVAL, "it is not a regular file")


def open_regular(path: str | Path, flags: int = os.O_RDONLY) -> int:
    """Return a descriptor of a regular file; never wait for a pipe, never read a device.

    A link is followed unless `flags` has O_NOFOLLOW. Raise `OSError`, for something other than a
    file `NotRegularError`.
    """
    handle = os.open(path, flags | os.O_NONBLOCK | os.O_NOCTTY, 0o600)
    mode = os.fstat(handle).st_mode
    if not stat.S_ISREG(mode):
        os.close(handle)
        raise (
            IsADirectoryError(errno.EISDIR, "Is a directory")
            if stat.S_ISDIR(mode)
            else NotRegularError
        )
    return handle


def read_small(path: Path, longest: int) -> bytes:
    """Return the content of a regular file. Raise `OSError`, or `ValueError` if it is too long."""
    with open(open_regular(path), "rb") as file:
        size = os.fstat(file.fileno()).st_size  # room for `longest` would be made for each file
        data = file.read(min(size, longest) + 1)
    if len(data) > longest:
        raise ValueError("too long")
    return data


def user_name(uid: int | None = None) -> str:
    """Return the name of an account, by default the one that runs this program.

    Ignores environment variables. The name of an unknown account is `user 1234`.
    """
    uid = os.geteuid() if uid is None else uid
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"


def check_home() -> None:
    """Raise `UserError` if HOME is not a directory for the user's files."""
    home = os.environ.get("HOME")
    if home is None and os.path.expanduser("~") == "~":  # noqa: PTH111  pathlib raises
        raise UserError(
            f"HOME is not set, and user {os.geteuid()} has no home directory on this host",
            hint="set it: export HOME=DIR, a directory that login and compute nodes share",
        )
    if home is not None and not Path(home).is_absolute():
        raise UserError(
            f"HOME is {home!r}, which is not an absolute path",
            hint=wrong_home() or "set it to your home directory: export HOME=DIR",
        )


def wrong_home() -> str:
    """Return a cure if HOME is not the user's home directory, else an empty text."""
    with suppress(KeyError):
        home = pwd.getpwuid(os.geteuid()).pw_dir
        if os.environ.get("HOME", home) != home and Path(home).is_dir():
            return (
                f"HOME is {os.environ['HOME']}, but your home directory is {home}:"
                f" export HOME={shlex.quote(home)}"
            )
    return ""


def write_private(path: Path, text: str) -> None:
    """Write the whole 0600 file or nothing. Raises `UserError` if writing fails."""
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
    if error.errno == errno.EFBIG:
        return UserError(
            f"cannot write {path}: your shell limits the size of a file (ulimit -f)",
            hint="raise the limit: ulimit -S -f unlimited",
        )
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
        handle = open_regular(path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW)
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
        hint = wrong_home() or "set SLURM_NB_HOME to a directory that login and compute nodes share"
        raise cannot_write(folder, error, hint=hint) from error


def check_above(folder: Path) -> None:
    """Raise `UserError` if somebody else could replace `folder` with another directory.

    The users and groups in SLURM_NB_TRUST are accepted.
    """
    found = [(place, *_changers(place)) for place in folder.resolve().parents]
    problems = [(place, who, words) for place, who, words in found if words]
    if not problems:
        return
    texts = [f"{place} {words}" for place, _, words in problems]
    hint = "set SLURM_NB_HOME to a directory in your home"
    if all(who for _, who, _ in problems):
        known = os.environ.get("SLURM_NB_TRUST", "").replace(",", " ").split()
        trust = ",".join(dict.fromkeys([*known, *(who for _, who, _ in problems)]))
        hint = (
            f"if you trust them with your sessions: export SLURM_NB_TRUST={shlex.quote(trust)};"
            " otherwise set SLURM_NB_HOME to a directory that only you can change"
        )
    raise UserError(f"{'; '.join(texts)}: they could replace {folder}", hint=hint)


def accepted_above(folder: Path) -> list[str]:
    """Return whom SLURM_NB_TRUST accepts, a sentence for each directory that they can change."""
    accepted = []
    for place in folder.resolve().parents:
        _, words = _changers(place, ask=False)
        if words and not _changers(place)[1]:
            accepted.append(f"{place} {words}")
    return accepted


def _changers(place: Path, *, ask: bool = True) -> tuple[str, str]:
    """Return who else can change a directory, as SLURM_NB_TRUST names them, and in words.

    Nobody: two empty texts; any user: the first one is empty. ask: leave out whom the user trusts.
    """
    status = place.stat()
    mode = stat.S_IMODE(status.st_mode)
    users, groups = _trusted() if ask else (frozenset[int](), frozenset[int]())
    if status.st_uid not in {0, os.geteuid(), *users}:
        outside = status.st_uid == _overflow_uid()
        whose = "a user outside this container" if outside else _account(status.st_uid)
        return _account(status.st_uid), f"belongs to {whose}"
    if mode & stat.S_ISVTX:
        return "", ""
    if mode & 0o002:
        return "", "can be changed by every user"
    if mode & 0o020 and status.st_gid not in groups and not _has_group_alone(status.st_gid):
        return f"@{_group(status.st_gid)}", f"can be changed by the group {_group(status.st_gid)}"
    return "", ""


def _trusted() -> tuple[frozenset[int], frozenset[int]]:
    """Return the ids of users and groups in SLURM_NB_TRUST: `pi @lab`; raises `UserError`."""
    users, groups = set(), set()
    for word in os.environ.get("SLURM_NB_TRUST", "").replace(",", " ").split():
        name = word.removeprefix("@")
        try:
            if name != word:
                groups.add(int(name) if name.isdecimal() else grp.getgrnam(name).gr_gid)
            else:
                users.add(int(name) if name.isdecimal() else pwd.getpwnam(name).pw_uid)
        except KeyError as error:
            raise UserError(
                f"SLURM_NB_TRUST: there is no {'group' if name != word else 'user'} {name!r}",
                hint="write users by name and groups after an @: SLURM_NB_TRUST=pi,@lab",
            ) from error
    return frozenset(users), frozenset(groups)


def _account(uid: int) -> str:
    return user_name(uid).removeprefix("user ")


def _group(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)


def _overflow_uid() -> int:
    """Return the uid that a user namespace shows for users it does not know; -1 outside of one."""
    try:
        inside = Path("/proc/self/uid_map").read_text(encoding="ascii").split()
        number = int(Path("/proc/sys/kernel/overflowuid").read_text(encoding="ascii"))
    except (OSError, ValueError):
        return -1
    return -1 if inside == ["0", "0", "4294967295"] else number


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
                hint=f"chmod go-w {place}; or copy the file to your own directory; or, for a group"
                " that you trust: export SLURM_NB_TRUST=@GROUP",
            )


def _is_own_group(gid: int) -> bool:
    """Return whether a group is the user, or one that the user trusts."""
    return _has_group_alone(gid) or gid in _trusted()[1]


def _has_group_alone(gid: int) -> bool:
    """Return whether a group is the user's, as many systems create one (useradd(8))."""
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
            if status.st_size > _LONGEST_TRUSTED:
                raise UserError(f"{path}: is too long")
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
            problem = "is a link" if kind == stat.S_IFLNK else "is not a regular file"
            if status.st_uid != os.geteuid():
                problem = "belongs to another user"
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
