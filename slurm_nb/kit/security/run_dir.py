"""Recognises whether the job's directory on the node is still the one that the job created.

A program that cleans /tmp may remove it during a long session. Any user can then create another
directory of this name, and kernels would read their connection files there.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
import threading
import time
from typing import List, NamedTuple, Sequence

_RENEW_EVERY_S = 600.0


class _Folder(NamedTuple):
    path: str
    handle: int


class RunDir:
    """The job's directory, and others that must stay private with it."""

    def __init__(self, path: str, others: Sequence[str] = ()) -> None:
        """Hold the directories open, so that no other one gets the same inode."""
        self._folders: List[_Folder] = []
        for each in (path, *others):
            flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
            self._folders.append(_Folder(each, os.open(each, flags)))
        self.handle = self._folders[0].handle
        # systemd-tmpfiles does not clean a directory that it cannot lock (tmpfiles.c).
        with contextlib.suppress(OSError):
            fcntl.flock(self.handle, fcntl.LOCK_SH | fcntl.LOCK_NB)

    @property
    def anchored(self) -> str:
        """A path that leads to this directory even if its name belongs to another one."""
        return "/proc/%d/fd/%d" % (os.getpid(), self.handle)

    def flaw(self) -> str:
        """Return a sentence if another user may have replaced a directory; empty if none could."""
        for folder in self._folders:
            if not _is_intact(folder):
                return (
                    "%s was removed or replaced, so this session can no longer start kernels or"
                    " show pages: save your notebooks, and start another session" % folder.path
                )
        return ""

    def keep(self) -> None:
        """Renew the times of all files regularly, as long as this process runs."""

        def renew() -> None:
            while True:
                self.renew()
                time.sleep(_RENEW_EVERY_S)

        threading.Thread(target=renew, daemon=True).start()

    def renew(self) -> None:
        """Renew the times of all files, because cleaners remove what looks old."""
        for _, folders, files, handle in os.fwalk(".", dir_fd=self.handle):
            for name in (".", *folders, *files):
                with contextlib.suppress(OSError):
                    os.utime(name, dir_fd=handle, follow_symlinks=False)


def _is_intact(folder: _Folder) -> bool:
    try:
        named, held = os.lstat(folder.path), os.fstat(folder.handle)
    except OSError:
        return False
    is_private = named.st_uid == os.geteuid() and not stat.S_IMODE(named.st_mode) & 0o077
    return is_private and os.path.samestat(named, held)
