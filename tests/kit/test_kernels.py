"""Kernels use UNIX sockets and have no debugger; a kernel that cannot is reported."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from traitlets.config import Config
from traitlets.utils.importstring import import_item

from slurm_nb.kit import kernels
from slurm_nb.kit.security.run_dir import RunDir

MANAGERS = [
    "jupyter_client.manager.KernelManager",
    "jupyter_client.manager.AsyncKernelManager",
    "jupyter_client.ioloop.manager.IOLoopKernelManager",
    "jupyter_client.ioloop.manager.AsyncIOLoopKernelManager",
    "jupyter_server.services.kernels.kernelmanager.ServerKernelManager",
]
MAPPINGS = [
    "jupyter_server.services.kernels.kernelmanager.MappingKernelManager",
    "jupyter_server.services.kernels.kernelmanager.AsyncMappingKernelManager",
]


def configured(config: Config | None = None, *, allow_debugger: bool = False) -> Config:
    c = Config() if config is None else config
    kernels.configure(c, allow_debugger=allow_debugger)
    return c


# --- settings ---


@pytest.mark.parametrize("path", MANAGERS)
def test_every_kernel_manager_uses_unix_sockets(path: str) -> None:
    """A configuration that asks for TCP is overridden, in every class that starts kernels."""
    own = Config()
    for name in ("ConnectionFileMixin", *(each.rpartition(".")[2] for each in MANAGERS)):
        own[name].transport = "tcp"

    manager = import_item(path)(config=configured(own))

    assert manager.transport == "ipc"


def test_every_class_with_the_transport_setting_is_configured() -> None:
    """This includes classes between the server's kernel manager and the first one."""
    mro = import_item(MANAGERS[-1]).mro()
    carrying = {each.__name__ for each in mro if hasattr(each, "transport")}

    c = configured()

    assert {name for name in carrying if c[name].get("transport") != "ipc"} == set()


@pytest.mark.parametrize("path", MAPPINGS)
def test_debugger_messages_are_never_passed_on(path: str) -> None:
    """The server drops the request that starts debugpy, even if the user has allowed it."""
    own = Config()
    for name in ("MappingKernelManager", "AsyncMappingKernelManager"):
        own[name].allowed_message_types = ["debug_request"]

    allowed = import_item(path)(config=configured(own)).allowed_message_types

    assert allowed
    assert "debug_request" not in allowed


def test_every_other_message_of_the_protocol_is_passed_on() -> None:
    """Notebooks need these; an empty list would let everything through."""
    allowed = import_item(MAPPINGS[1])(config=configured()).allowed_message_types

    assert {
        "execute_request", "inspect_request", "complete_request", "history_request",
        "is_complete_request", "comm_info_request", "kernel_info_request", "shutdown_request",
        "interrupt_request", "input_reply", "comm_open", "comm_msg", "comm_close",
    } <= set(allowed)  # fmt: skip


@pytest.mark.parametrize("path", MAPPINGS)
def test_allow_debugger_lets_debugger_messages_through(path: str) -> None:
    """The list is then the user's own; kernels stay on UNIX sockets."""
    c = configured(allow_debugger=True)

    assert import_item(path)(config=c).allowed_message_types == []
    assert c.KernelManager.transport == "ipc"


# --- the bug icon ---


