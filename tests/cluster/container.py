"""Apptainer, which of Debian only sid has, and images made with debootstrap, all below /srv.

Apptainer is unpacked with the programs and libraries that it needs, and patchelf makes it use
those: sid's C library is newer than the hosts'. Unpacked, it finds its files next to itself, and
runs without privileges, in a user namespace. There is no FUSE for users in the namespaces, so it
unpacks an image file (SIF) to run it.
"""

import hashlib
import platform
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from .cluster import Cluster
from .host import run_here
from .release import cache_folder, locked
from .software import copy_tree

APPTAINER_BIN = "/srv/apptainer/usr/bin"
_PROGRAM_PACKAGES = ("apptainer", "squashfs-tools")
_LIBRARY_PACKAGES = (
    "libc6", "libseccomp2", "libsqlite3-0", "zlib1g",
    "liblzo2-2", "liblz4-1", "liblzma5", "libzstd1", "libxxhash0",
)  # fmt: skip
_LIBRARIES = "/srv/apptainer/lib"
_PROGRAMS = (
    "usr/bin/apptainer", "usr/lib/x86_64-linux-gnu/apptainer/bin/starter",
    "usr/bin/mksquashfs", "usr/bin/unsquashfs",
)  # fmt: skip
_KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
_TIMEOUT_S = 600.0


def place_apptainer(cluster: Cluster) -> None:
    """Put apptainer at APPTAINER_BIN."""
    key = hashlib.sha256("\n".join([*_PROGRAM_PACKAGES, *_LIBRARY_PACKAGES]).encode()).hexdigest()
    copy_tree(_cached(f"apptainer-{key[:16]}", _unpack_apptainer), cluster.state / "srv/apptainer")


def place_image(cluster: Cluster) -> str:
    """Make an image directory with Debian's Python and /srv/venv's Jupyter; return its path."""
    copy_tree(_debian(cluster), cluster.state / "srv/image")
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
    """Remove its many files, which the end of a cluster has no time for on a busy machine."""
    shutil.rmtree(cluster.state / "srv/image")


def place_image_file(cluster: Cluster, user: str) -> str:
    """Make an image file (SIF) with only Debian's Python, as `user`, and return its path.

    Needs `place_apptainer`.
    """
    cached = cache_folder() / f"image-{cluster.release.name}.sif"
    path = "/srv/python.sif"
    if not cached.exists():
        tree, folder = cluster.state / "srv/python-image", cluster.state / "srv/making"
        copy_tree(_debian(cluster), tree)
        folder.mkdir()
        folder.chmod(0o1777)
        # From a directory of another user apptainer 1.4.5 can not: "operation not permitted".
        pack = "mksquashfs /srv/python-image x.squashfs -noI -noD -noF -quiet -no-progress"
        build = ["bash", "-ec", f"{pack} && apptainer build x.sif x.squashfs"]
        env = {"PATH": f"{APPTAINER_BIN}:/usr/bin:/bin"}
        node = cluster.hosts["c1"]
        node.run(build, user=user, cwd="/srv/making", env=env, timeout_s=_TIMEOUT_S)
        shutil.copy(folder / "x.sif", cached.with_suffix(".building"))
        cached.with_suffix(".building").rename(cached)
        shutil.rmtree(folder)
        shutil.rmtree(tree)
    shutil.copy(cached, cluster.state / path[1:])
    return path


def _debian(cluster: Cluster) -> Path:
    """Return a minimal Debian of the cluster's release, whose Python is that of /srv/venv."""
    release = cluster.release.name
    return _cached(f"image-{release}", lambda folder: _bootstrap(release, folder))


def _cached(name: str, make: Callable[[Path], None]) -> Path:
    cached = cache_folder() / name
    with locked(cache_folder() / f"{name}.lock"):
        if not cached.exists():
            building = cached.with_suffix(".building")
            shutil.rmtree(building, ignore_errors=True)
            building.mkdir()
            make(building)
            building.rename(cached)
    return cached


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
        # A mirror may keep a sid that is out of date; it is only unpacked here.
        "Acquire::Check-Valid-Until": "false",
    }
    apt = ["apt-get", "-qq", *(f"-o{name}={value}" for name, value in options.items())]
    _run([*apt, "update"])
    _run([*apt, "download", *_PROGRAM_PACKAGES, *_LIBRARY_PACKAGES], cwd=downloads)
    libraries = folder / "lib"
    for archive in downloads.glob("*.deb"):
        is_program = archive.name.partition("_")[0] in _PROGRAM_PACKAGES
        target = folder if is_program else downloads / "root"
        _run(["dpkg-deb", "-x", str(archive), str(target)])
    shutil.copytree(
        downloads / "root/usr/lib" / f"{platform.machine()}-linux-gnu", libraries, symlinks=True
    )
    loader = next(libraries.glob("ld-linux*")).name
    for program in _PROGRAMS:
        patch = ["--set-interpreter", f"{_LIBRARIES}/{loader}", "--force-rpath"]
        _run(["patchelf", *patch, "--set-rpath", _LIBRARIES, str(folder / program)])
    # Both programs search for these next to themselves.
    for prefix in ("usr", "usr/lib"):
        shutil.copytree(folder / "etc", folder / prefix / "etc")
        (folder / prefix / "var/lib/apptainer/mnt/session").mkdir(parents=True)
    shutil.rmtree(downloads)


def _bootstrap(release: str, folder: Path) -> None:
    script = ["debootstrap", "--variant=minbase", "--include=python3", release, str(folder)]
    _run([*script, _mirror()])


def _mirror() -> str:
    """Where this machine gets Debian from."""
    form = "$(REPO_URI) $(LABEL)"
    targets = _run(["apt-get", "indextargets", "--format", form, "Created-By: Packages"])
    return next(line.split()[0] for line in targets.splitlines() if line.endswith(" Debian"))


def _run(command: Sequence[str], cwd: Path | None = None) -> str:
    return run_here(command, timeout_s=_TIMEOUT_S, cwd=cwd)
