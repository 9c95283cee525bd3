"""Sessions on disk are private, complete or absent, and always the user's own."""

from __future__ import annotations

import grp
import json
import os
import pwd
import stat
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from slurm_nb.errors import UserError
from slurm_nb.files import accepted_above, write_private
from slurm_nb.joblog.events import Ready
from slurm_nb.operations.prune import clean_up
from slurm_nb.scheduler.job import LOCAL, Job
from slurm_nb.session.session import Session, is_job_id
from slurm_nb.session.store import Store
from tests.conftest import NONCE

TOKEN = "0123456789abcdef" * 4
SESSION = Session(job=Job("7", "hpc"))
FULL = Session(
    job=Job("7", "hpc", needs_cluster_option=True),
    login_host="login:2222",
    local_port=9999,
    ready=Ready("c1", 40123, "/tree"),
)


@pytest.fixture
def open_umask() -> Iterator[None]:
    """The umask of a user who shares everything."""
    old = os.umask(0)
    yield
    os.umask(old)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def folder_of(store: Store, session: Session = SESSION) -> Path:
    return store.session_folder(session.cluster, session.job_id)


def test_slurm_nb_home_is_the_folder(tmp_path: Path) -> None:
    """SLURM_NB_HOME takes precedence over XDG_STATE_HOME."""
    environ = {"SLURM_NB_HOME": str(tmp_path / "a"), "XDG_STATE_HOME": str(tmp_path / "b")}

    assert Store.of_user(environ).folder == tmp_path / "a"
    assert not (tmp_path / "b").exists()


def test_a_relative_slurm_nb_home_becomes_absolute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The job script runs elsewhere, so the folder is absolute from the start."""
    monkeypatch.chdir(tmp_path)

    assert Store.of_user({"SLURM_NB_HOME": "x/../state"}).folder == tmp_path / "state"


def test_xdg_state_home_holds_the_folder(tmp_path: Path) -> None:
    """Without SLURM_NB_HOME it is slurm-nb in XDG_STATE_HOME."""
    environ = {"SLURM_NB_HOME": "", "XDG_STATE_HOME": str(tmp_path)}

    assert Store.of_user(environ).folder == tmp_path / "slurm-nb"


@pytest.mark.parametrize("xdg_state_home", [None, "", "relative/path"])
def test_the_default_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, xdg_state_home: str | None
) -> None:
    """The last one is ~/.local/state/slurm-nb; the standard voids a relative XDG_STATE_HOME."""
    monkeypatch.setenv("HOME", str(tmp_path))
    environ = {} if xdg_state_home is None else {"XDG_STATE_HOME": xdg_state_home}

    assert Store.of_user(environ).folder == tmp_path / ".local/state/slurm-nb"


@pytest.mark.usefixtures("open_umask")
def test_folders_are_private_under_any_umask(tmp_path: Path) -> None:
    """Nobody else can read the state directory or a session."""
    store = Store.of_user({"SLURM_NB_HOME": str(tmp_path / "state")})
    store.save(SESSION)

    folders = [path for path in [store.folder, *store.folder.rglob("*")] if path.is_dir()]
    assert folder_of(store) in folders
    assert {mode(folder) for folder in folders} == {0o700}


def test_a_folder_that_was_open_is_closed(tmp_path: Path) -> None:
    """A state directory that the user made by hand becomes private."""
    (tmp_path / "state" / "sessions").mkdir(mode=0o755, parents=True)
    (tmp_path / "state").chmod(0o777)

    store = Store.of_user({"SLURM_NB_HOME": str(tmp_path / "state")})

    assert mode(store.folder) == mode(store.folder / "sessions") == 0o700


@pytest.mark.usefixtures("open_umask")
def test_files_are_private_under_any_umask(store: Store) -> None:
    """Nobody else can read a session's file, and no half-written file stays next to it."""
    store.save(SESSION)

    assert [path.name for path in folder_of(store).iterdir()] == ["session.json"]
    assert mode(folder_of(store) / "session.json") == 0o600


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
@pytest.mark.parametrize("inner", ["", "jobs", "sessions"])
def test_a_folder_of_another_user_is_refused(tmp_path: Path, inner: str) -> None:
    """The owner of the folder could read the tokens, so the folder must belong to the user."""
    foreign = tmp_path / "state" / inner
    foreign.mkdir(parents=True)
    os.chown(foreign, 12345, 12345)

    with pytest.raises(UserError, match="belongs to another user") as caught:
        Store.of_user({"SLURM_NB_HOME": str(tmp_path / "state")})

    assert "SLURM_NB_HOME" in caught.value.hint


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    """A file in the way is an error that names the folder and the cure."""
    (tmp_path / "file").write_text("", encoding="utf-8")

    with pytest.raises(UserError, match="cannot write") as caught:
        Store.of_user({"SLURM_NB_HOME": str(tmp_path / "file" / "state")})

    assert str(tmp_path / "file" / "state") in str(caught.value)
    assert "SLURM_NB_HOME" in caught.value.hint