def a_spec(**metadata: Any) -> SimpleNamespace:
    argv = ["/opt/py/bin/python3", "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    return SimpleNamespace(metadata=metadata, argv=argv)


def server(folder: Path, *, transport: str = "ipc") -> Any:
    """Return the parts of a ServerApp that the kit uses; `later` collects its delayed calls."""
    kernel = SimpleNamespace(
        transport=transport, ip=str(folder / "ipc"), shell_port=1, kernel_name="their-kernel"
    )
    app = SimpleNamespace(notices=[], gives_up=[], later=[], stopped=[], kernels={"k1": kernel})
    kernel.write_connection_file = lambda **kwargs: app.written.append(kwargs)
    kernel.stop_restarter = lambda: app.given_up.append(True)
    app.written, app.given_up = [], []
    app.config, app.runtime_dir = Config(), str(folder)
    app.io_loop = SimpleNamespace(call_later=lambda *args: app.later.append(args))
    app.kernel_spec_manager = SimpleNamespace(
        get_kernel_spec=lambda name: a_spec(debugger=True, name=name),
        get_all_specs=lambda: {
            "python3": {"spec": {"metadata": {"debugger": True, "own": 1}}},
            "bare": {"spec": {}},
        },
    )

    async def start_kernel(*args: Any, **kwargs: Any) -> str:
        app.started = (args, kwargs)
        return "k1"

    async def shutdown_kernel(kernel_id: str, **kwargs: Any) -> None:
        app.stopped.append((kernel_id, kwargs))
        app.kernels.pop(kernel_id)

    app.kernel_manager = SimpleNamespace(
        start_kernel=start_kernel,
        shutdown_kernel=shutdown_kernel,
        get_kernel=lambda kernel_id: app.kernels[kernel_id],
        list_kernel_ids=lambda: list(app.kernels),
        add_restart_callback=lambda _id, call, event: app.gives_up.append((event, call)),
        config=Config(),
    )
    return app


def watched(app: Any, *, allow_debugger: bool = False) -> Any:
    run_dir = RunDir(app.runtime_dir)
    kernels.watch(app, run_dir, allow_debugger=allow_debugger, notice=app.notices.append)
    return app


LAUNCHER = str(Path(kernels.__file__).with_name("kernel_launcher.py"))


@pytest.mark.parametrize("allow_debugger", [True, False])
def test_ipykernel_is_started_by_the_kits_launcher(tmp_path: Path, *, allow_debugger: bool) -> None:
    """The kernel's own interpreter runs it, with the kernel's own arguments."""
    manager = watched(server(tmp_path), allow_debugger=allow_debugger).kernel_spec_manager

    argv = manager.get_kernel_spec("python3").argv

    assert argv == ["/opt/py/bin/python3", LAUNCHER, "-f", "{connection_file}"]


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        ("python -m ipykernel -f {c}", f"python {LAUNCHER} -f {{c}}"),
        (
            "python3.9 -Xfrozen_modules=off -m ipykernel_launcher",
            f"python3.9 -Xfrozen_modules=off {LAUNCHER}",
        ),
        ("python3 -m bash_kernel -f {c}", None),
        ("apptainer exec x.sif python -m ipykernel_launcher -f {c}", None),
        ("/home/a/kernel.sh -m ipykernel_launcher", None),
        ("R --slave -e IRkernel::main() --args {c}", None),
        ("python -m", None),
        ("", None),
    ],
)
def test_any_other_kernel_is_started_as_its_spec_says(
    tmp_path: Path, argv: str, expected: str | None
) -> None:
    """A container does not see the kit, and other languages do not have such a launcher."""
    app = server(tmp_path)
    spec = SimpleNamespace(metadata={}, argv=argv.split())
    app.kernel_spec_manager.get_kernel_spec = lambda _name: spec

    started = watched(app).kernel_spec_manager.get_kernel_spec("x").argv

    assert started == (argv if expected is None else expected).split()


def test_no_kernel_offers_a_debugger(tmp_path: Path) -> None:
    """The page shows no bug icon; everything else in the kernel's metadata stays."""
    manager = watched(server(tmp_path)).kernel_spec_manager

    assert manager.get_kernel_spec("python3").metadata == {"debugger": False, "name": "python3"}
    specs = manager.get_all_specs()
    assert specs["python3"]["spec"]["metadata"] == {"debugger": False, "own": 1}
    assert specs["bare"]["spec"]["metadata"] == {"debugger": False}


def test_allow_debugger_keeps_the_kernels_metadata(tmp_path: Path) -> None:
    """Each kernel says for itself whether it has a debugger."""
    manager = watched(server(tmp_path), allow_debugger=True).kernel_spec_manager

    assert manager.get_kernel_spec("python3").metadata["debugger"] is True
    assert manager.get_all_specs()["python3"]["spec"]["metadata"]["debugger"] is True


def test_jupyters_own_specs_are_hidden_too(tmp_path: Path) -> None:
    """The real manager hides the debugger both by name and in its list."""
    manager = import_item("jupyter_client.kernelspec.KernelSpecManager")()
    app = SimpleNamespace(
        kernel_spec_manager=manager, kernel_manager=server(tmp_path).kernel_manager
    )

    watched(SimpleNamespace(**vars(app), notices=[], config={}, runtime_dir=str(tmp_path)))

    every = manager.get_all_specs()
    assert {each["spec"]["metadata"]["debugger"] for each in every.values()} <= {False}
    assert all(manager.get_kernel_spec(name).metadata["debugger"] is False for name in every)


# --- kernels that start ---


def start(app: Any) -> Any:
    return asyncio.run(app.kernel_manager.start_kernel("arg", kernel_name="x"))


