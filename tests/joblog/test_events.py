"""slurm-nb reads only the job's own lines from its output."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from slurm_nb.joblog.events import (
    Failure,
    Progress,
    Ready,
    SessionWarning,
    Stopping,
    read_progress,
)

WHO = {"cluster": "hpc", "job_id": "7", "nonce": "5f" * 16}
STARTED = f"slurm-nb started: {json.dumps(WHO)}"
WHERE = {"node": "c1", "port": 40123, "path": "/tree"}
READY = f"slurm-nb ready: {json.dumps({**WHO, **WHERE})}"
ENDED = f"slurm-nb ended: {json.dumps({**WHO, 'exit_code': 3})}"


def progress(*lines: str, so_far: Progress | None = None) -> Progress:
    return read_progress(lines, who=WHO, so_far=so_far)


def ready_line(**changes: Any) -> str:
    return "slurm-nb ready: " + json.dumps({**WHO, **WHERE, **changes})


def test_an_empty_output_says_nothing() -> None:
    """The job has not started."""
    assert progress() == Progress(started=False, ready=None, exit_code=None)


def test_the_started_line_means_that_the_job_runs() -> None:
    """The job script writes it."""
    assert progress(STARTED) == Progress(started=True)


def test_the_ready_line_says_where_jupyter_listens() -> None:
    """It has node, port and path."""
    assert progress(STARTED, READY).ready == Ready("c1", 40123, "/tree")


def test_the_ended_line_has_the_exit_code_and_removes_the_address() -> None:
    """After the end there is no server."""
    assert progress(STARTED, READY, ENDED) == Progress(started=True, exit_code=3)


def test_lines_between_jupyters_own_are_found() -> None:
    """Jupyter's other output is ignored."""
    chatter = ["[I 2026-11-23 ServerApp] slurm-nb ready: no", "", "  " + READY, "{}"]

    assert progress(*chatter, STARTED, *chatter, READY, *chatter).ready == Ready(
        "c1", 40123, "/tree"
    )


def test_a_carriage_return_at_the_end_does_no_harm() -> None:
    """A terminal's line ends do not hide the line."""
    assert progress(READY + "\r").ready == Ready("c1", 40123, "/tree")


def test_a_requeued_run_starts_over() -> None:
    """The first run's port is void once the second run has started."""
    assert progress(STARTED, READY, ENDED, STARTED) == Progress(started=True)
    assert progress(STARTED, READY, STARTED) == Progress(started=True)


def test_the_first_ready_line_of_a_run_is_used() -> None:
    """Later output of a program in the job cannot redirect the user; a new run starts over."""
    assert progress(STARTED, READY, STARTED, ready_line(node="c2", port=5)).ready == Ready(
        "c2", 5, "/tree"
    )
    assert progress(READY, ready_line(port=41000)).ready == Ready("c1", 40123, "/tree")
    first = progress(STARTED, READY)
    assert progress(ready_line(node="c2"), so_far=first) == first
    assert progress(ready_line(port=0), READY).ready == Ready("c1", 40123, "/tree")


def test_reading_continues_from_the_known_progress() -> None:
    """Lines read in two calls mean the same as in one."""
    first = progress(STARTED)

    assert progress(READY, so_far=first) == progress(STARTED, READY)
    assert progress(so_far=first) == first


@pytest.mark.parametrize(
    "changes",
    [
        {"job_id": "8"},
        {"job_id": 7},
        {"job_id": "07"},
        {"job_id": None},
        {"cluster": "other"},
        {"cluster": ""},
        {"cluster": ["hpc"]},
        {"nonce": ""},
        {"nonce": None},
        {"nonce": "5F" * 16},
        {"nonce": "00" * 16},
        {"nonce": ["5f" * 16]},
    ],
)
def test_a_line_of_another_job_is_ignored(changes: dict[str, Any]) -> None:
    """A notebook may run another session's script, and its lines are not this job's."""
    assert progress(ready_line(**changes)) == Progress()


@pytest.mark.parametrize(
    "line",
    [
        "slurm-nb ready: ",
        "slurm-nb ready: {}",
        "slurm-nb ready: []",
        "slurm-nb ready: null",
        "slurm-nb ready: {not json}",
        "slurm-nb ready: " + "{" * 5000 + "}",
        'slurm-nb ready: {"a":' + "[" * 100_000 + "]" * 100_000 + "}",
        'slurm-nb ready: {"port": ' + "9" * 5000 + "}",
        READY.replace("slurm-nb ready", "slurm-nb Ready"),
        READY.replace("slurm-nb ready", "slurm-nb readied"),
        READY + " and more",
        "\x1b[0m" + READY,
        READY.replace("}", ""),
        READY[1:],
        "",
    ],
)
def test_a_malformed_line_is_ignored(line: str) -> None:
    """Anything but a complete line of the job changes nothing."""
    assert progress(line) == Progress()


