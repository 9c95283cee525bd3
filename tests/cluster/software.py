"""Python environments on the hosts: /srv/venv with the tested package, /srv/tools for the laptop.

They are built at their final path (a venv's scripts name it in their first line), with new mounts
only of /srv and, for another release, of /usr, so that pip has the real machine's network and
settings. The dependencies, which are slow, are kept as a tree in the cache folder, one per
interpreter and requirements. The laptop keeps this machine's own release, and then has a /srv of
its own.
"""

import email.parser
import hashlib
import os
import shutil
import subprocess
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .cluster import Cluster
from .host import DEBIAN_PYTHON
from .layout import laptop_srv
from .release import Release, cache_folder, ensure_release, locked, own_release

TOOLS = ("selenium>=4.30",)
OLDEST = ("notebook==7.0.0", "jupyterlab==4.0.2", "jupyter_server==2.4.0", "ipykernel")
"""The oldest Jupyter whose pages show the session."""

_INSTALL_S = 1200.0
_MARK = "placed-from"
"""In a placed venv: the key of the cached tree that it came from."""
_ONTO_SRV = 'mount --bind "$1" /srv && shift && exec "$@"'
_ONTO_USR = 'mount --bind "$1" /usr && shift && exec "$@"'


@dataclass(frozen=True)
class _Place:
    """A /srv and the release whose Python fills it."""

    srv: Path
    release: Release


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
        """Return the path of one of its programs."""
        return str(self.path / "bin" / name)


def ensure_environment(
    cluster: Cluster, wheel: Path, requirements: Sequence[str] = (), *, name: str = "venv"
) -> Environment:
    """Install a wheel, its requirements and further ones as /srv/NAME.

    This replaces an existing one. Users' PATH starts with the bin of /srv/venv. With the
    dependencies in the cache this takes seconds, without about a minute.
    """
    wheel = wheel.resolve()
    places = [_Place(cluster.state / "srv", cluster.release)]
    if cluster.release.foreign and name == "venv":  # the laptop runs nothing of another one
        places.append(_laptop(cluster))
    for place in places:
        _place(place, name, [*wheel_requirements(wheel), *requirements])
        _pip(place, name, ["--no-deps", "--force-reinstall", str(wheel)])
    return Environment(Path("/srv") / name)


def ensure_tools(cluster: Cluster, requirements: Sequence[str] = TOOLS) -> Environment:
    """Install what drives a browser on the laptop as /srv/tools."""
    _place(_laptop(cluster), "tools", requirements)
    return Environment(Path("/srv/tools"))


def ensure_oldest(cluster: Cluster) -> Environment:
    """Install the oldest Jupyter as /srv/oldest."""
    _place(_Place(cluster.state / "srv", cluster.release), "oldest", OLDEST)
    return Environment(Path("/srv/oldest"))


def wheel_requirements(wheel: Path) -> list[str]:
    """Return the Requires-Dist of a wheel without those of its extras."""
    with zipfile.ZipFile(wheel) as archive:
        name = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        text = archive.read(name).decode("utf-8")
    found = email.parser.HeaderParser().parsestr(text).get_all("Requires-Dist", [])
    return [line for line in found if "extra ==" not in line.replace("extra==", "extra ==")]


def _laptop(cluster: Cluster) -> _Place:
    """Return the laptop's /srv."""
    return _Place(cluster.state / laptop_srv(cluster.release), ensure_release(own_release()))


def _place(place: _Place, name: str, requirements: Sequence[str]) -> None:
    """Put the cached venv of these requirements at /srv/name; build it first if necessary."""
    key = _key(place.release, name, requirements)
    placed = place.srv / name / _MARK
    if placed.exists() and placed.read_text("ascii") == key:
        return
    cached = cache_folder() / key
    with locked(cache_folder() / f"{key}.lock"):
        if not cached.exists():
            _build(cached, place.release, name, requirements)
    copy_tree(cached / name, place.srv / name)
    placed.write_text(key, encoding="ascii")


def copy_tree(source: Path, target: Path) -> None:
    """Copy a tree: by hard links, or byte by byte to another file system.

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


def _build(cached: Path, release: Release, name: str, requirements: Sequence[str]) -> None:
    """Build a venv below a name that nothing else uses, then move it into place at once."""
    building = _Place(cached.with_suffix(".building"), release)
    shutil.rmtree(building.srv, ignore_errors=True)
    building.srv.mkdir(mode=0o755)
    _on_srv(building, [DEBIAN_PYTHON, "-m", "venv", f"/srv/{name}"])
    _pip(building, name, list(requirements))
    building.srv.rename(cached)


def _key(release: Release, name: str, requirements: Sequence[str]) -> str:
    tell = "import sys, platform; print(sys.version, platform.machine())"
    version = _on_srv(_Place(Path("/srv"), release), [DEBIAN_PYTHON, "-I", "-c", tell])
    text = "\n".join([version, *sorted(requirements)])
    return f"{name}-{hashlib.sha256(text.encode()).hexdigest()[:16]}"


def _pip(place: _Place, name: str, arguments: Sequence[str]) -> None:
    pip = [f"/srv/{name}/bin/python", "-m", "pip", "install", "--quiet", "--no-input"]
    _on_srv(place, [*pip, "--disable-pip-version-check", *arguments])


def _on_srv(place: _Place, command: Sequence[str]) -> str:
    """Run a command as root on the real machine, with the place's /srv and /usr; return its stdout.

    All of /etc stays the machine's: pip's settings, certificates, the resolver's.
    """
    # Nothing of a virtual environment or a coverage run that the tests may run in. The umask lets
    # ordinary users read what is installed.
    env = {name: text for name, text in os.environ.items() if not name.startswith("PYTHON")}
    env.pop("VIRTUAL_ENV", None)
    mounted = ["sh", "-c", _ONTO_SRV, "sh", str(place.srv)]
    if place.release.foreign:
        mounted = ["sh", "-c", _ONTO_USR, "sh", str(place.release.root / "usr"), *mounted]
    ended = subprocess.run(
        ["unshare", "--mount", "--", *mounted, *command],
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
    return ended.stdout