# --- homes of a group ---


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home that the group of uid 1 may change, below a directory of uid 2."""
    home = tmp_path / "lab/alice"
    home.mkdir(parents=True)
    os.chown(home.parent, 2, 2)
    os.chown(home, -1, 1)
    home.chmod(0o2770)
    monkeypatch.delenv("SLURM_NB_TRUST", raising=False)
    return home


NAMES = f"@{grp.getgrgid(1).gr_name},{pwd.getpwuid(2).pw_name}"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_every_directory_that_others_can_change_is_named_with_a_cure_that_works(
    lab: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are named at once, and the user who follows the hint accepts them once."""
    environ = {"SLURM_NB_HOME": str(lab / "state")}

    with pytest.raises(UserError, match="can be changed by the group") as caught:
        Store.of_user(environ)

    group, user = NAMES.removeprefix("@").split(",")
    assert f"{lab} can be changed by the group {group}; {lab.parent} belongs to {user}" in str(
        caught.value
    )
    assert f"export SLURM_NB_TRUST={NAMES};" in caught.value.hint
    monkeypatch.setenv("SLURM_NB_TRUST", NAMES)
    assert Store.of_user(environ).folder == lab / "state"
    assert [text.partition(" ")[0] for text in accepted_above(lab / "state")] == [
        str(lab),
        str(lab.parent),
    ]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
@pytest.mark.parametrize("trust", ["", "bin", "@daemon", "@bin,daemon"])
def test_nobody_else_is_accepted(lab: Path, monkeypatch: pytest.MonkeyPatch, trust: str) -> None:
    """Naming another group or user opens nothing."""
    monkeypatch.setenv("SLURM_NB_TRUST", trust)

    with pytest.raises(UserError):
        Store.of_user({"SLURM_NB_HOME": str(lab / "state")})


def test_a_directory_that_every_user_can_change_is_never_accepted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The hint offers no name for them."""
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    monkeypatch.setenv("SLURM_NB_TRUST", "@root")

    with pytest.raises(UserError, match="can be changed by every user") as caught:
        Store.of_user({"SLURM_NB_HOME": str(tmp_path / "open/state")})

    assert "SLURM_NB_TRUST" not in caught.value.hint


def test_a_name_that_does_not_exist_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A misspelt name accepts nobody, and the error names it."""
    monkeypatch.setenv("SLURM_NB_TRUST", "@no-such-group")

    with pytest.raises(UserError, match="SLURM_NB_TRUST: there is no group 'no-such-group'"):
        Store.of_user({"SLURM_NB_HOME": str(tmp_path / "state")})


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_a_container_that_does_not_know_the_owner_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a rootless container everything above the home belongs to nobody."""
    home = tmp_path / "home"
    home.mkdir()
    os.chown(home, 65534, 65534)
    monkeypatch.setattr("slurm_nb.files._overflow_uid", lambda: 65534)
    environ = {"SLURM_NB_HOME": str(home / "state")}

    with pytest.raises(UserError, match="belongs to a user outside this container") as caught:
        Store.of_user(environ)

    assert "export SLURM_NB_TRUST=nobody" in caught.value.hint
    monkeypatch.setenv("SLURM_NB_TRUST", "nobody")
    assert Store.of_user(environ).folder == home / "state"


# --- HOME ---


def test_a_home_that_is_not_absolute_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise each directory would have its own sessions."""
    monkeypatch.setenv("HOME", "relative")

    with pytest.raises(UserError, match="HOME is 'relative', which is not an absolute path"):
        Store.of_user({"SLURM_NB_HOME": str(tmp_path)})


