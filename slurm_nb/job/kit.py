"""The kit, slurm_nb/kit, where jobs find it: in the state directory, under its content hash.

STATE/kits/HASH/                 0700
  SHA256SUMS                     0600, as sha256sum writes and checks it; HASH is its own SHA-256
  slurm_nb_kit/...               0700 and 0600, the files of slurm_nb/kit

So a job runs what it was submitted with, whatever is installed by the time it starts.
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

PACKAGE = "slurm_nb_kit"
"""The name of slurm_nb/kit on the compute node."""
_KEPT_S = 30 * 86400  # since the last use
_SUMS = "SHA256SUMS"
_SUFFIXES = (".py", ".js", ".sh")
_NAME = re.compile(r"[0-9a-f]{64}")
_ASIDE = re.compile(r"[0-9a-f]{64}\.\d+\.(new|old)")
# A kit is written, or removed, in a moment; what is older was left by a process that was killed.
_ASIDE_S = 600.0


def digest() -> str:
    """Return the content hash of the installed kit."""
    return _sha256(_files()[_SUMS])


def install(kits: Path) -> Path:
    """Put the kit into the directory `kits`, if it is not there, and return its own directory.

    It is there completely or not at all. One whose files are not what they must be is replaced:
    its name says what belongs there, and jobs that wait for it refuse it as it is. Raises
    `UserError` when the disk refuses.
    """
    folder = kits / digest()
    try:
        _touch(folder)
        if not is_sound(folder):
            _replace(folder)
    except OSError as error:
        raise UserError(
            f"{folder}: can't be written: {error.strerror}",
            hint="make room there, or set SLURM_NB_HOME to another directory",
        ) from error
    return folder


def is_sound(folder: Path) -> bool:
    """Return whether a directory holds the kit of its name and nothing else but Python's cache."""
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
    """Remove kits that nothing names and nobody used for 30 days, and what was left half-made.

    The scripts in `jobs` name the kits of jobs that slurm-nb submitted; a session whose script was
    handed to sbatch by hand has a file that names its own.
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
            _touch(path)  # in use: not to be looked for again tomorrow
        else:
            _remove(path)


def _remove(folder: Path) -> None:
    """Remove a kit, unless a submission begins to use it at this moment."""
    aside = folder.with_name(f"{folder.name}.{os.getpid()}.old")
    with suppress(OSError):
        folder.rename(aside)
        if _age_s(aside) > _KEPT_S:
            shutil.rmtree(aside, ignore_errors=True)
        else:
            aside.rename(folder)


def _named(state_dir: Path) -> set[str]:
    """The hashes in job scripts, and in what jobs note of themselves."""
    named: set[str] = set()
    for pattern in ("jobs/*_submission.sh", "jobs/.submission_file_*", "sessions/*/*/kit"):
        for path in state_dir.glob(pattern):
            with suppress(OSError):
                named |= set(_NAME.findall(path.read_text(encoding="utf-8", errors="replace")))
    return named


def _replace(folder: Path) -> None:
    """Put a complete kit in the place of `folder`, unless another submission has just done so."""
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
                f"{folder}: is not what was written there", hint="is the disk sound, and not full?"
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
        if path.suffix == ".py":  # where Python caches; it would make it by the job's umask
            (path.parent / "__pycache__").mkdir(mode=0o700, exist_ok=True)
    for path in (folder, *folder.rglob("*")):
        if path.is_dir():
            _sync(path)


@cache
def _files() -> dict[str, bytes]:
    """All files of the kit as they lie on disk, by their path; the sums among them."""
    from importlib import resources  # noqa: PLC0415  as below

    root = Path(str(resources.files("slurm_nb.kit")))
    files = {
        f"{PACKAGE}/{path.relative_to(root)}": path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.suffix in _SUFFIXES
    }
    sums = "".join(f"{_sha256(text)}  {name}\n" for name, text in files.items())
    return {**files, _SUMS: sums.encode()}


def _inside(folder: Path) -> Iterator[Path]:
    """Every file below a directory, but for what Python caches there."""
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
    with suppress(OSError):  # not there, or a disk that is read only
        os.utime(path)


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
