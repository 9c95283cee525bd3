"""Runs inside the Jupyter server: kernels over UNIX sockets, and without a debugger."""

from __future__ import annotations

import os
from typing import Any, Callable, List

# Any of these may carry a setting of the user's, and one on a subclass would win.
KERNEL_MANAGERS = (
    "ConnectionFileMixin", "KernelManager", "AsyncKernelManager", "IOLoopKernelManager",
    "AsyncIOLoopKernelManager", "ServerKernelManager",
)  # fmt: skip
# Jupyter's messaging protocol 5.4, without debug_request: debugpy would listen on a loopback
# port that asks nobody who they are.
MESSAGES_BUT_DEBUG = [
    "execute_request", "inspect_request", "complete_request", "history_request",
    "is_complete_request", "comm_info_request", "kernel_info_request", "connect_request",
    "shutdown_request", "interrupt_request", "input_reply", "comm_open", "comm_msg", "comm_close",
    "create_subshell_request", "delete_subshell_request", "list_subshell_request",
    "usage_request",
]  # fmt: skip
_KERNEL_BINDS_WITHIN_S = 60.0
_LAUNCHER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "kernel_launcher.py")


def configure(c: Any, *, allow_debugger: bool) -> None:
    """Put kernels on UNIX sockets, and let none start a debugger unless it is allowed."""
    for name in KERNEL_MANAGERS:
        c[name].transport = "ipc"
    if not allow_debugger:
        for name in ("MappingKernelManager", "AsyncMappingKernelManager"):
            c[name].allowed_message_types = MESSAGES_BUT_DEBUG


def _change_specs(manager: Any, *, allow_debugger: bool) -> None:
    """Start ipykernel by the kit's launcher, and offer no debugger that would not be answered."""
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
    """`python -m ipykernel_launcher ...` with the kit's launcher; any other command as it is.

    Not within a container, which does not see the kit.
    """
    python = bool(argv) and os.path.basename(argv[0]).startswith("python")
    for at in range(1, min(len(argv) - 1, 4)):
        if python and argv[at] == "-m" and argv[at + 1] in ("ipykernel_launcher", "ipykernel"):
            return [*argv[:at], _LAUNCHER, *argv[at + 2 :]]
    return list(argv)


def watch(app: Any, *, allow_debugger: bool, notice: Callable[[str], None]) -> None:
    """Report a kernel that does not come to the UNIX sockets that it was given."""
    _change_specs(app.kernel_spec_manager, allow_debugger=allow_debugger)
    manager = app.kernel_manager
    for name in KERNEL_MANAGERS:  # with ipc, the beginning of the sockets' path
        for config in (app.config, manager.config):
            if name in config:
                config[name].pop("ip", None)
    start_kernel = manager.start_kernel

    async def start(*args: Any, **kwargs: Any) -> Any:
        kernel_id = await start_kernel(*args, **kwargs)
        kernel = manager.get_kernel(kernel_id)
        if kernel.transport != "ipc":
            await manager.shutdown_kernel(kernel_id, now=True)
            raise RuntimeError("slurm-nb: this kernel would be open to others: it can't do ipc")
        if os.path.dirname(os.path.abspath(kernel.ip)) != os.path.abspath(app.runtime_dir):
            await manager.shutdown_kernel(kernel_id, now=True)
            raise RuntimeError("slurm-nb: this kernel's sockets would be open to others")
        app.io_loop.call_later(_KERNEL_BINDS_WITHIN_S, _check, app, kernel_id, notice)
        return kernel_id

    manager.start_kernel = start


def _check(app: Any, kernel_id: str, notice: Callable[[str], None]) -> None:
    if kernel_id not in app.kernel_manager.list_kernel_ids():
        return
    kernel = app.kernel_manager.get_kernel(kernel_id)
    if not os.path.exists("%s-%d" % (kernel.ip, kernel.shell_port)):
        notice(
            "kernel %s does not listen on UNIX sockets and can't be used here: others on the"
            " node could read what it does" % kernel.kernel_name
        )