def test_a_kernel_starts_with_the_arguments_it_was_given(tmp_path: Path) -> None:
    """Every argument is passed on, and the kernel's id is returned."""
    app = watched(server(tmp_path))

    assert start(app) == "k1"
    assert app.started == (("arg",), {"kernel_name": "x"})
    assert app.stopped == []


@pytest.mark.parametrize("transport", ["tcp", "TCP", ""])
def test_a_kernel_that_is_not_on_unix_sockets_is_stopped(tmp_path: Path, transport: str) -> None:
    """If a site's own kernel manager stays on TCP, no kernel starts, and the error says why."""
    app = watched(server(tmp_path, transport=transport))

    with pytest.raises(RuntimeError, match="slurm-nb: other users could access this kernel: "):
        start(app)

    assert app.stopped == [("k1", {"now": True})]
    assert app.later == []


@pytest.mark.parametrize("path", ["/tmp/open/ipc", "127.0.0.1", "", "../ipc"])
def test_a_kernel_whose_sockets_are_elsewhere_is_stopped(tmp_path: Path, path: str) -> None:
    """Outside the session's own directory, other users could read or replace them."""
    app = watched(server(tmp_path))
    app.kernels["k1"].ip = path

    with pytest.raises(RuntimeError, match="other users could access this kernel's sockets"):
        start(app)

    assert app.stopped == [("k1", {"now": True})]


def replaced(folder: Path) -> None:
    """Remove the session's directory, and put another user's of the same name in its place."""
    folder.rename(folder.with_name("gone"))
    folder.mkdir()
    folder.chmod(0o777)


def test_no_kernel_starts_in_a_directory_that_was_replaced(tmp_path: Path) -> None:
    """Its owner would replace the connection file, and run code in the kernel."""
    (folder := tmp_path / "run").mkdir(mode=0o700)
    app = watched(server(folder))
    replaced(folder)

    with pytest.raises(RuntimeError, match="was removed or replaced, so this session can no long"):
        start(app)

    assert not hasattr(app, "started")


def test_a_kernel_is_stopped_if_its_directory_is_replaced_during_the_start(tmp_path: Path) -> None:
    (folder := tmp_path / "run").mkdir(mode=0o700)
    app = server(folder)
    start_kernel = app.kernel_manager.start_kernel

    async def slowly(*args: Any, **kwargs: Any) -> str:
        replaced(folder)
        return str(await start_kernel(*args, **kwargs))

    app.kernel_manager.start_kernel = slowly
    with pytest.raises(RuntimeError, match="was removed or replaced"):
        start(watched(app))

    assert app.stopped == [("k1", {"now": True})]


def test_no_kernel_restarts_in_a_directory_that_was_replaced(tmp_path: Path) -> None:
    """Jupyter writes the connection file before each start, and does not try again for ever."""
    (folder := tmp_path / "run").mkdir(mode=0o700)
    app = watched(server(folder))
    start(app)
    app.kernels["k1"].write_connection_file(jupyter_session="a")
    replaced(folder)

    with pytest.raises(RuntimeError, match="was removed or replaced"):
        app.kernels["k1"].write_connection_file(jupyter_session="b")

    assert (app.written, app.given_up) == ([{"jupyter_session": "a"}], [True])


def test_jupyter_writes_the_connection_file_before_each_start(tmp_path: Path) -> None:
    """The check relies on this method of the kernel's manager."""
    manager = import_item(MANAGERS[3])(connection_file=str(tmp_path / "kernel-1.json"))
    written = []
    manager.write_connection_file = lambda **_: written.append(True)
    counts = []
    argv = [sys.executable, "-c", "input()"]
    spec = {"argv": argv, "display_name": "x", "language": "x", "metadata": {}}
    manager._kernel_spec = import_item("jupyter_client.kernelspec.KernelSpec")(**spec)  # noqa: SLF001

    async def twice() -> None:
        await manager.start_kernel()
        counts.append(len(written))
        await manager.restart_kernel(now=True)
        counts.append(len(written))
        await manager.shutdown_kernel(now=True)

    asyncio.run(twice())

    assert 0 < counts[0] < counts[1]


@pytest.mark.parametrize("name", ["KernelManager", "ConnectionFileMixin", "ServerKernelManager"])
def test_the_users_own_location_for_kernel_sockets_is_ignored(tmp_path: Path, name: str) -> None:
    """With ipc, `ip` is the prefix of their path."""
    app = server(tmp_path)
    for config in (app.config, app.kernel_manager.config):
        config[name].update(ip="0.0.0.0", shutdown_wait_time=9)  # noqa: S104  the user's mistake

    watched(app)

    assert app.config[name] == app.kernel_manager.config[name] == {"shutdown_wait_time": 9}


