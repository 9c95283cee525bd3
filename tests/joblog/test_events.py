"""A job's own account of itself is read from its output, and nothing else is taken for it."""

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


def test_no_lines_say_nothing() -> None:
    """A job that has written nothing has not started."""
    assert progress() == Progress(started=False, ready=None, exit_code=None)


def test_started() -> None:
    """The job script says that it runs."""
    assert progress(STARTED) == Progress(started=True)


def test_ready_says_where_jupyter_listens() -> None:
    """Node, port and path are those of the ready line."""
    assert progress(STARTED, READY).ready == Ready("c1", 40123, "/tree")


def test_ended_has_the_exit_code_and_nothing_to_connect_to() -> None:
    """After the end there is no server any more."""
    assert progress(STARTED, READY, ENDED) == Progress(started=True, exit_code=3)


def test_lines_among_jupyters_own_are_found() -> None:
    """Whatever else Jupyter logs is passed over."""
    chatter = ["[I 2026-11-23 ServerApp] slurm-nb ready: no", "", "  " + READY, "{}"]

    assert progress(*chatter, STARTED, *chatter, READY, *chatter).ready == Ready(
        "c1", 40123, "/tree"
    )


def test_a_carriage_return_at_the_end_is_forgiven() -> None:
    """A terminal's line ends do not hide the line."""
    assert progress(READY + "\r").ready == Ready("c1", 40123, "/tree")


def test_a_requeued_run_starts_over() -> None:
    """What the first run said of its port is void once the second has started."""
    assert progress(STARTED, READY, ENDED, STARTED) == Progress(started=True)
    assert progress(STARTED, READY, STARTED) == Progress(started=True)


def test_the_first_ready_line_of_a_run_counts() -> None:
    """What a program in the job prints later leads nobody elsewhere; a new run is a new start."""
    assert progress(STARTED, READY, STARTED, ready_line(node="c2", port=5)).ready == Ready(
        "c2", 5, "/tree"
    )
    assert progress(READY, ready_line(port=41000)).ready == Ready("c1", 40123, "/tree")
    first = progress(STARTED, READY)
    assert progress(ready_line(node="c2"), so_far=first) == first
    assert progress(ready_line(port=0), READY).ready == Ready("c1", 40123, "/tree")


def test_reading_goes_on_from_what_was_known() -> None:
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
    """A job's notebook may run another session's script; its lines are not this job's."""
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
    """What is no complete line of slurm-nb's changes nothing and breaks nothing."""
    assert progress(line) == Progress()


def test_every_cut_off_ready_line_is_ignored() -> None:
    """A line that was written by half says nothing yet, wherever it breaks off."""
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
def test_a_ready_line_that_could_not_be_true_is_not_believed(changes: dict[str, Any]) -> None:
    """Ports out of range, names that steer a shell and paths with more than a path are ignored."""
    assert progress(STARTED, ready_line(**changes)).ready is None


def test_an_untrue_ready_line_does_not_undo_a_true_one() -> None:
    """A later line that can't be true leaves the earlier answer standing."""
    assert progress(READY, ready_line(port=0)).ready == Ready("c1", 40123, "/tree")


def test_an_untrue_ready_line_does_not_undo_the_end() -> None:
    """A line that is passed over brings no job back to life."""
    assert progress(STARTED, ENDED, ready_line(port=0)) == progress(STARTED, ENDED)


def test_a_long_hostile_path_does_not_take_for_ever() -> None:
    """A path that almost matches is refused at once, not after trying every way to split it."""
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
def test_paths_of_a_base_url_are_taken(path: str) -> None:
    """A server below another path is reached there."""
    assert progress(ready_line(path=path)).ready == Ready("c1", 40123, path)


@pytest.mark.parametrize("exit_code", ["0", None, [], True, 1.5])
def test_an_end_without_a_number_is_not_an_end(exit_code: Any) -> None:
    """Only a whole number is an exit code."""
    line = ENDED.replace("3}", json.dumps(exit_code) + "}")

    assert progress(STARTED, line).exit_code is None


# --- sockets, addresses and fingerprints ---