def test_a_user_without_a_home_gets_an_error_of_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """In some containers a uid has no entry in passwd."""
    monkeypatch.delenv("HOME")
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)

    with pytest.raises(UserError, match="HOME is not set, and user") as caught:
        Store.of_user({})

    assert "export HOME=DIR" in caught.value.hint


def test_a_wrong_home_is_named_as_the_cause(monkeypatch: pytest.MonkeyPatch) -> None:
    """It may come from another user's shell, as with sudo."""
    monkeypatch.setenv("HOME", "/dev/null/home")

    with pytest.raises(UserError, match="cannot write") as caught:
        Store.of_user({})

    assert "HOME is /dev/null/home, but your home directory is" in caught.value.hint


@pytest.mark.parametrize("session", [SESSION, FULL, Session(job=Job("local-3", "local"))])
def test_a_session_comes_back_as_it_was_saved(store: Store, session: Session) -> None:
    """A later process knows what the first one knew."""
    store.save(session)

    assert store.load(session.job_id) == session
    assert store.all() == ([session], [])


def test_a_later_save_replaces_the_first(store: Store) -> None:
    """The new session is kept and nothing of the earlier one."""
    store.save(FULL)
    store.save(SESSION)

    assert store.load("7") == SESSION


def test_all_sessions_of_all_clusters_are_found(store: Store) -> None:
    """A user's sessions are listed over every cluster."""
    sessions = [
        SESSION,
        Session(job=Job("8", "hpc")),
        Session(job=Job("7", "hpc2")),
        Session(job=Job("local-1", "local")),
    ]
    for session in sessions:
        store.save(session)

    assert sorted(map(repr, store.all()[0])) == sorted(map(repr, sessions))


def test_a_new_state_directory_has_no_sessions(store: Store) -> None:
    """Listing them is not an error."""
    assert store.all() == ([], [])


def test_a_job_that_slurm_nb_did_not_start_is_refused(store: Store) -> None:
    """An unknown job id is an error that names job and folder."""
    with pytest.raises(UserError, match="job 8 was not started by slurm-nb") as caught:
        store.load("8")

    assert str(store.folder) in str(caught.value)


BAD_JOB_IDS = [
    "../x", "..", ".", "", " ", "7 ", "7;rm", "7\n", "\n7", "\uff17", "\u0667", "7_1",
    "7.batch", "-7", "+7", "0x7", "*", "[0-9]", "7/../8", "local-", "local-x",
    "local-1/..", "Local-1", "7\0", "$(id)",
]  # fmt: skip


@pytest.mark.parametrize("job_id", BAD_JOB_IDS)
def test_text_that_is_not_a_job_id_is_refused(store: Store, job_id: str) -> None:
    """No path, pattern, step or shell word is treated as a job id."""
    store.save(SESSION)

    with pytest.raises(UserError, match="is not a job id"):
        store.load(job_id)


WHOLE = {"version": 1, "job_id": "7", "cluster": "hpc", "other_cluster": False,
         "login_host": None, "local_port": None, "ready": None}  # fmt: skip


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "null",
        "7",
        "[]",
        '"version"',
        "{}",
        "\x00\x00",
        json.dumps({**WHOLE, "version": 2}),
        json.dumps({**WHOLE, "version": None}),
        json.dumps({k: v for k, v in WHOLE.items() if k != "version"}),
        json.dumps({k: v for k, v in WHOLE.items() if k != "job_id"}),
        json.dumps({k: v for k, v in WHOLE.items() if k != "ready"}),
        json.dumps({**WHOLE, "colour": "red"}),
        json.dumps({**WHOLE, "ready": {"node": "c1"}}),
        json.dumps({**WHOLE, "ready": 5}),
        json.dumps({**WHOLE, "job_id": "8"}),
        json.dumps({**WHOLE, "job_id": 7}),
        json.dumps({**WHOLE, "cluster": "hpc2"}),
    ],
)
def test_a_broken_session_file_is_named(store: Store, text: str) -> None:
    """A file that is empty, truncated or of another version is an error with a cure."""
    store.save(SESSION)
    path = folder_of(store) / "session.json"
    path.write_text(text, encoding="utf-8")

    with pytest.raises(UserError, match="is not a session file") as caught:
        store.load("7")

    assert str(path) in str(caught.value)
    assert "scancel 7" in caught.value.hint


