"""Python environments on the hosts: /srv/venv with the tested package, /srv/tools for the laptop.

They are built at their final path (a venv's scripts name it in their first line), with only /srv
mounted anew, so that pip has the real machine's network. What is slow, the dependencies, is kept as
a tree below ${XDG_CACHE_HOME:-~/.cache}/slurm-nb-tests, one per interpreter and requirements.
"""

import email.parser
import fcntl
import hashlib
import os
import shutil
import subprocess
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from .bed import Cluster
from .host import DEBIAN_PYTHON

TOOLS = ("selenium>=4.30",)

_INSTALL_S = 1200.0
_MARK = "placed-from"
"""In a placed venv: the key of the cached tree that it came from."""
_ONTO_SRV = 'mount --bind "$1" /srv && shift && exec "$@"'


class InstallError(Exception):
    """pip failed; the text holds its output."""


@dataclass(frozen=True)
class Environment:
    """A virtual environment as the hosts see it."""

    path: Path

    @property
    def python(self) -> str:
        return str(self.path / "bin/python")

    def program(self, name: str) -> str:
        """The path of one of its programs."""
        return str(self.path / "bin" / name)


def ensure_environment(
    cluster: Cluster, wheel: Path, requirements: Sequence[str] = ()
) -> Environment:
    """Installs a wheel, what it requires and further requirements as /srv/venv.

    Replaces what is there. Users' PATH starts with its bin. With the dependencies in the cache this
    takes seconds, without about a minute.
    """
    wheel = wheel.resolve()
    srv = cluster.state / "srv"
    _place(srv, "venv", [*wheel_requirements(wheel), *requirements])
    _pip(srv, "venv", ["--no-deps", "--force-reinstall", str(wheel)])
    return Environment(Path("/srv/venv"))


def ensure_tools(cluster: Cluster, requirements: Sequence[str] = TOOLS) -> Environment:
    """Installs what drives a browser on the laptop as /srv/tools."""
    _place(cluster.state / "srv", "tools", requirements)
    return Environment(Path("/srv/tools"))


def wheel_requirements(wheel: Path) -> list[str]:
    """The Requires-Dist of a wheel, those of its extras left out."""
    with zipfile.ZipFile(wheel) as archive:
        name = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        text = archive.read(name).decode("utf-8")
    found = email.parser.HeaderParser().parsestr(text).get_all("Requires-Dist", [])
    return [line for line in found if "extra ==" not in line.replace("extra==", "extra ==")]


def _place(srv: Path, name: str, requirements: Sequence[str]) -> None:
    """Puts the cached venv of these requirements at srv/name; builds it when there is none."""
    key = _key(name, requirements)
    placed = srv / name / _MARK
    if placed.exists() and placed.read_text("ascii") == key:
        return
    cached = _cache() / key
    with _locked(_cache() / f"{key}.lock"):
        if not cached.exists():
            _build(cached, name, requirements)
    _copy(cached / name, srv / name)
    placed.write_text(key, encoding="ascii")


def _copy(source: Path, target: Path) -> None:
    """Copies a tree: by hard links, or byte by byte to another file system.

    Only root can write to either, and both pip and Python's own cache replace files, never write
    into them; so the cache stays as it was built.
    """
    for how in ("--link", "--reflink=auto"):
        shutil.rmtree(target, ignore_errors=True)
        copy = ["cp", "-a", how, str(source), str(target)]
        copied = subprocess.run(copy, capture_output=True, timeout=_INSTALL_S, check=False)
        if copied.returncode == 0:
            return
    raise InstallError(copied.stderr.decode(errors="replace"))


def _build(cached: Path, name: str, requirements: Sequence[str]) -> None:
    """Builds a venv below a name that nobody looks at, then moves it into place at once."""
    building = cached.with_suffix(".building")
    shutil.rmtree(building, ignore_errors=True)
    building.mkdir(mode=0o755)
    _on_srv(building, [DEBIAN_PYTHON, "-m", "venv", f"/srv/{name}"])
    _pip(building, name, list(requirements))
    building.rename(cached)


def _key(name: str, requirements: Sequence[str]) -> str:
    version = subprocess.run(
        [DEBIAN_PYTHON, "-I", "-c", "import sys, platform; print(sys.version, platform.machine())"],
        check=True,
        capture_output=True,
        text=True,
        timeout=20,
    ).stdout
    text = "\n".join([version, *sorted(requirements)])
    return f"{name}-{hashlib.sha256(text.encode()).hexdigest()[:16]}"


def _cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(base) / "slurm-nb-tests"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Holds a file's lock: one builds, the others wait and find it built."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _pip(srv: Path, name: str, arguments: Sequence[str]) -> None:
    pip = [f"/srv/{name}/bin/python", "-m", "pip", "install", "--quiet", "--no-input"]
    _on_srv(srv, [*pip, "--disable-pip-version-check", *arguments])


def _on_srv(srv: Path, command: Sequence[str]) -> None:
    """Runs a command as root on the real machine, but with `srv` as its /srv."""
    # Nothing of a virtual environment or a coverage run that the tests may run in. The umask lets
    # ordinary users read what is installed.
    env = {name: text for name, text in os.environ.items() if not name.startswith("PYTHON")}
    env.pop("VIRTUAL_ENV", None)
    ended = subprocess.run(
        ["unshare", "--mount", "--", "sh", "-c", _ONTO_SRV, "sh", str(srv), *command],
        env=env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=_INSTALL_S,
        umask=0o022,
        check=False,
    )
    if ended.returncode != 0:
        raise InstallError(f"{' '.join(command)}\n{ended.stdout}\n{ended.stderr}")
