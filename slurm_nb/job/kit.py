"""Install the kit, slurm_nb/kit, for jobs: in the state directory, under its content hash.

STATE/kits/HASH/                 0700
  SHA256SUMS                     0600, in the format of sha256sum; HASH is its SHA-256
  slurm_nb_kit/...               0700 and 0600, the files of slurm_nb/kit

So an upgrade does not change the kit of a pending job.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path

from slurm_nb.errors import UserError
from slurm_nb.files import cannot_write

PACKAGE = "slurm_nb_kit"
"""The name of slurm_nb/kit on the compute node."""
_SOURCE = Path(__file__).parents[1] / "kit"
_KEPT_S = 30 * 86400  # since the last use
_SUMS = "SHA256SUMS"
_SUFFIXES = (".py", ".js", ".sh")
_NAME = re.compile(r"[0-9a-f]{64}")
_ASIDE = re.compile(r"[0-9a-f]{64}\.\d+\.(new|old)")
# Writing or removing a kit takes a moment; an older directory was left by a killed process.
_ASIDE_S = 600.0


def digest() -> str:
    """Return the content hash of the installed kit."""
    return _sha256(_files()[_SUMS])


def install(kits: Path) -> Path:
    """Install the kit in the directory `kits`, unless it exists, and return its own directory.

    Installs all of it or nothing, and replaces a damaged kit, which jobs would reject. Raises
    `UserError` if the disk refuses.
    """
    folder = kits / digest()
    try:
        _touch(folder)
        if not is_sound(folder):
            _replace(folder)
    except OSError as error:
        hint = "set SLURM_NB_HOME to another directory"
        raise cannot_write(folder, error, hint=hint) from error
    return folder


def is_sound(folder: Path) -> bool:
    """Return whether a directory contains exactly the kit of its name, besides Python's cache."""
    try:
        names = {str(path.relative_to(folder)) for path in _inside(folder)}
        sums = (folder / _SUMS).read_bytes()
        expected = dict(line.split("  ")[::-1] for line in sums.decode().splitlines())
        return (
            _sha256(sums) == folder.name
            and names == {_SUMS, *expected}
            and all(_sha256((folder / name).read_bytes()) == expected[name] for name in expected)
        )
    except (OSError, ValueError):
        return False


def prune(state_dir: Path) -> None:
    """Remove kits that no job names and nobody used for 30 days, and incomplete ones.

    The scripts in `jobs` name the kits of jobs that slurm-nb submitted. A session that the user
    submitted with sbatch has a file that names its kit.
    """
    paths: list[Path] = []
    with suppress(OSError):
        paths = list((state_dir / "kits").iterdir())
    for path in paths:
        if _ASIDE.fullmatch(path.name) and _age_s(path) > _ASIDE_S:
            shutil.rmtree(path, ignore_errors=True)
    old = [path for path in paths if _NAME.fullmatch(path.name) and _age_s(path) > _KEPT_S]
    named = _named(state_dir) if old else set()
    for path in old:
        if path.name in named:
            _touch(path)  # in use; check again in 30 days
        else:
            _remove(path)


def _remove(folder: Path) -> None:
    """Remove a kit, unless a submission starts to use it at this moment."""
    aside = folder.with_name(f"{folder.name}.{os.getpid()}.old")
    with suppress(OSError):
        folder.rename(aside)
        if _age_s(aside) > _KEPT_S:
            shutil.rmtree(aside, ignore_errors=True)
        else:
            aside.rename(folder)


def _named(state_dir: Path) -> set[str]:
    """Return the hashes in job scripts and in the records of jobs."""
    named: set[str] = set()
    for pattern in ("jobs/*_submission.sh", "jobs/.submission_file_*", "sessions/*/*/kit"):
        for path in state_dir.glob(pattern):
            with suppress(OSError):
                named |= set(_NAME.findall(path.read_text(encoding="utf-8", errors="replace")))
    return named


def _replace(folder: Path) -> None:
    """Replace `folder` with a complete kit, unless another submission has just done so."""
    fresh, aside = (
        folder.with_name(f"{folder.name}.{os.getpid()}.{end}") for end in ("new", "old")
    )
    try:
        _write(fresh)
        if not _moved(fresh, folder) and not is_sound(folder):  # a damaged kit is in the way
            with suppress(FileNotFoundError):
                folder.rename(aside)
            _moved(fresh, folder)
        if not is_sound(folder):
            raise UserError(
                f"{folder}: its files differ from what slurm-nb wrote",
                hint="check the disk and its free space: df -h",
            )
    finally:
        for path in (fresh, aside):
            shutil.rmtree(path, ignore_errors=True)


def _moved(fresh: Path, folder: Path) -> bool:
    """Rename a directory, and return whether nothing was in the way."""
    try:
        fresh.rename(folder)
    except OSError as error:
        if error.errno in {errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR}:
            return False
        raise
    _sync(folder.parent)
    return True


def _write(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    for name, content in _files().items():
        path = folder / name
        for parent in reversed(path.relative_to(folder).parents):
            (folder / parent).mkdir(mode=0o700, exist_ok=True)
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        if path.suffix == ".py":  # for Python's cache; Python would use the job's umask
            (path.parent / "__pycache__").mkdir(mode=0o700, exist_ok=True)
    for path in (folder, *folder.rglob("*")):
        if path.is_dir():
            _sync(path)


@cache
def _files() -> dict[str, bytes]:
    """Return the installed files of the kit by path, including their checksums."""
    files = {
        f"{PACKAGE}/{path.relative_to(_SOURCE)}": path.read_bytes()
        for path in sorted(_SOURCE.rglob("*"))
        if path.suffix in _SUFFIXES
    }
    sums = "".join(f"{_sha256(text)}  {name}\n" for name, text in files.items())
    return {**files, _SUMS: sums.encode()}


def _inside(folder: Path) -> Iterator[Path]:
    """Yield the files below a directory, without Python's cache."""
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            if path.name != "__pycache__":
                yield from _inside(path)
        else:
            yield path


def _sha256(content: bytes) -> str:
    import hashlib  # noqa: PLC0415  it loads OpenSSL, and `list` only prunes

    return hashlib.sha256(content).hexdigest()


def _age_s(path: Path) -> float:
    try:
        return time.time() - path.lstat().st_mtime
    except OSError:
        return 0.0


def _touch(path: Path) -> None:
    with suppress(OSError):  # it does not exist, or the disk is read-only
        os.utime(path)


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