def test_every_truncated_session_file_is_refused(store: Store) -> None:
    """It is not treated as a complete file wherever it breaks off."""
    store.save(FULL)
    path = folder_of(store) / "session.json"
    whole = path.read_text(encoding="utf-8")

    for length in range(len(whole)):
        path.write_text(whole[:length], encoding="utf-8")
        with pytest.raises(UserError):
            store.load("7")


def test_a_session_file_that_is_not_text_is_named(store: Store) -> None:
    """Bytes that are not UTF-8 break nothing."""
    store.save(SESSION)
    (folder_of(store) / "session.json").write_bytes(b"\xff\xfe{}")

    with pytest.raises(UserError, match="is not a session file"):
        store.load("7")


def test_one_id_on_two_clusters_is_not_guessed(store: Store) -> None:
    """When two clusters gave the same id, both are named and none is chosen."""
    store.save(SESSION)
    store.save(Session(job=Job("7", "hpc2")))

    with pytest.raises(UserError, match="hpc and hpc2"):
        store.load("7")


def test_a_session_that_only_the_job_made_is_known(store: Store) -> None:
    """A script that the user submitted by hand has a token and no session file."""
    folder_of(store).mkdir(parents=True)
    write_private(folder_of(store) / "token", TOKEN)

    session = store.load("7")

    assert session == SESSION
    assert store.token(session) == TOKEN


def test_a_token_is_read(store: Store) -> None:
    """The token that the job made belongs to the session."""
    store.save(SESSION)
    write_private(folder_of(store) / "token", TOKEN)

    assert store.token(SESSION) == TOKEN


def test_a_missing_token_is_not_an_error(store: Store) -> None:
    """Before the job has made it, the session has no token."""
    assert store.token(SESSION) is None
    store.save(SESSION)
    assert store.token(SESSION) is None


@pytest.mark.parametrize(
    "text", [b"", TOKEN[:-1].encode(), TOKEN.encode() + b"\n", TOKEN.upper().encode(), b"\xff" * 64]
)
def test_a_malformed_token_is_not_returned(store: Store, text: bytes) -> None:
    """An empty, truncated or foreign token is refused, and the error does not show it."""
    store.save(SESSION)
    (folder_of(store) / "token").write_bytes(text)

    with pytest.raises(UserError, match=r"/token") as caught:
        store.token(SESSION)

    assert TOKEN[:16] not in str(caught.value).lower()


def test_secrets_are_removed_and_the_session_stays(store: Store) -> None:
    """After the end the token is gone; removing it twice is not an error."""
    store.save(SESSION)
    write_private(folder_of(store) / "token", TOKEN)

    store.forget_secrets(SESSION)
    store.forget_secrets(SESSION)

    assert store.token(SESSION) is None
    assert store.load("7") == SESSION


def test_files_that_two_clusters_share_are_removed_with_the_last_session(store: Store) -> None:
    """Jobs with the same id on two clusters write to one file, which the first removal keeps."""
    one, other = (Session(job=Job("7", cluster)) for cluster in ("hpc", "big"))
    store.save(one)
    store.save(other)
    store.script_path("7").touch()

    removed = store.remove(one)
    there = store.log_path("7").exists(), store.script_path("7").exists()
    store.remove(other)

    assert removed
    assert there == (True, True)
    assert not store.log_path("7").exists()