SOCKET = "/tmp/slurm-nb.AbCd1234/jupyter.sock"
FINGERPRINT = ":".join(["AB"] * 31 + ["09"])


def test_a_socket_is_taken_in_a_ports_place() -> None:
    """In private mode the ready line has a path and no port."""
    line = ready_line(port=None, socket=SOCKET)

    assert progress(line).ready == Ready("c1", None, "/tree", socket=SOCKET)


def test_an_address_and_a_fingerprint_are_taken() -> None:
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
def test_a_socket_that_could_steer_a_shell_or_ssh_is_not_believed(path: Any) -> None:
    """A relative path, a blank, a colon or a shell's character makes the line void."""
    assert progress(STARTED, ready_line(port=None, socket=path)).ready is None


def test_a_port_and_a_socket_exclude_each_other() -> None:
    """A line with both, or with neither, does not say where Jupyter listens."""
    assert progress(ready_line(socket=SOCKET)).ready is None
    assert progress(ready_line(port=None)).ready is None


def test_a_socket_has_no_address() -> None:
    """Over the network only a port is reached."""
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
        # The login node itself, and everybody: no server listens there for its user.
        "0.0.0.0",  # noqa: S104  to be refused
        "255.255.255.255",
        "224.0.0.1",
        "239.255.255.250",
        "240.0.0.1",
    ],
)
def test_an_address_that_is_no_hosts_is_not_believed(address: Any) -> None:
    """Only a plain IPv4 address of one host goes into the command."""
    assert progress(STARTED, ready_line(address=address)).ready is None


@pytest.mark.parametrize(
    "fingerprint",
    ["", "AB", FINGERPRINT.lower(), FINGERPRINT[:-3], FINGERPRINT + ":00", FINGERPRINT + "\n",
     FINGERPRINT.replace(":", ""), FINGERPRINT.replace("09", "\x1b["), 5, True, [FINGERPRINT]],
)  # fmt: skip
def test_a_fingerprint_that_is_none_is_not_believed(fingerprint: Any) -> None:
    """A fingerprint is 32 pairs of hexadecimal digits, and nothing else reaches the screen."""
    assert progress(STARTED, ready_line(fingerprint=fingerprint)).ready is None


def notice(text: Any) -> str:
    return "slurm-nb notice: " + json.dumps({**WHO, "text": text})


def test_notices_are_kept_in_order() -> None:
    """What the job has to tell the user is there beside where it listens."""
    so_far = progress(STARTED, notice("first"), notice("second"), READY)

    assert so_far.notices == ("first", "second")
    assert so_far.ready
    assert progress(notice("third"), so_far=so_far).notices == ("first", "second", "third")


@pytest.mark.parametrize("text", [None, 5, True, ["x"], {"x": 1}])
def test_a_notice_without_text_is_none(text: Any) -> None:
    """Only text is told."""
    assert progress(STARTED, notice(text)).notices == ()


def test_a_requeued_run_has_notices_of_its_own() -> None:
    """What was told of the first run is told anew by the second, or void."""
    assert progress(STARTED, notice("old"), STARTED).notices == ()


def test_a_flood_of_notices_is_held_back() -> None:
    """However many lines a job writes, the last twenty are shown."""
    texts = [str(number) for number in range(1000)]

    assert progress(*map(notice, texts)).notices == tuple(texts[-20:])


# --- why Jupyter can't be started ---


def failed_line(**changes: Any) -> str:
    return "slurm-nb failed: " + json.dumps({**WHO, "text": "no x on c1", "cure": "y", **changes})


def test_a_failure_has_its_sentence_and_its_cure() -> None:
    """The first one counts, and is still known when the job has ended."""
    lines = (STARTED, failed_line(), failed_line(text="later"), ENDED)

    assert progress(*lines) == Progress(
        started=True, exit_code=3, failure=Failure("no x on c1", "y")
    )


def test_a_failure_of_an_earlier_run_is_forgotten() -> None:
    """A requeued job may find on its new node what it lacked."""
    assert progress(STARTED, failed_line(), ENDED, STARTED).failure is None