def test_every_truncated_ready_line_is_ignored() -> None:
    """A half-written line says nothing yet, wherever it ends."""
    cut_off = [READY[:length] for length in range(len(READY))]

    assert progress(*cut_off) == Progress()


@pytest.mark.parametrize(
    "changes",
    [
        {"port": 0},
        {"port": -1},
        {"port": 65536},
        {"port": 10**30},
        {"port": "40123"},
        {"port": 40123.0},
        {"port": True},
        {"port": None},
        {"node": ""},
        {"node": "-oProxyCommand=id"},
        {"node": "c1;id"},
        {"node": "c1 c2"},
        {"node": "$(id)"},
        {"node": "`id`"},
        {"node": "c1|id"},
        {"node": "c1\n"},
        {"node": "c1\x1b[2J"},
        {"node": "c1\0"},
        {"node": "user@c1"},
        {"node": "c1%h"},
        {"node": "c1/.."},
        {"node": "\uff43\uff11"},
        {"node": "c" * 300},
        {"node": 1},
        {"node": None},
        {"path": ""},
        {"path": "tree"},
        {"path": "/tree?token=x"},
        {"path": "/tree#x"},
        {"path": "/my tree"},
        {"path": "//evil.example"},
        {"path": "/tree\n"},
        {"path": "/$(id)"},
        {"path": "/'"},
        {"path": "/\x1b[2J"},
        {"path": "/é"},
        {"path": None},
        {"path": 5},
    ],
)
def test_an_impossible_ready_line_is_ignored(changes: dict[str, Any]) -> None:
    """Its port is out of range, or its node or path has unexpected characters."""
    assert progress(STARTED, ready_line(**changes)).ready is None


def test_an_impossible_ready_line_does_not_undo_a_real_one() -> None:
    """The earlier address stays."""
    assert progress(READY, ready_line(port=0)).ready == Ready("c1", 40123, "/tree")


def test_an_impossible_ready_line_does_not_undo_the_end() -> None:
    """It does not bring the job back to life."""
    assert progress(STARTED, ENDED, ready_line(port=0)) == progress(STARTED, ENDED)


def test_a_long_hostile_path_does_not_take_for_ever() -> None:
    """A path that almost matches is rejected at once, not after every way to split it."""
    code = (
        "import sys; from slurm_nb.joblog.events import read_progress;"
        f" print(read_progress([sys.argv[1]], who={WHO}).ready)"
    )

    done = subprocess.run(
        [sys.executable, "-c", code, ready_line(path="/" + "a" * 64 + "!")],
        capture_output=True,
        text=True,
        timeout=5,
        check=True,
    )

    assert done.stdout == "None\n"


@pytest.mark.parametrize("path", ["/tree", "/lab", "/user/alice/tree", "/a%20b/lab", "/~alice/x.y"])
def test_the_path_of_a_base_url_is_accepted(path: str) -> None:
    """The server may be below another path."""
    assert progress(ready_line(path=path)).ready == Ready("c1", 40123, path)


@pytest.mark.parametrize("exit_code", ["0", None, [], True, 1.5])
def test_an_end_without_a_number_is_ignored(exit_code: Any) -> None:
    """Only a whole number is an exit code."""
    line = ENDED.replace("3}", json.dumps(exit_code) + "}")

    assert progress(STARTED, line).exit_code is None


# --- sockets, addresses and fingerprints ---

SOCKET = "/tmp/slurm-nb.AbCd1234/jupyter.sock"
FINGERPRINT = ":".join(["AB"] * 31 + ["09"])


def test_the_ready_line_can_have_a_socket_instead_of_a_port() -> None:
    """In private mode it has a path and no port."""
    line = ready_line(port=None, socket=SOCKET)

    assert progress(line).ready == Ready("c1", None, "/tree", socket=SOCKET)