def test_a_file_created_while_a_session_is_removed_does_not_keep_it(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another slurm-nb may record again and again that the session is over."""
    store.save(SESSION)
    rmdir = os.rmdir

    def write_first(path: str, *, dir_fd: int | None = None) -> None:
        store.save_witness(SESSION, 1)
        rmdir(path, dir_fd=dir_fd)

    monkeypatch.setattr(os, "rmdir", write_first)

    assert store.remove(SESSION)
    assert list(folder_of(store).parent.iterdir()) == []


def test_a_removal_that_was_killed_is_completed(store: Store) -> None:
    """slurm-nb does not list the rest of the folder, and removes it at the next submission."""
    store.save(SESSION)
    folder_of(store).rename(folder_of(store).with_name(".7.123.gone"))

    there = store.all()
    clean_up(store)

    assert there == ([], [])
    assert list(folder_of(store).parent.iterdir()) == []


@pytest.mark.parametrize("umask", [0o000, 0o077])
def test_the_output_of_a_job_is_private_before_it_runs(store: Store, umask: int) -> None:
    """A job that is killed before its script can close its output leaves no readable file."""
    before = os.umask(umask)
    try:
        store.save(SESSION)
    finally:
        os.umask(before)

    assert stat.S_IMODE(store.log_path(SESSION.job_id).stat().st_mode) == 0o600


def test_saving_a_session_keeps_what_its_job_has_written(store: Store) -> None:
    """Output that Slurm created under the user's umask is made private, not emptied."""
    log = store.log_path(SESSION.job_id)
    log.write_text("said", encoding="utf-8")
    log.chmod(0o644)

    store.save(SESSION)

    assert (stat.S_IMODE(log.stat().st_mode), log.read_text(encoding="utf-8")) == (0o600, "said")


def test_a_link_in_the_place_of_a_jobs_output_is_refused(store: Store, tmp_path: Path) -> None:
    """The file that it points to keeps its mode."""
    target = tmp_path / "target"
    target.touch(0o644)
    store.log_path(SESSION.job_id).symlink_to(target)

    with pytest.raises(UserError, match="cannot write"):
        store.save(SESSION)
    assert stat.S_IMODE(target.stat().st_mode) == 0o644


def test_the_paths_of_a_job_are_those_of_submitit(store: Store) -> None:
    """The log and the script are where submitit puts them."""
    from submitit.core.utils import JobPaths  # noqa: PLC0415  only this test uses submitit

    paths = JobPaths(store.folder / "jobs", "7", 0)

    assert store.log_path("7") == paths.stdout
    assert store.script_path("7") == paths.submission_file


def test_a_directory_that_holds_other_things_is_not_closed_to_others(tmp_path: Path) -> None:
    """SLURM_NB_HOME=$HOME would lock everybody out of the home: refused, and its mode is kept."""
    (tmp_path / "home").mkdir(mode=0o755)
    (tmp_path / "home/thesis.tex").touch()

    with pytest.raises(UserError, match="contains other files"):
        Store.of_user({"SLURM_NB_HOME": str(tmp_path / "home")})

    assert mode(tmp_path / "home") == 0o755


def test_new_parent_directories_are_private(tmp_path: Path) -> None:
    """Under an open umask nobody else can write above the state directory."""
    before = os.umask(0)
    try:
        Store.of_user({"XDG_STATE_HOME": str(tmp_path / "local/state")})
    finally:
        os.umask(before)

    assert [mode(tmp_path / name) for name in ("local", "local/state")] == [0o700, 0o700]


def test_a_session_file_of_wrong_types_is_not_read(store: Store) -> None:
    """JSON that is not a session is reported, like a truncated file."""
    store.save(SESSION)
    path = store.session_folder(SESSION.cluster, SESSION.job_id) / "session.json"
    record = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**record, "login_host": 5}), encoding="utf-8")

    with pytest.raises(UserError, match="not a session file"):
        store.load(SESSION.job_id)


def test_no_two_claims_give_the_same_id(store: Store) -> None:
    """Sessions started at the same moment, from any number of shells, have different ids."""
    together = threading.Barrier(8)

    def claim_some(_: int) -> list[str]:
        together.wait()
        return [store.claim_local_id() for _ in range(5)]

    with ThreadPoolExecutor(8) as pool:
        claimed = [job_id for ids in pool.map(claim_some, range(8)) for job_id in ids]

    assert len(set(claimed)) == len(claimed) == 40
    assert all(is_job_id(job_id) and job_id.startswith("local-") for job_id in claimed)


