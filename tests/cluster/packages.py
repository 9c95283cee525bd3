"""Debian packages unpacked rather than installed: for a single host, or for what conflicts here."""

import shutil
from pathlib import Path

from .cluster import Cluster
from .host import Host, run_here
from .release import cache_folder

_DOWNLOAD_S = 300.0


def place_package(cluster: Cluster, package: str) -> Path:
    """Unpack a package of this machine's Debian release as /srv/PACKAGE, without its dependencies.

    Return the path as the hosts see it.
    """
    cached = cache_folder() / "packages" / package
    if not cached.exists():
        building = cached.with_suffix(".building")
        shutil.rmtree(building, ignore_errors=True)
        building.mkdir(parents=True)
        # As root apt-get warns that its own user can't write here.
        download = ["apt-get", "download", "-o", "APT::Sandbox::User=root", package]
        run_here(download, timeout_s=_DOWNLOAD_S, cwd=building)
        (archive,) = building.glob("*.deb")
        unpack = ["dpkg-deb", "-x", str(archive), str(building)]
        run_here(unpack, timeout_s=_DOWNLOAD_S)
        archive.unlink()
        building.rename(cached)
    target = cluster.state / "srv" / package
    if not target.exists():
        shutil.copytree(cached, target, symlinks=True)
    return Path("/srv") / package


def install_on(host: Host, package: Path) -> None:
    """Lay a placed package's /usr and /etc/profile.d over those of one host, until it ends."""
    root = f"/srv/{package.name}"
    lower = f"lowerdir={root}/usr:/usr"
    host.run(["mount", "-t", "overlay", "overlay", "-o", lower, "/usr"])
    host.run(["mount", "--bind", f"{root}/etc/profile.d", "/etc/profile.d"])


def remove_from(host: Host) -> None:
    """Take them away again; what runs there keeps what it has open."""
    host.run(["umount", "--lazy", "/etc/profile.d"])
    host.run(["umount", "--lazy", "/usr"])
