"""Keeps SQLite files off network file systems.

SQLite's locks fail or hang there (sqlite.org/lockingv3.html).
"""

from __future__ import annotations

import os
import re
from typing import Any, Dict, Optional, Tuple

from .processes import mounts, read

FOLDER = "SLURM_NB_HISTORY_DIR"
"""The variable with the directory for the kernels' history (kernel_launcher.py)."""
_ASKED: Dict[str, str] = {}
# FUSE is one of them, because it may be sshfs or GlusterFS.
_NETWORK = re.compile(
    r"nfs\d?|lustre|gpfs|beegfs|fhgfs|ceph|cifs|smb3|smbfs|afs|panfs|wekafs|9p|pvfs2|orangefs"
    r"|ocfs2|gfs2|glusterfs|fuse(\..*)?|virtiofs|mmfs|cvmfs|dvs|prl_fs|vboxsf"
)


def configure(c: Any) -> None:
    """Keep Jupyter's SQLite files on this node if they would be on the network."""
    local = os.environ["JUPYTER_RUNTIME_DIR"]
    # Jupyter reads its configuration twice: for the server and for the page.
    notebook_dir = _ASKED.setdefault("notebook_dir", os.environ.get("SLURM_NB_NOTEBOOK_DIR", "/"))
    os.environ.pop(FOLDER, None)
    if is_network(_data_dir()):
        # The signatures of trusted notebooks, and the file ids of jupyter_server_fileid.
        c.NotebookNotary.db_file = os.path.join(local, "nbsignatures.db")
        c.BaseFileIdManager.db_path = os.path.join(local, "file_id_manager.db")
    if is_network(notebook_dir):
        # The file of jupyter-collaboration, by default in the notebook directory.
        c.SQLiteYStore.db_path = os.path.join(local, "ystore.db")
    if is_network(_ipython_dir()):
        os.environ[FOLDER] = local


def is_network(path: str, mountinfo: Optional[str] = None) -> bool:
    """Return whether `path`, or its nearest existing parent, is on a network file system.

    mountinfo: a text to use instead of /proc/self/mountinfo.
    """
    real = os.path.realpath(path)
    best: Tuple[int, str] = (-1, "")
    text = os.fsdecode(read("/proc/self/mountinfo")) if mountinfo is None else mountinfo
    for mount in mounts(text):
        inside = real == mount.point or real.startswith(mount.point.rstrip("/") + "/")
        # A later mount hides an earlier one at the same place.
        if inside and len(mount.point) >= best[0]:
            best = (len(mount.point), mount.kind)
    return _NETWORK.fullmatch(best[1]) is not None


def _data_dir() -> str:
    """Return the data directory as jupyter_core 5 does (paths.py, jupyter_data_dir)."""
    share = os.environ.get("XDG_DATA_HOME") or os.path.expanduser("~/.local/share")
    return os.environ.get("JUPYTER_DATA_DIR") or os.path.join(share, "jupyter")


def _ipython_dir() -> str:
    return os.environ.get("IPYTHONDIR") or os.path.expanduser("~/.ipython")