def test_an_id_is_not_used_twice(store: Store) -> None:
    """A new session gets a higher number than all before it, in whatever order they are listed."""
    for number in (2, 10, 9):
        store.save(Session(job=Job(f"local-{number}", LOCAL)))

    assert store.claim_local_id() == "local-11"


def test_something_else_among_the_sessions_does_not_matter(store: Store) -> None:
    """A folder that somebody copied there by hand does not keep new sessions from starting."""
    store.save(Session(job=Job("local-3", LOCAL)))
    (store.folder / "sessions" / LOCAL / "local-3 (copy)").mkdir()
    (store.folder / "sessions" / LOCAL / "local-old").mkdir()

    assert store.claim_local_id() == "local-4"


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "null", '{"active_at": "x"}', '{"active_at": 1, "new": 2}',
     '{"active_at": 1, "memory_fraction": "much"}', '{"active_at": true}'],
)  # fmt: skip
def test_a_malformed_activity_file_is_ignored(store: Store, text: str) -> None:
    """The job writes the file, which may contain anything."""
    store.save(SESSION)
    path = folder_of(store) / "activity.json"
    path.write_text(text, encoding="utf-8")

    assert store.activity(SESSION) is None


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", '{"word": "x"}', ('{"word": 1, "reason": "", "cause": "x",'
             ' "text": "", "evidence": "", "cure": "", "at": 5}')]
)  # fmt: skip
def test_a_broken_outcome_is_ignored(store: Store, text: str) -> None:
    """The next process determines the ending again."""
    store.save(SESSION)
    (folder_of(store) / "ended.json").write_text(text, encoding="utf-8")

    assert store.outcome(SESSION) is None


def test_the_page_of_a_session_is_a_secret(store: Store) -> None:
    """It contains the token: it is private, and is removed together with the token."""
    store.save(SESSION)
    path = store.save_page(SESSION, "page")

    assert (path.read_text(encoding="utf-8"), mode(path)) == ("page", 0o600)
    assert store.forget_secrets(SESSION) == []
    assert not path.exists()


def test_the_log_of_a_session_is_read_by_its_nonce(store: Store) -> None:
    """The job writes the nonce to both files."""
    store.save(SESSION)
    who = {"cluster": "hpc", "job_id": "7", "nonce": NONCE}
    store.log_path("7").write_text(f"slurm-nb started: {json.dumps(who)}\n", encoding="utf-8")
    log = store.log(SESSION)
    without = log.read().started
    write_private(folder_of(store) / "nonce", NONCE)

    assert (without, log.read().started) == (False, True)


# --- sessions that others could change ---

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
NOT_TRUSTED = "does not trust this session"


def refused(store: Store) -> str:
    """Return the error about job 7, which load() and all() both give."""
    with pytest.raises(UserError, match=NOT_TRUSTED) as caught:
        store.load("7")
    sessions, broken = store.all()
    assert sessions == []
    assert [str(error) for error in broken] == [str(caught.value)]
    assert "scancel 7" in caught.value.hint
    return str(caught.value)


@pytest.mark.parametrize("mode", [0o770, 0o720, 0o707, 0o702, 0o777, 0o1777])
@pytest.mark.parametrize("name", [".", ".."])
def test_a_session_in_a_directory_that_others_may_change_is_refused(
    store: Store, mode: int, name: str
) -> None:
    """Anyone who can write to a session's or a cluster's directory could mislead the user."""
    store.save(SESSION)
    folder = folder_of(store) if name == "." else folder_of(store).parent
    folder.chmod(mode)

    assert f"{folder} is open to other users" in refused(store)


@pytest.mark.parametrize("name", ["session.json", "token", "nonce"])
@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
def test_a_session_with_a_file_that_others_may_change_is_refused(
    store: Store, name: str, mode: int
) -> None:
    """slurm-nb does not trust a file of a session that somebody else could have written."""
    store.save(SESSION)
    write_private(folder_of(store) / "token", TOKEN)
    write_private(folder_of(store) / "nonce", "5f" * 16)
    (folder_of(store) / name).chmod(mode)

    assert f"/{name} is open to other users" in refused(store)


