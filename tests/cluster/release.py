"""Which Debian's Slurm and Python the cluster runs: this machine's own, or one by debootstrap.

A host of another release is a host like any other whose /usr and /etc are that release's: all
programs lie below /usr since /bin, /lib and /sbin are links into it. So paths of the machine
(the tests, the caches, pip's indexes) are the same on both, and /etc is replaced in the hosts only.
"""

import fcntl
import hashlib
import os
import platform
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

RELEASES = ("bookworm", "trixie", "sid")
"""Slurm 22.05, 24.11 and (in November 2026) 26.05, with Python 3.11, 3.13 and 3.14."""

_PACKAGES = (
    "slurmctld", "slurmd", "slurm-client", "slurm-wlm-basic-plugins", "munge",
    "slurmdbd", "mariadb-server",
    "openssh-server", "openssh-client", "openssl", "netcat-openbsd",
    "python3", "python3-venv", "procps", "iproute2", "util-linux",
    "zsh", "fish", "tcsh", "locales",
    "lua5.3", "lua-filesystem", "lua-json", "lua-posix", "lua-term", "tcl",
)  # fmt: skip
_BUILD_S = 900.0
_DEBOOTSTRAP = 'umask 022 && exec debootstrap --variant=minbase --include="$1" "$2" "$3" "$4"'


class ReleaseError(Exception):
    """A release could not be fetched; the text says why, with the end of debootstrap's log."""


@dataclass(frozen=True)
class Release:
    """A Debian release."""

    name: str
    """Its code name: `trixie`."""
    root: Path
    """Where its file tree is: `/` for this machine's own."""

    @property
    def foreign(self) -> bool:
        """Whether it differs from the release of this machine."""
        return self.root != Path("/")

    def mounts(self) -> list[list[str]]:
        """Return arguments of mount(8) that make a mount namespace look like this release."""
        if not self.foreign:
            return []
        return [["--bind", str(self.root / folder), f"/{folder}"] for folder in ("etc", "usr")]


def own_release() -> str:
    """Return the code name of the Debian that this machine runs; empty if it has none."""
    try:
        return platform.freedesktop_os_release().get("VERSION_CODENAME", "")
    except OSError:
        return ""


def ensure_release(name: str) -> Release:
    """Return the release of a name, fetched with debootstrap unless the cache has it.

    It stays in the cache until somebody removes it, sid too. Raise `ReleaseError` if that fails.
    """
    if name == own_release():
        return Release(name, Path("/"))
    if name not in RELEASES:
        raise ReleaseError(f"no release {name}; there are {', '.join(RELEASES)}")
    text = "\n".join([platform.machine(), *_PACKAGES])
    key = f"{name}-{hashlib.sha256(text.encode()).hexdigest()[:16]}"
    root = cache_folder() / key
    with locked(cache_folder() / f"{key}.lock"):
        if not root.exists():
            _build(name, root)
    return Release(name, root)


def cache_folder() -> Path:
    """Return the folder that the test cluster keeps: ${XDG_CACHE_HOME:-~/.cache}/slurm-nb-tests."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(base) / "slurm-nb-tests"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a file's lock: one builds, the others wait and find it built."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _build(name: str, root: Path) -> None:
    """Fetch a release below a name that nothing else uses, then move it into place at once."""
    if shutil.which("debootstrap", path=f"{os.environ.get('PATH', '')}:/usr/sbin") is None:
        raise ReleaseError("the program debootstrap is missing (Debian: debootstrap)")
    building = root.with_suffix(".building")
    # Left by a crash; whatever was mounted there went with its mount namespace.
    subprocess.run(["rm", "-rf", "--one-file-system", str(building)], check=True, timeout=120)
    packages = ",".join(_PACKAGES)
    log = root.with_suffix(".log")
    with log.open("wb") as output:
        # debootstrap mounts /proc and /sys; in a mount namespace of its own none can stay behind.
        build = ["unshare", "--mount", "--", "sh", "-c", _DEBOOTSTRAP, "sh", packages]
        process = subprocess.Popen(
            [*build, name, str(building), _mirror()],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            code: int | None = process.wait(_BUILD_S)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, 9)
            code = process.wait()
    if code != 0:
        lines = log.read_text("utf-8", errors="replace").splitlines()[-15:]
        raise ReleaseError("\n".join([f"debootstrap of {name} ended with {code}", *lines]))
    shutil.rmtree(building / "var/cache/apt", ignore_errors=True)
    for file in ("hosts", "hostname", "passwd", "group", "shadow"):
        (building / "etc" / file).touch()  # a bind mount needs something to lie upon
    building.rename(root)


def _mirror() -> str:
    """Return the URL from which this machine's apt gets Debian."""
    asked = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages",
         "Label: Debian"],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    if asked.returncode != 0 or not asked.stdout.strip():
        raise ReleaseError("apt knows no Debian mirror; run apt-get update and try again")
    return asked.stdout.split()[0]
