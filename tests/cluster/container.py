"""Apptainer, which of Debian only sid has, and an image made with debootstrap, both below /srv.

Apptainer is unpacked with the libraries that it needs, and told by patchelf to take those: sid's C
library is newer than the hosts'. Unpacked, it finds its files beside itself, and runs without
privileges, in a user namespace.
"""

import platform
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

from .bed import Cluster
from .release import cache_folder
from .software import copy_tree

APPTAINER_BIN = "/srv/apptainer/usr/bin"
_PACKAGES = ("apptainer", "libc6", "libseccomp2", "libsqlite3-0", "zlib1g")
_LIBRARIES = "/srv/apptainer/lib"
_PROGRAMS = ("usr/bin/apptainer", "usr/lib/x86_64-linux-gnu/apptainer/bin/starter")
_KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
_TIMEOUT_S = 600.0


def place_apptainer(cluster: Cluster) -> None:
    """Puts apptainer at APPTAINER_BIN."""
    _place(cluster, "apptainer", _unpack_apptainer)


def place_image(cluster: Cluster) -> str:
    """An image as a directory, with Debian's Python and the Jupyter of /srv/venv; its path."""
    _place(cluster, "image", _bootstrap)
    image, venv = cluster.state / "srv/image", cluster.state / "srv/venv"
    (site,) = venv.glob("lib/python3*/site-packages")
    packages = image / "usr/lib/python3/dist-packages"
    for source, target in (
        (site, packages),
        (venv / "share/jupyter", image / "usr/share/jupyter"),
        (venv / "etc/jupyter", image / "usr/etc/jupyter"),
    ):
        target.mkdir(parents=True, exist_ok=True)
        _run(["cp", "-a", "--link", f"{source}/.", str(target)])
    return "/srv/image"


def remove_image(cluster: Cluster) -> None:
    """Takes its many files away, for which the end of a cluster has no time on a busy machine."""
    shutil.rmtree(cluster.state / "srv/image")


def _place(cluster: Cluster, name: str, make: Callable[[Path], None]) -> None:
    cached = cache_folder() / name
    if not cached.exists():
        building = cached.with_suffix(".building")
        shutil.rmtree(building, ignore_errors=True)
        building.mkdir()
        make(building)
        building.rename(cached)
    copy_tree(cached, cluster.state / "srv" / name)


def _unpack_apptainer(folder: Path) -> None:
    downloads = folder / "downloads"
    for name in ("lists/partial", "cache/archives/partial"):
        (downloads / name).mkdir(parents=True)
    sources = downloads / "sources.list"
    sources.write_text(f"deb [signed-by={_KEYRING}] {_mirror()} sid main\n", encoding="utf-8")
    # An apt of its own: this machine's lists are not touched.
    options = {
        "Dir::Etc::SourceList": sources,
        "Dir::Etc::SourceParts": "/dev/null",
        "Dir::State::Lists": downloads / "lists",
        "Dir::Cache": downloads / "cache",
        "APT::Sandbox::User": "root",
    }
    apt = ["apt-get", "-qq", *(f"-o{name}={value}" for name, value in options.items())]
    _run([*apt, "update"])
    _run([*apt, "download", *_PACKAGES], cwd=downloads)
    libraries = folder / "lib"
    for archive in downloads.glob("*.deb"):
        target = folder if archive.name.startswith("apptainer_") else downloads / "root"
        _run(["dpkg-deb", "-x", str(archive), str(target)])
    shutil.copytree(
        downloads / "root/usr/lib" / f"{platform.machine()}-linux-gnu", libraries, symlinks=True
    )
    loader = next(libraries.glob("ld-linux*")).name
    for program in _PROGRAMS:
        patch = ["--set-interpreter", f"{_LIBRARIES}/{loader}", "--force-rpath"]
        _run(["patchelf", *patch, "--set-rpath", _LIBRARIES, str(folder / program)])
    # Both programs look for these beside themselves.
    for prefix in ("usr", "usr/lib"):
        shutil.copytree(folder / "etc", folder / prefix / "etc")
        (folder / prefix / "var/lib/apptainer/mnt/session").mkdir(parents=True)
    shutil.rmtree(downloads)


def _bootstrap(folder: Path) -> None:
    release = platform.freedesktop_os_release()["VERSION_CODENAME"]
    _run(["debootstrap", "--variant=minbase", "--include=python3", release, str(folder)])


def _mirror() -> str:
    """Where this machine gets Debian from."""
    form = "$(REPO_URI) $(LABEL)"
    targets = _run(["apt-get", "indextargets", "--format", form, "Created-By: Packages"])
    return next(line.split()[0] for line in targets.splitlines() if line.endswith(" Debian"))


def _run(command: Sequence[str], cwd: Path | None = None) -> str:
    done = subprocess.run(
        command, cwd=cwd, check=True, capture_output=True, text=True, timeout=_TIMEOUT_S
    )
    return done.stdout