@pytest.mark.parametrize("name", ["session.json", "token", "nonce"])
def test_a_session_with_a_link_in_it_is_refused(store: Store, tmp_path: Path, name: str) -> None:
    """A link may point to a file that another user writes."""
    store.save(SESSION)
    path = folder_of(store) / name
    path.unlink(missing_ok=True)
    write_private(tmp_path / "elsewhere", json.dumps(WHOLE))
    path.symlink_to(tmp_path / "elsewhere")

    assert f"{path} is a link, so" in refused(store)


def test_a_session_with_a_fifo_in_it_is_refused(store: Store) -> None:
    """The message does not blame another user."""
    store.save(SESSION)
    os.mkfifo(folder_of(store) / "pipe", 0o600)

    assert "/pipe is not a regular file, so" in refused(store)


@pytest.mark.parametrize("level", [0, 1], ids=["session", "cluster"])
def test_a_session_behind_a_link_is_refused(store: Store, level: int) -> None:
    """The directory of a session or a cluster must be a real directory."""
    store.save(SESSION)
    folder = [folder_of(store), folder_of(store).parent][level]
    aside = store.folder / "aside"
    folder.rename(aside)
    folder.symlink_to(aside)

    assert f"{folder} is a link" in refused(store)


@pytest.mark.parametrize("kind", ["fifo", "dangling link"])
def test_a_session_file_that_is_not_a_regular_file_is_refused_at_once(
    store: Store, kind: str
) -> None:
    """Reading a pipe that somebody planted would wait for ever."""
    store.save(SESSION)
    path = folder_of(store) / "session.json"
    path.unlink()
    if kind == "fifo":
        os.mkfifo(path, 0o600)
    else:
        path.symlink_to("/no/such/file")

    assert str(path) in refused(store)


@as_root
@pytest.mark.parametrize("name", ["..", ".", "session.json", "token"])
def test_a_session_of_another_user_is_refused(store: Store, name: str) -> None:
    """All files and directories of a session must belong to the user."""
    store.save(SESSION)
    write_private(folder_of(store) / "token", TOKEN)
    os.chown(folder_of(store) / name, 12345, 12345)

    assert "belongs to another user" in refused(store)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644])
def test_a_token_that_others_may_read_is_refused(store: Store, mode: int) -> None:
    """It no longer protects the session if somebody else may have seen it."""
    store.save(SESSION)
    write_private(folder_of(store) / "token", TOKEN)
    (folder_of(store) / "token").chmod(mode)

    assert "/token is open to other users" in refused(store)


def test_readable_by_others_is_not_changeable_by_them(store: Store) -> None:
    """A directory that a job made with a usual umask is still private one level up."""
    store.save(SESSION)
    folder_of(store).chmod(0o755)

    assert store.load("7") == SESSION


def test_a_file_that_disappears_meanwhile_is_not_an_error(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another slurm-nb may be writing: its half-made file can appear and disappear at any time."""
    store.save(SESSION)
    lstat = os.lstat

    def gone(path: str) -> os.stat_result:
        return lstat(f"{path}.123.new" if str(path).endswith("/session.json") else path)

    monkeypatch.setattr(os, "lstat", gone)

    assert store.load("7") == SESSION
    assert store.all() == ([SESSION], [])


def test_a_session_whose_files_cannot_be_listed_is_refused(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """slurm-nb does not trust files that it cannot check."""
    store.save(SESSION)

    scandir = os.scandir

    def denied(folder: Path | str) -> object:
        if Path(folder) == folder_of(store):
            raise PermissionError(13, "Permission denied")
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", denied)

    with pytest.raises(UserError, match=f"cannot read {folder_of(store)}: Permission denied"):
        store.load("7")


def test_the_password_is_in_the_state_directory(store: Store) -> None:
    """The job finds it there on every node."""
    assert store.password_path == store.folder / "password"
