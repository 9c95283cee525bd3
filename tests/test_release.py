"""Fetching another Debian release for the test cluster, with debootstrap replaced."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cluster.release import ReleaseError, ensure_release, own_release
from tests.conftest import AddProgram

OTHER = "sid" if own_release() != "sid" else "trixie"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: AddProgram) -> Path:
    """Return an empty cache folder; apt names a mirror, and mount namespaces need no root."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    program("apt-get", "echo http://mirror.test/debian/")
    program("unshare", 'shift 2; exec "$@"')
    return tmp_path / "cache/slurm-nb-tests"


def test_a_release_is_fetched_once_from_the_mirror_of_apt(cache: Path, program: AddProgram) -> None:
    """The second call finds it; debootstrap's arguments name the release and the mirror."""
    calls = cache.parent / "calls"
    program("debootstrap", f'echo "$3 $5" >>{calls}; mkdir -p "$4/etc" "$4/usr"')

    first = ensure_release(OTHER)
    second = ensure_release(OTHER)

    assert calls.read_text().split() == [OTHER, "http://mirror.test/debian/"]
    assert first == second
    assert (first.root / "etc/hostname").exists()
    assert first.mounts() == [
        ["--bind", f"{first.root}/{name}", f"/{name}"] for name in ("etc", "usr")
    ]


def test_a_failed_fetch_is_reported_with_the_end_of_the_log(
    cache: Path, program: AddProgram
) -> None:
    """Nothing half made remains under its name, so that the next run tries again."""
    program(
        "debootstrap", 'mkdir -p "$4/etc"; echo "E: Couldn\'t download packages: munge"; exit 1'
    )

    with pytest.raises(ReleaseError, match=f"debootstrap of {OTHER} ended with 1\nE: Couldn't"):
        ensure_release(OTHER)

    assert [path for path in cache.glob(f"{OTHER}-*") if not path.suffix] == []


def test_a_release_that_nobody_knows_is_refused() -> None:
    """The message names those that exist."""
    with pytest.raises(ReleaseError, match="no release buster; there are bookworm, trixie, sid"):
        ensure_release("buster")


@pytest.mark.skipif(not own_release(), reason="this machine has no release of its own to name")
def test_this_machines_own_release_is_fetched_from_nowhere() -> None:
    """Its root is the machine's, and nothing is mounted."""
    own = ensure_release(own_release())

    assert (own.root, own.foreign, own.mounts()) == (Path("/"), False, [])