def test_the_ready_line_can_have_an_address_and_a_fingerprint() -> None:
    """The direct route has an IPv4 address, and with TLS a fingerprint."""
    line = ready_line(address="10.1.2.3", fingerprint=FINGERPRINT)

    assert progress(line).ready == Ready(
        "c1", 40123, "/tree", address="10.1.2.3", fingerprint=FINGERPRINT
    )


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/",
        "tmp/jupyter.sock",
        "./jupyter.sock",
        "~/jupyter.sock",
        "/tmp/",
        "/tmp//x",
        "/tmp/a b",
        "/tmp/$(id)",
        "/tmp/`id`",
        "/tmp/a;id",
        "/tmp/a'b",
        '/tmp/a"b',
        "/tmp/a\\b",
        "/tmp/a:b",
        "/tmp/a\nb",
        "/tmp/a\x1b[2J",
        "/tmp/\0x",
        "/tmp/%h",
        "/tmp/é",
        "/tmp/*",
        "@abstract",
        5,
        True,
        ["/tmp/x"],
    ],
)
def test_a_socket_that_could_control_a_shell_or_ssh_is_rejected(path: Any) -> None:
    """A relative path, a blank, a colon or a special character makes the line void."""
    assert progress(STARTED, ready_line(port=None, socket=path)).ready is None


def test_a_ready_line_has_either_a_port_or_a_socket() -> None:
    """With both or neither, it does not say where Jupyter listens."""
    assert progress(ready_line(socket=SOCKET)).ready is None
    assert progress(ready_line(port=None)).ready is None


def test_a_ready_line_with_a_socket_has_no_address() -> None:
    """The network can reach only a port."""
    assert progress(ready_line(port=None, socket=SOCKET, address="10.1.2.3")).ready is None


@pytest.mark.parametrize(
    "address",
    [
        "",
        "c1",
        "localhost",
        "10.1.2",
        "10.1.2.3.4",
        "10.1.2.256",
        "010.1.2.3",
        "10.1.2.3 ",
        "10.1.2.3\n",
        "10.1.2.3:22",
        "10.1.2.3/8",
        "0x0a010203",
        "167838211",
        "\uff11\uff10.1.2.3",
        "::1",
        "fd00::1",
        "::ffff:10.1.2.3",
        "-oProxyCommand=id",
        "$(id)",
        167838211,
        True,
        ["10.1.2.3"],
        # The login node itself and multicast addresses: no server listens there for its user.
        "0.0.0.0",  # noqa: S104  must be rejected
        "255.255.255.255",
        "224.0.0.1",
        "239.255.255.250",
        "240.0.0.1",
    ],
)
def test_an_address_that_is_not_a_hosts_address_is_rejected(address: Any) -> None:
    """Only a plain IPv4 address of one host goes into the ssh command."""
    assert progress(STARTED, ready_line(address=address)).ready is None


@pytest.mark.parametrize(
    "fingerprint",
    ["", "AB", FINGERPRINT.lower(), FINGERPRINT[:-3], FINGERPRINT + ":00", FINGERPRINT + "\n",
     FINGERPRINT.replace(":", ""), FINGERPRINT.replace("09", "\x1b["), 5, True, [FINGERPRINT]],
)  # fmt: skip
def test_a_malformed_fingerprint_is_rejected(fingerprint: Any) -> None:
    """Only 32 pairs of hexadecimal digits reach the screen."""
    assert progress(STARTED, ready_line(fingerprint=fingerprint)).ready is None


def notice(text: Any) -> str:
    return "slurm-nb notice: " + json.dumps({**WHO, "text": text})


def test_notices_are_kept_in_order() -> None:
    """Progress has them in addition to the address."""
    so_far = progress(STARTED, notice("first"), notice("second"), READY)

    assert so_far.notices == ("first", "second")
    assert so_far.ready
    assert progress(notice("third"), so_far=so_far).notices == ("first", "second", "third")


@pytest.mark.parametrize("text", [None, 5, True, ["x"], {"x": 1}])
def test_a_notice_without_text_is_ignored(text: Any) -> None:
    """Only strings are text."""
    assert progress(STARTED, notice(text)).notices == ()


def test_a_requeued_run_has_its_own_notices() -> None:
    """The second run repeats those that still apply."""
    assert progress(STARTED, notice("old"), STARTED).notices == ()


def test_a_flood_of_notices_keeps_only_the_last_twenty() -> None:
    """A job may write any number of lines."""
    texts = [str(number) for number in range(1000)]

    assert progress(*map(notice, texts)).notices == tuple(texts[-20:])


# --- why Jupyter cannot start ---


def failed_line(**changes: Any) -> str:
    return "slurm-nb failed: " + json.dumps({**WHO, "text": "no x on c1", "cure": "y", **changes})


