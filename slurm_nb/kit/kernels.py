"""Makes the Jupyter server run kernels on UNIX sockets and without a debugger."""

from __future__ import annotations

import contextlib
import ipaddress
import os
from typing import Any, Callable, List, Set

from . import processes, self_check
from .security.run_dir import RunDir

# The user can set an option on any of these, and one on a subclass takes precedence.
KERNEL_MANAGERS = (
    "ConnectionFileMixin", "KernelManager", "AsyncKernelManager", "IOLoopKernelManager",
    "AsyncIOLoopKernelManager", "ServerKernelManager",
)  # fmt: skip
# Jupyter's messaging protocol 5.4, without debug_request: debugpy listens on a loopback port
# without authentication.
MESSAGES_BUT_DEBUG = [
    "execute_request", "inspect_request", "complete_request", "history_request",
    "is_complete_request", "comm_info_request", "kernel_info_request", "connect_request",
    "shutdown_request", "interrupt_request", "input_reply", "comm_open", "comm_msg", "comm_close",
    "create_subshell_request", "delete_subshell_request", "list_subshell_request",
    "usage_request",
]  # fmt: skip
_KERNEL_BINDS_WITHIN_S = 60.0
_EXPOSED_AFTER_S = 10.0
_LISTENS = "0A"
_CONTAINERS = ("apptainer", "singularity", "docker", "podman", "shifter", "enroot", "srun")
_LAUNCHER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "kernel_launcher.py")


def configure(c: Any, *, allow_debugger: bool) -> None:
    """Put kernels on UNIX sockets, and block the debugger unless --allow-debugger is given."""
    for name in KERNEL_MANAGERS:
        c[name].transport = "ipc"
    if not allow_debugger:
        for name in ("MappingKernelManager", "AsyncMappingKernelManager"):
            c[name].allowed_message_types = MESSAGES_BUT_DEBUG


def _change_specs(manager: Any, *, allow_debugger: bool) -> None:
    """Start ipykernel with the kit's launcher, and hide the debugger if it is blocked."""
    get_kernel_spec = manager.get_kernel_spec
    get_all_specs = manager.get_all_specs

    def one(kernel_name: str) -> Any:
        spec = get_kernel_spec(kernel_name)
        spec.argv = _launched_by_kit(spec.argv)
        if not allow_debugger:
            spec.metadata = {**spec.metadata, "debugger": False}
        return spec

    def every() -> Any:
        specs = get_all_specs()
        if not allow_debugger:
            for each in specs.values():
                each["spec"]["metadata"] = {**each["spec"].get("metadata", {}), "debugger": False}
        return specs

    manager.get_kernel_spec, manager.get_all_specs = one, every


def _launched_by_kit(argv: List[str]) -> List[str]:
    """Return `python -m ipykernel_launcher ...` with the kit's launcher; other commands unchanged.

    A command that starts a container is one of those: the container does not contain the kit.
    """
    python = bool(argv) and os.path.basename(argv[0]).startswith("python")
    for at in range(1, min(len(argv) - 1, 4)):
        if python and argv[at] == "-m" and argv[at + 1] in ("ipykernel_launcher", "ipykernel"):
            return [*argv[:at], _LAUNCHER, *argv[at + 2 :]]
    return list(argv)


def offer(app: Any, folder: str) -> None:
    """Make the kernels in `folder` override others of the same name; see preflight.py."""
    if os.path.isdir(folder):
        specs = app.kernel_spec_manager
        specs.kernel_dirs = [folder, *specs.kernel_dirs]


def watch(
    app: Any, run_dir: RunDir, *, allow_debugger: bool, notice: Callable[[str], None]
) -> None:
    """Start kernels only in the job's own directory, and report one without UNIX sockets there."""
    _change_specs(app.kernel_spec_manager, allow_debugger=allow_debugger)
    manager = app.kernel_manager
    for name in KERNEL_MANAGERS:  # with ipc, `ip` is the first part of the sockets' path
        for config in (app.config, manager.config):
            if name in config:
                config[name].pop("ip", None)
    start_kernel = manager.start_kernel

    async def start(*args: Any, **kwargs: Any) -> Any:
        _check_directory(run_dir)
        kernel_id = await start_kernel(*args, **kwargs)
        kernel = manager.get_kernel(kernel_id)
        if kernel.transport != "ipc":
            await manager.shutdown_kernel(kernel_id, now=True)
            raise RuntimeError(
                "slurm-nb: other users could access this kernel: it does not support ipc"
            )
        if os.path.dirname(os.path.abspath(kernel.ip)) != os.path.abspath(app.runtime_dir):
            await manager.shutdown_kernel(kernel_id, now=True)
            raise RuntimeError("slurm-nb: other users could access this kernel's sockets")
        if run_dir.flaw():
            await manager.shutdown_kernel(kernel_id, now=True)
            _check_directory(run_dir)
        _check_restarts(kernel, run_dir)
        app.io_loop.call_later(_EXPOSED_AFTER_S, _stop_if_exposed, app, kernel_id, notice)
        app.io_loop.call_later(_KERNEL_BINDS_WITHIN_S, _check, app, kernel_id, notice)
        # Jupyter gives up on a kernel that keeps dying.
        manager.add_restart_callback(kernel_id, lambda: _report(app, kernel, notice), "dead")
        return kernel_id

    manager.start_kernel = start


