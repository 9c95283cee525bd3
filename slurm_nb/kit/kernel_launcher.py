"""Starts ipykernel with its inbound pipe on a UNIX socket.

ipykernel receives the output of forked children on a PULL socket, which it binds to a TCP port on
the loopback interface (ipykernel 6 and 7, iostream.py, IOPubThread). Any user on the node could
push text to it. The kernel's interpreter runs this file instead of `python -m ipykernel_launcher`.
The interpreter may be old: standard library, pyzmq and ipykernel only, no annotations.
"""

import os
import sys

_HERE = os.path.dirname(os.path.abspath(__file__))
# Python would find the kit's files first, but the imports below must be the user's packages.
sys.path[:] = [path for path in sys.path if path != _HERE]

import contextlib  # noqa: E402
import pathlib  # noqa: E402
import signal  # noqa: E402
import tempfile  # noqa: E402
import threading  # noqa: E402

import zmq  # noqa: E402
from ipykernel import iostream, kernelapp  # noqa: E402

_HOLD_S = 5.0
_PORT = 1  # ipykernel believes that this is the port; nothing listens on it


def _pipe_path():
    """Return a short path next to the connection file, in a 0700 directory."""
    given = [word for flag, word in zip(sys.argv, sys.argv[1:]) if flag == "-f"]
    folder = os.path.dirname(os.path.abspath(given[0])) if given else tempfile.mkdtemp()
    return os.path.join(folder, "kernel-pipe-%d" % os.getpid())


@contextlib.contextmanager
def _in_place(name, method):
    original = getattr(zmq.Socket, name)
    setattr(zmq.Socket, name, method)
    try:
        yield
    finally:
        setattr(zmq.Socket, name, original)


def _pipe_to_socket():
    path = "ipc://" + _pipe_path()
    thread = iostream.IOPubThread
    set_up_in = thread._setup_pipe_in
    set_up_out = thread._setup_pipe_out
    connect = zmq.Socket.connect

    def bind(self, _address, *_args, **_kwargs):
        self.bind(path)
        return _PORT

    def connect_out(self, address):
        return connect(self, path if address.endswith(":%d" % _PORT) else address)

    def pipe_in(self):
        with _in_place("bind_to_random_port", bind):
            return set_up_in(self)

    def pipe_out(self):
        with _in_place("connect", connect_out):
            return set_up_out(self)

    thread._setup_pipe_in = pipe_in
    thread._setup_pipe_out = pipe_out


def _history_to_node(folder):
    """Keep the history in `folder`, unless the user's configuration names a file.

    IPython 7 to 9, core/history.py.
    """
    from IPython.core.history import HistoryManager  # noqa: PLC0415  not every kernel has it

    def name(_self, _profile=None):
        return pathlib.Path(folder, "history.sqlite")

    HistoryManager._get_hist_file_name = name


def _hold_term():
    """Give the server time to request a clean shutdown, which runs the atexit handlers.

    At the time limit, and when a job is cancelled, Slurm sends SIGTERM to every process of the
    job, so a kernel would be dead before the server's request arrives. A second SIGTERM ends the
    kernel at once.
    """
    if not hasattr(os, "register_at_fork"):  # Python before 3.7
        return
    here = threading.local()

    def hold(_number, _frame):
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        late = threading.Timer(_HOLD_S, os.kill, (os.getpid(), signal.SIGTERM))
        late.daemon = True
        late.start()

    # SIGTERM still ends a child at once: Pool.terminate of multiprocessing relies on it. The signal
    # is blocked until the child has removed the handler, because Python would drop it.
    def block():
        here.mask = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])

    def unblock():
        signal.pthread_sigmask(signal.SIG_SETMASK, here.mask)

    def forget():
        if signal.getsignal(signal.SIGTERM) is hold:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
        unblock()

    signal.signal(signal.SIGTERM, hold)
    os.register_at_fork(before=block, after_in_parent=unblock, after_in_child=forget)


if __name__ == "__main__":
    _hold_term()
    if os.environ.get("SLURM_NB_HISTORY_DIR"):
        _history_to_node(os.environ["SLURM_NB_HISTORY_DIR"])
    try:
        _pipe_to_socket()
    except AttributeError:  # this ipykernel has another pipe
        pass
    kernelapp.launch_new_instance()