Prepare = Callable[[Any, Path], None]


def bound(_app: Any, folder: Path) -> None:
    (folder / "ipc-1").touch()


def gone(app: Any, _folder: Path) -> None:
    app.kernels.clear()


def neither(_app: Any, _folder: Path) -> None:
    return


@pytest.mark.parametrize(
    ("prepare", "notices"), [(bound, 0), (gone, 0), (neither, 1)], ids=["bound", "gone", "neither"]
)
def test_a_kernel_that_binds_no_socket_is_reported(
    tmp_path: Path, prepare: Prepare, notices: int
) -> None:
    """If a kernel does not bind its sockets within a minute, a notice names it; it never falls back
    to
    TCP.
    """
    app = watched(server(tmp_path))
    start(app)
    delay, check, *arguments = app.later[-1]
    prepare(app, tmp_path)

    check(*arguments)

    assert delay == 60.0
    assert len(app.notices) == notices
    assert all("their-kernel does not listen on its UNIX sockets" in text for text in app.notices)


LISTEN = """
import socket, sys, time
with socket.create_server((sys.argv[1], 0)):
    print(flush=True)
    time.sleep(60)
"""


@pytest.mark.parametrize(
    ("address", "socket_too", "stopped"),
    [("0.0.0.0", False, True), ("127.0.0.1", False, False), ("0.0.0.0", True, False)],  # noqa: S104
    ids=["network", "loopback", "a port of the user's code"],
)
def test_a_kernel_that_listens_to_the_network_is_stopped(
    tmp_path: Path, address: str, *, socket_too: bool, stopped: bool
) -> None:
    """Its command may name another connection file, and anybody on the network may read it."""
    app = watched(server(tmp_path))
    start(app)
    if socket_too:
        (tmp_path / "ipc-1").touch()
    delay, check, *arguments = app.later[0]
    words = [sys.executable, "-c", LISTEN, address]
    with subprocess.Popen(words, stdout=subprocess.PIPE, start_new_session=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"\n"
        app.kernels["k1"].provisioner = SimpleNamespace(pid=process.pid)
        app.io_loop.add_callback = lambda call, *args, **kwargs: asyncio.run(call(*args, **kwargs))
        check(*arguments)
        process.kill()

    assert delay == 10.0
    assert app.stopped == ([("k1", {"now": True})] if stopped else [])
    assert len(app.notices) == len(app.stopped)
    assert all(
        "stopped kernel their-kernel, because it listens on 0.0.0.0:" in text
        for text in app.notices
    )


@pytest.mark.parametrize(
    ("argv", "cure"),
    [
        ("their-kernel --connect {c}", "use a kernel that supports ZeroMQ's ipc"),
        ("/usr/bin/apptainer exec x.sif kernel {c}", "make {folder} visible inside apptainer"),
    ],
)
def test_a_kernel_that_keeps_dying_is_named_with_its_cure(
    tmp_path: Path, argv: str, cure: str
) -> None:
    """A kernel that supports only TCP ends at once, long before the minute is over."""
    app = server(tmp_path)
    spec = SimpleNamespace(metadata={}, argv=argv.split())
    app.kernel_spec_manager.get_kernel_spec = lambda _name: spec
    start(watched(app))
    ((event, gives_up),) = app.gives_up

    gives_up()

    assert event == "dead"
    (text,) = app.notices
    assert text.startswith("kernel their-kernel does not listen on its UNIX sockets")
    assert cure.format(folder=tmp_path) in text


def test_the_kernel_of_an_environment_comes_before_jupyters_own(tmp_path: Path) -> None:
    """It has the usual name, so it replaces the server's own kernel."""
    app = server(tmp_path)
    app.kernel_spec_manager.kernel_dirs = ["/usr/share/jupyter/kernels"]

    kernels.offer(app, str(tmp_path / "kernels"))
    before = list(app.kernel_spec_manager.kernel_dirs)
    (tmp_path / "kernels").mkdir()
    kernels.offer(app, str(tmp_path / "kernels"))

    assert before == ["/usr/share/jupyter/kernels"]
    assert app.kernel_spec_manager.kernel_dirs == [str(tmp_path / "kernels"), *before]