def test_a_failure_has_a_sentence_and_a_cure() -> None:
    """The first failure stays, even after the job has ended."""
    lines = (STARTED, failed_line(), failed_line(text="later"), ENDED)

    assert progress(*lines) == Progress(
        started=True, exit_code=3, failure=Failure("no x on c1", "y")
    )


def test_a_failure_of_an_earlier_run_is_dropped() -> None:
    """A requeued job may find everything on its new node."""
    assert progress(STARTED, failed_line(), ENDED, STARTED).failure is None


@pytest.mark.parametrize(
    "changes", [{"text": 1}, {"cure": None}, {"text": ["x"]}, {"nonce": "0" * 32}, {"job_id": "8"}]
)
def test_a_malformed_failure_is_ignored(changes: dict[str, Any]) -> None:
    """A failure without the nonce or from another job is ignored too."""
    assert progress(STARTED, failed_line(**changes)).failure is None


def test_a_failure_is_one_short_line() -> None:
    """Newlines in it could forge lines of slurm-nb's output."""
    told = progress(failed_line(text="a\nb\r\n  c", cure="x" * 9999)).failure

    assert told
    assert (told.text, len(told.cure)) == ("a b c", 1000)


def test_a_failure_after_ready_is_ignored() -> None:
    """A running server has started."""
    assert progress(STARTED, READY, failed_line()).failure is None


# --- while it runs, and why it stops ---


def warning(text: Any, kind: Any = "memory") -> str:
    return "slurm-nb warning: " + json.dumps({**WHO, "kind": kind, "text": text})


def stopping(text: Any, kind: Any = "idle") -> str:
    return "slurm-nb stopping: " + json.dumps({**WHO, "kind": kind, "text": text})


def test_warnings_are_kept_in_order() -> None:
    """Progress has them in addition to the address, even after the session has ended."""
    lines = (STARTED, READY, warning("80 % of 4 GiB"), warning("15 minutes", "time"))
    expected = (SessionWarning("memory", "80 % of 4 GiB"), SessionWarning("time", "15 minutes"))

    assert progress(*lines).warnings == expected
    assert progress(*lines).ready
    assert progress(*lines, ENDED).warnings == expected
    assert progress(warning("more"), so_far=progress(*lines)).warnings[2].text == "more"


def test_a_flood_of_warnings_keeps_only_the_last_twenty() -> None:
    """A session may write any number of lines."""
    told = progress(*(warning(str(number)) for number in range(1000))).warnings

    assert [each.text for each in told] == [str(number) for number in range(980, 1000)]


def test_the_reason_for_stopping_stays_known() -> None:
    """The first reason stays, even after the job has ended."""
    lines = (STARTED, READY, stopping("nobody was there"), stopping("time is up", "time"), ENDED)

    assert progress(*lines) == Progress(
        started=True, exit_code=3, stopping=Stopping("idle", "nobody was there")
    )


def test_a_requeued_run_begins_without_warnings() -> None:
    """The first run's warnings and end are dropped."""
    assert progress(STARTED, warning("old"), stopping("old"), ENDED, STARTED) == Progress(
        started=True
    )


@pytest.mark.parametrize("kind", ["", "disk", "TIME", None, 5, ["time"], {"time": 1}, "time\n"])
def test_an_unknown_kind_is_ignored(kind: Any) -> None:
    """A later kit may use kinds that this program does not know."""
    assert progress(STARTED, warning("x", kind), stopping("x", kind)) == Progress(started=True)


@pytest.mark.parametrize("text", [None, 5, True, ["x"], {"x": 1}, "", " \n\t", "\x1b\x00"])
def test_a_warning_without_text_is_ignored(text: Any) -> None:
    """An end without a reason is ignored too."""
    assert progress(STARTED, warning(text), stopping(text)) == Progress(started=True)


def test_warnings_and_endings_have_different_kinds() -> None:
    """A session does not stop because of its memory, and does not warn that it is idle."""
    assert progress(STARTED, warning("x", "idle"), stopping("x", "memory")) == Progress(
        started=True
    )


def test_a_sessions_texts_are_short_single_lines() -> None:
    """Control characters could control a terminal, and newlines could forge other lines."""
    text = "a\nb\r\n  c\x1b[2J\x9b1m\u2028d\u202e e" + "x" * 9999

    told = progress(warning(text), stopping(text))

    assert told.stopping
    assert told.warnings[0].text == told.stopping.text
    assert told.stopping.text.startswith("a b c [2J 1m d exx")
    assert len(told.stopping.text) == 1000