def _check_directory(run_dir: RunDir) -> None:
    flaw = run_dir.flaw()
    if flaw:
        raise RuntimeError("slurm-nb: " + flaw)


def _check_restarts(kernel: Any, run_dir: RunDir) -> None:
    """Check the directory before each restart; Jupyter writes the connection file before both."""
    write_connection_file = kernel.write_connection_file

    def write(**kwargs: Any) -> None:
        if run_dir.flaw():
            kernel.stop_restarter()  # it would try again for ever
        _check_directory(run_dir)
        write_connection_file(**kwargs)

    kernel.write_connection_file = write


def _check(app: Any, kernel_id: str, notice: Callable[[str], None]) -> None:
    if kernel_id in app.kernel_manager.list_kernel_ids() and not _stop_if_exposed(
        app, kernel_id, notice
    ):
        _report(app, app.kernel_manager.get_kernel(kernel_id), notice)


def _stop_if_exposed(app: Any, kernel_id: str, notice: Callable[[str], None]) -> bool:
    """Stop a kernel that listens to the network instead of on its UNIX sockets.

    Its own configuration or command can make it ignore the connection file. On the loopback
    interface, the kernel's key still protects it. Return whether it was stopped.
    """
    manager = app.kernel_manager
    if kernel_id not in manager.list_kernel_ids():
        return False
    kernel = manager.get_kernel(kernel_id)
    exposed = [] if _is_bound(kernel) else _network_listeners(_pid(kernel))
    if not exposed:
        return False
    app.io_loop.add_callback(manager.shutdown_kernel, kernel_id, now=True)
    notice(
        "slurm-nb stopped kernel %s, because it listens on %s instead of its UNIX sockets: remove"
        " its own connection file or address from its kernel.json or configuration"
        % (kernel.kernel_name, exposed[0])
    )
    return True


def _is_bound(kernel: Any) -> bool:
    return os.path.exists("%s-%d" % (kernel.ip, kernel.shell_port))


def _pid(kernel: Any) -> int:
    """Return the id of a kernel's process; 0 if it has none on this node."""
    return getattr(getattr(kernel, "provisioner", None), "pid", None) or 0


def _network_listeners(leader: int) -> List[str]:
    """Return the addresses, other than loopback, where processes of a login session listen."""
    held: Set[int] = set()
    for pid, inodes in processes.of_user().items() if leader else ():
        with contextlib.suppress(OSError):  # it has ended
            if os.getsid(pid) == leader:
                held.update(inodes or ())
    return sorted(
        row.address
        for inode, row in (self_check.inet_sockets("tcp") if held else {}).items()
        if inode in held and row.state == _LISTENS and not _is_loopback(row.address)
    )


def _is_loopback(address: str) -> bool:
    host = ipaddress.ip_address(address.rpartition(":")[0].strip("[]"))
    return (getattr(host, "ipv4_mapped", None) or host).is_loopback


def _report(app: Any, kernel: Any, notice: Callable[[str], None]) -> None:
    """Report a kernel that has no UNIX socket, and say what to do."""
    if _is_bound(kernel):
        return
    argv = app.kernel_spec_manager.get_kernel_spec(kernel.kernel_name).argv
    programs = {os.path.basename(word) for word in argv}.intersection(_CONTAINERS)
    text = "kernel %s does not listen on its UNIX sockets" % kernel.kernel_name
    if programs:
        folder = os.path.dirname(os.path.abspath(kernel.ip))
        text += "; make %s visible inside %s, for example with --bind" % (folder, min(programs))
    else:
        text += (
            "; slurm-nb allows no TCP, because other users on the node could connect to it: use a"
            " kernel that supports ZeroMQ's ipc, or check in the log why the kernel ended"
        )
    notice(text)