@pytest.mark.parametrize(
    "changes", [{"text": 1}, {"cure": None}, {"text": ["x"]}, {"nonce": "0" * 32}, {"job_id": "8"}]
)
def test_a_malformed_failure_is_ignored(changes: dict[str, Any]) -> None:
    """So is one without the nonce, or of another job."""
    assert progress(STARTED, failed_line(**changes)).failure is None


def test_a_failure_stays_on_a_line_and_short() -> None:
    """Line ends in it could pass for lines of slurm-nb's own."""
    told = progress(failed_line(text="a\nb\r\n  c", cure="x" * 9999)).failure

    assert told
    assert (told.text, len(told.cure)) == ("a b c", 1000)


def test_a_failure_after_ready_is_none() -> None:
    """What runs was started."""
    assert progress(STARTED, READY, failed_line()).failure is None


# --- while it runs, and why it stops ---


def warning(text: Any, kind: Any = "memory") -> str:
    return "slurm-nb warning: " + json.dumps({**WHO, "kind": kind, "text": text})


def stopping(text: Any, kind: Any = "idle") -> str:
    return "slurm-nb stopping: " + json.dumps({**WHO, "kind": kind, "text": text})


def test_warnings_are_kept_in_order() -> None:
    """What a session said while it ran is there beside where it listens, also when it has ended."""
    lines = (STARTED, READY, warning("80 % of 4 GiB"), warning("15 minutes", "time"))
    expected = (SessionWarning("memory", "80 % of 4 GiB"), SessionWarning("time", "15 minutes"))

    assert progress(*lines).warnings == expected
    assert progress(*lines).ready
    assert progress(*lines, ENDED).warnings == expected
    assert progress(warning("more"), so_far=progress(*lines)).warnings[2].text == "more"


def test_a_flood_of_warnings_is_held_back() -> None:
    """However many lines a job writes, the last twenty are kept."""
    told = progress(*(warning(str(number)) for number in range(1000))).warnings

    assert [each.text for each in told] == [str(number) for number in range(980, 1000)]


def test_why_it_stopped_stays_known() -> None:
    """The first reason counts, and is still known when the job has ended."""
    lines = (STARTED, READY, stopping("nobody was there"), stopping("time is up", "time"), ENDED)

    assert progress(*lines) == Progress(
        started=True, exit_code=3, stopping=Stopping("idle", "nobody was there")
    )


def test_a_requeued_run_has_said_nothing_yet() -> None:
    """Warnings and the end of the first run are not those of the second."""
    assert progress(STARTED, warning("old"), stopping("old"), ENDED, STARTED) == Progress(
        started=True
    )


@pytest.mark.parametrize("kind", ["", "disk", "TIME", None, 5, ["time"], {"time": 1}, "time\n"])
def test_an_unknown_kind_is_passed_over(kind: Any) -> None:
    """A later kit may say more than this program knows of."""
    assert progress(STARTED, warning("x", kind), stopping("x", kind)) == Progress(started=True)


@pytest.mark.parametrize("text", [None, 5, True, ["x"], {"x": 1}, "", " \n\t", "\x1b\x00"])
def test_a_warning_without_text_is_none(text: Any) -> None:
    """So is an end without a reason."""
    assert progress(STARTED, warning(text), stopping(text)) == Progress(started=True)


def test_the_kinds_of_one_are_not_those_of_the_other() -> None:
    """A session does not stop itself for its memory, and warns of no idleness."""
    assert progress(STARTED, warning("x", "idle"), stopping("x", "memory")) == Progress(
        started=True
    )


def test_texts_of_a_session_stay_on_a_line_and_short() -> None:
    """Control characters could steer a terminal, and line ends pass for lines of slurm-nb's own."""
    text = "a\nb\r\n  c\x1b[2J\x9b1m\u2028d\u202e e" + "x" * 9999

    told = progress(warning(text), stopping(text))

    assert told.stopping
    assert told.warnings[0].text == told.stopping.text
    assert told.stopping.text.startswith("a b c [2J 1m d exx")
    assert len(told.stopping.text) == 1000
