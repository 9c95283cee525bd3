"""Keeps SQLite off network file systems, where its locks fail or hang (sqlite.org/lockingv3.html).

Runs inside the Jupyter server.
"""

from __future__ import annotations

import os
import re
from typing import Any, Dict, Optional, Tuple

from .processes import mounts, read

FOLDER = "SLURM_NB_HISTORY_DIR"
"""The variable that tells kernels (kernel_launcher.py) where their history goes."""
_ASKED: Dict[str, str] = {}
# Also what can't be told apart from one: a FUSE file system may be sshfs or GlusterFS.
_NETWORK = re.compile(
    r"nfs\d?|lustre|gpfs|beegfs|fhgfs|ceph|cifs|smb3|smbfs|afs|panfs|wekafs|9p|pvfs2|orangefs"
    r"|ocfs2|gfs2|glusterfs|fuse(\..*)?|virtiofs|mmfs|cvmfs|dvs|prl_fs|vboxsf"
)


def configure(c: Any) -> None:
    """Point Jupyter's SQLite files, in `c`, to this node where they would be on the network."""
    local = os.environ["JUPYTER_RUNTIME_DIR"]
    # Jupyter reads its configuration once for the server and once for the page.
    notebook_dir = _ASKED.setdefault("notebook_dir", os.environ.get("SLURM_NB_NOTEBOOK_DIR", "/"))
    os.environ.pop(FOLDER, None)
    if is_network(_data_dir()):
        # Signatures of trusted notebooks, and jupyter_server_fileid's file ids.
        c.NotebookNotary.db_file = os.path.join(local, "nbsignatures.db")
        c.BaseFileIdManager.db_path = os.path.join(local, "file_id_manager.db")
    if is_network(notebook_dir):
        # jupyter-collaboration's, by default in the notebook directory.
        c.SQLiteYStore.db_path = os.path.join(local, "ystore.db")
    if is_network(_ipython_dir()):
        os.environ[FOLDER] = local


def is_network(path: str, mountinfo: Optional[str] = None) -> bool:
    """Whether `path`, or the nearest folder above it that exists, is on a network file system.

    mountinfo: text in place of /proc/self/mountinfo.
    """
    real = os.path.realpath(path)
    best: Tuple[int, str] = (-1, "")
    text = os.fsdecode(read("/proc/self/mountinfo")) if mountinfo is None else mountinfo
    for mount in mounts(text):
        inside = real == mount.point or real.startswith(mount.point.rstrip("/") + "/")
        # A later mount hides an earlier one of the same place.
        if inside and len(mount.point) >= best[0]:
            best = (len(mount.point), mount.kind)
    return _NETWORK.fullmatch(best[1]) is not None


def _data_dir() -> str:
    """As jupyter_core 5 finds it (paths.py, jupyter_data_dir)."""
    share = os.environ.get("XDG_DATA_HOME") or os.path.expanduser("~/.local/share")
    return os.environ.get("JUPYTER_DATA_DIR") or os.path.join(share, "jupyter")


def _ipython_dir() -> str:
    return os.environ.get("IPYTHONDIR") or os.path.expanduser("~/.ipython")
