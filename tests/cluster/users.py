"""The users of the cluster: generated files alone, so none ever exists on the real machine."""

import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class User:
    """An ordinary user."""

    name: str
    uid: int
    """Also the id of the user's own group."""
    folder: str = ""
    """Below /home; empty: the name."""
    login_shell: str = "/bin/bash"

    @property
    def home(self) -> str:
        """The home folder: `/home/alice`."""
        return f"/home/{self.folder or self.name}"


ALICE = User("alice", 21001)
"""The owner of the sessions; on login, c1 and c2."""
MALLORY = User("mallory", 21002)
"""A stranger on the same hosts."""
LEA = User("lea", 21003)
"""Alice at their laptop: owns one ssh key that can log in as alice."""

ZOE = User("zoe", 21004, folder="o'näme space")
"""Alice with a different home."""
ZARA = User("zara", 21005, login_shell="/usr/bin/zsh")
FIA = User("fia", 21006, login_shell="/usr/bin/fish")
TESS = User("tess", 21007, login_shell="/usr/bin/tcsh")
"""Alice with a different login shell."""

OWNERS = (ALICE, ZOE, ZARA, FIA, TESS)
"""The users that lea's key can log in as."""
CLUSTER_USERS = (*OWNERS, MALLORY)
LAPTOP_USERS = (LEA,)

_ORDINARY_IDS = range(1000, 60000)
"""The ids that Debian does not reserve for the system."""

_PROFILE = 'PATH="/srv/venv/bin:$PATH"\n'


def users_of(host: str) -> Sequence[User]:
    """Return the ordinary users that a host knows."""
    return LAPTOP_USERS if host == "laptop" else CLUSTER_USERS


def account_files(host: str, root: Path) -> dict[str, str]:
    """Return the texts of a host's passwd, group and shadow.

    They contain the system accounts of the Debian at `root`, then ours.
    """
    users = users_of(host)
    passwd = _system_lines(root / "etc/passwd")
    group = _system_lines(root / "etc/group")
    for user in users:
        passwd.append(
            f"{user.name}:x:{user.uid}:{user.uid}:{user.name}:{user.home}:{user.login_shell}"
        )
        group.append(f"{user.name}:x:{user.uid}:")
    # "*": no password. "!" would be a locked account, which sshd without PAM refuses.
    shadow = [f"{line.split(':')[0]}:*:20000:0:99999:7:::" for line in passwd]
    return {
        "passwd": "\n".join(passwd) + "\n",
        "group": "\n".join(group) + "\n",
        "shadow": "\n".join(shadow) + "\n",
    }


def _system_lines(path: Path) -> list[str]:
    """Return the lines of the accounts or groups that do not belong to ordinary users."""
    lines = path.read_text("utf-8", errors="replace").splitlines()
    fields = [line.split(":") for line in lines]
    ours = {user.name for user in (*CLUSTER_USERS, *LAPTOP_USERS)}
    return [
        line
        for line, parts in zip(lines, fields, strict=True)
        if parts[2:] and parts[2].isdigit()  # name, password, id
        if int(parts[2]) not in _ORDINARY_IDS and parts[0] not in ours
    ]


def home_of(name: str) -> str:
    """Return the home folder of a user of any host."""
    homes = {user.name: user.home for user in (*CLUSTER_USERS, *LAPTOP_USERS)}
    return homes.get(name, "/root" if name == "root" else f"/home/{name}")


def make_homes(cluster_home: Path, laptop_home: Path, known_hosts: str) -> None:
    """Fill the two /home folders.

    known_hosts: the text of every user's ~/.ssh/known_hosts.
    """
    folders = {}
    for parent, users in ((cluster_home, CLUSTER_USERS), (laptop_home, LAPTOP_USERS)):
        parent.mkdir(mode=0o755)
        for user in users:
            folders[user] = parent / Path(user.home).name
            _make_home(folders[user], user, known_hosts)
    keys = {user: (folders[user] / ".ssh/id_ed25519.pub").read_text("ascii") for user in folders}
    for user in CLUSTER_USERS:
        text = keys[user] + (keys[LEA] if user in OWNERS else "")
        _write(folders[user] / ".ssh/authorized_keys", text, user, 0o600)


def _make_home(home: Path, user: User, known_hosts: str) -> None:
    ssh = home / ".ssh"
    ssh.mkdir(parents=True)
    keygen(ssh / "id_ed25519", f"{user.name}@{'laptop' if user in LAPTOP_USERS else 'login'}")
    _write(ssh / "known_hosts", known_hosts, user, 0o600)
    _write(home / ".profile", _PROFILE, user, 0o644)
    for path in (home, ssh, ssh / "id_ed25519", ssh / "id_ed25519.pub"):
        os.chown(path, user.uid, user.uid)
    # adduser's default; so what protects a user's files is their own modes.
    home.chmod(0o755)
    ssh.chmod(0o700)


def keygen(path: Path, comment: str) -> None:
    """Make an ed25519 key without a passphrase, and its public half next to it."""
    command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", str(path)]
    subprocess.run(command, check=True, capture_output=True, timeout=20)


def _write(path: Path, text: str, user: User, mode: int) -> None:
    path.write_text(text, encoding="utf-8")
    path.chmod(mode)
    os.chown(path, user.uid, user.uid)
