"""Config files on a real cluster: site, user, profile, variables, and config init."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.users import ALICE, MALLORY
from tests.e2e.scientist import SSH_CONNECTION, Said, Scientist

ADMIN = Path(__file__).parents[2] / "docs/admin"
# As with WITH_ETC below; and a /usr/local/bin where nothing is yet.
FROM_NOTHING = """
for folder in /etc /usr/local/bin; do
  own=$(mktemp -d)
  made+=("$own")
  [ "$folder" != /etc ] || cp -a /etc/. "$own"
  chmod 755 "$own"
  mount --bind "$own" "$folder"
done
rm -rf /etc/slurm-nb /srv/slurm-nb
bash -ec "$INSTALL"
bash -ec "$CONFIGURE"
export HOME=/home/alice USER=alice LOGNAME=alice
setpriv --reuid alice --regid alice --init-groups bash -ec "$USE" && code=0 || code=$?
rm -rf "${made[@]}"
exit $code
"""
# Root gives login another /etc, in a mount namespace of only this command.
WITH_ETC = """
etc=$(mktemp -d)
cp -a /etc/. "$etc"
mkdir -p "$etc/slurm-nb"
mkdir "$etc/slurm-nb/templates"
printf %s "$SITE" > "$etc/slurm-nb/config.toml"
[ -z "$TEMPLATE" ] || printf %s "$TEXT" > "$etc/slurm-nb/templates/$TEMPLATE"
chmod 755 "$etc"
mount --bind "$etc" /etc
export HOME=/home/alice USER=alice LOGNAME=alice
setpriv --reuid alice --regid alice --init-groups slurm-nb "$@" && code=0 || code=$?
rm -rf "$etc"
exit $code
"""
SHELL = re.compile(r"^```sh\n(.*?)^```", re.MULTILINE | re.DOTALL)
PRIVATE = 'listen = "socket"\nlogin-host = "login.cluster.test:22"\nlocked = ["listen", "auth"]\n'
USER_FILE = Path(".config/slurm-nb/config.toml")
SITE_FILE = "/srv/site.toml"


def offline(install: str, wheel: Path) -> str:
    """Return a page's commands for a host that reaches no registry.

    pip gets the wheel in /srv, and finds what it requires in /srv/venv.
    """
    pip = "/srv/slurm-nb/$version/bin/pip install dist/slurm_nb-$version-*.whl\n"
    assert pip in install
    lib = "/srv/slurm-nb/$version/lib/*/site-packages"
    return install.replace(
        pip,
        f"for lib in {lib}; do ls -d /srv/venv/lib/*/site-packages >$lib/a.pth; done\n"
        "/srv/slurm-nb/$version/bin/pip install --quiet --no-index --no-deps --ignore-installed"
        f" /srv/{wheel.name}\n",
    )


@pytest.fixture
def alice(alice: Scientist) -> Iterator[Scientist]:
    """Yield alice, and remove their config file and the site's after the test."""
    yield alice
    alice.cluster.login.run(["rm", "-rf", "/home/alice/.config", "/home/alice/job.sh", SITE_FILE])


def with_etc(
    alice: Scientist, site: str, *words: str, template: tuple[str, str] = ("", "")
) -> Said:
    """Run slurm-nb as alice where `site` is /etc/slurm-nb/config.toml.

    template: its name and text, for the folder next to it.
    """
    done = alice.cluster.login.run(
        ["unshare", "--mount", "bash", "-ec", WITH_ETC, "bash", *words],
        env={**SSH_CONNECTION, "SITE": site, "TEMPLATE": template[0], "TEXT": template[1]},
        cwd="/home/alice",
        timeout_s=90,
        check=False,
    )
    return Said(done.returncode, done.stdout, done.stderr)


def site_file(alice: Scientist, text: str, uid: int = 0) -> dict[str, str]:
    """Write a site's file elsewhere; return the variable that names it."""
    path = alice.cluster.login.root / SITE_FILE[1:]
    path.write_text(text)
    os.chown(path, uid, uid)
    return {"SLURM_NB_SITE_CONFIG": SITE_FILE}


def user_file(alice: Scientist, text: str) -> None:
    path = alice.home / USER_FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    for each in (path, path.parent, path.parent.parent):
        os.chown(each, ALICE.uid, ALICE.uid)


def test_a_site_makes_private_sessions_the_default(alice: Scientist) -> None:
    """With the file in /etc and no option: a socket, the site's login host, a cell that runs."""
    said = with_etc(alice, PRIVATE, "submit", "--json")

    record = json.loads(said.stdout)
    with alice.tunnel(record["tunnel_command"]):
        seen = alice.run_cell(record["url"], "print(6 * 7)")
    assert (record["port"], record["login_host"]) == (None, "login.cluster.test")
    assert record["socket"]
    assert seen["output"].strip() == "42"


def test_an_admins_walk_from_nothing_leads_to_a_session(alice: Scientist, wheel: Path) -> None:
    """The page's own commands, as root and then as a user, print a connection that leads to a cell.

    One word differs: the hosts reach no registry, so pip gets the wheel, and finds its requirements
    in /srv/venv.
    """
    page = (ADMIN / "install.md").read_text()
    section = page.partition("## Install from nothing\n")[2].partition("\n## ")[0]
    install, try_, configure, use = SHELL.findall(section)
    shutil.copy(wheel, alice.cluster.state / "srv")

    said = alice.cluster.login.run(
        ["unshare", "--mount", "bash", "-ec", FROM_NOTHING],
        env={
            **SSH_CONNECTION,
            "PATH": "/usr/local/bin:/usr/sbin:/usr/bin:/bin",
            "INSTALL": offline(install, wheel) + try_,
            "CONFIGURE": configure,
            "USE": use,
        },
        cwd="/home/alice",
        timeout_s=90,
    )

    (command,) = re.findall("^ssh .*", said.stdout, re.MULTILINE)
    (url,) = re.findall("^http:.*", said.stdout, re.MULTILINE)
    with alice.tunnel(command):
        seen = alice.run_cell(url, "import sys; print(sys.executable)")
    assert re.search("^partition +main +/etc/slurm-nb/config.toml:1$", said.stdout, re.MULTILINE)
    assert "-J alice@login.cluster.test " in command
    assert alice.squeue("%P %l") == ["main 2:00:00"]
    assert seen["output"] == "/srv/slurm-nb/0.1.0/bin/python3\n"


def test_the_worked_example_of_the_page_leads_to_a_session(alice: Scientist) -> None:
    """The page's worked example is in /etc, `submit` has no options: it prints the connection."""
    section = (ADMIN / "site-config.md").read_text().partition("## A worked example\n")[2]
    (example, *_) = re.findall(r"^```toml\n(.*?)^```", section, re.MULTILINE | re.DOTALL)

    said = with_etc(alice, example, "submit")
    shown = with_etc(alice, example, "config")
    refused = with_etc(alice, example, "submit", "--time", "2-0")

    assert said.exit_code == 0, said
    assert re.search(
        r"^ssh -N .* -L 127\.0\.0\.1:\d+:/\S+ -J alice@login.cluster.test ",
        said.stdout,
        re.MULTILINE,
    )
    assert alice.squeue("%P %l") == ["main 2:00:00"]
    assert re.search(
        r"^listen +socket +/etc/slurm-nb/config.toml:5 +locked by ", shown.stdout, re.MULTILINE
    )
    line = example.splitlines().index('time = "1-00:00:00"') + 1  # the first one: [maximum]
    assert f"/etc/slurm-nb/config.toml:{line} sets" in refused.stderr


@pytest.mark.parametrize("where", ["flag", "variable", "file"])
def test_nobody_overrides_a_locked_value(alice: Scientist, where: str) -> None:
    """Exit code 1 with the file and line that locked it, and the values that differ; no job."""
    env = site_file(alice, PRIVATE)
    if where == "variable":
        env["SLURM_NB_SUBMIT_LISTEN"] = "port"
    if where == "file":
        user_file(alice, 'listen = "port"\n')

    said = alice.slurm_nb("submit", *(["--listen", "port"] if where == "flag" else []), env=env)

    origin = {
        "flag": "--listen",
        "variable": "SLURM_NB_SUBMIT_LISTEN",
        "file": f"/home/alice/{USER_FILE}:1",
    }[where]
    assert said.exit_code == 1
    assert f"listen is locked to socket by {SITE_FILE}:3, but {origin} says port" in said.stderr
    assert alice.squeue("%i") == []


def test_flags_beat_variables_beat_profiles_beat_files(alice: Scientist) -> None:
    """Each of five values of one job comes from another layer, as Slurm shows the job."""
    env = site_file(alice, 'job-name = "site"\npartition = "closed"\ntime = 60\n')
    user_file(
        alice,
        'partition = "tiny"\ntime = 50\ncpus-per-task = 2\n'
        '[profiles.small]\ntime = 5\ncpus-per-task = 3\nmem = "300M"\n',
    )
    env |= {"SLURM_NB_SUBMIT_CPUS_PER_TASK": "4", "SLURM_NB_SUBMIT_MEM": "350M"}

    said = alice.slurm_nb("submit", "-P", "small", "--mem", "400M", "--no-wait", env=env)

    assert said.exit_code == 0, said
    assert alice.squeue("%j %P %l %C %m") == ["site tiny 5:00 4 400M"]


def test_options_for_sbatch_can_be_set_in_a_file(alice: Scientist) -> None:
    """sbatch-options in a file are the arguments after `--`."""
    user_file(alice, 'partition = "closed"\nsbatch-options = ["--comment", "two words"]\n')

    said = alice.slurm_nb("submit", "--no-wait")

    assert said.exit_code == 0, said
    assert alice.squeue("%k") == ["two words"]


def test_more_than_the_maximum_is_refused_before_slurm_is_asked(alice: Scientist) -> None:
    """Units are compared: 60 minutes is less than 1-00:00:00, 2 days are not."""
    env = site_file(alice, '[maximum]\ntime = "1-00:00:00"\n')
    env["PATH"] = "/srv/venv/bin"  # no Slurm there

    said = alice.slurm_nb("submit", "--time", "2-00:00:00", env=env)
    less = alice.slurm_nb("submit", "--time", "60", env=env)

    assert said.exit_code == 1
    assert f"more than 1-00:00:00, the maximum that {SITE_FILE}:2 sets" in said.stderr
    assert (less.exit_code, "sbatch is not on PATH" in less.stderr) == (3, True)


def test_the_direct_route_can_be_a_users_default(alice: Scientist) -> None:
    """`route` and `tls` are in the user's file: a fingerprint and one hop, with no option given."""
    user_file(alice, 'route = "direct"\ntls = true\nlocal-port = 12345\n')

    record = alice.submit()

    assert record["fingerprint"]
    assert "-J" not in record["tunnel_command"]
    assert record["local_port"] == 12345


def test_tunnel_cmd_knows_the_login_host_that_was_configured(alice: Scientist) -> None:
    """It uses it even for a script submitted by hand, about which submit has saved nothing."""
    user_file(alice, 'login-host = "login.cluster.test"\n')
    script = alice.slurm_nb("submit", "--dry-run").stdout
    (alice.home / "job.sh").write_text(script)
    login = alice.cluster.login
    job_id = login.run(["sbatch", "--parsable", "job.sh"], user="alice").stdout.strip()

    login.run(  # ready, says its output
        ["bash", "-c", f"until grep -qs '^slurm-nb ready' {_log(job_id)}; do sleep 0.1; done"],
        user="alice",
    )
    said = alice.slurm_nb("tunnel-cmd", job_id)

    assert said.exit_code == 0, said
    assert "-J alice@login.cluster.test " in said.stdout


def test_a_site_file_next_to_the_installation(alice: Scientist) -> None:
    """Without a terminal, with the site's mark on the job, its notice and its help address."""
    path = alice.cluster.state / "srv/etc/slurm-nb/config.toml"
    path.parent.mkdir(parents=True)
    path.write_text(
        'terminals = false\ncomment = "slurm-nb"\nnotice = "down on Monday"\n'
        'help = "help@cluster.test"\nlocked = ["terminals"]\n'
    )
    try:
        record = alice.submit()
        comments = alice.squeue("%k")
        audit = alice.slurm_nb("audit", record["job_id"])
        with alice.tunnel(record["tunnel_command"]):
            asked = record["url"].replace("/?", "/api/terminals?")
            curl = ["curl", "-s", "--retry", "20", "--retry-delay", "1", "--retry-connrefused"]
            status = ["-o", "/dev/null", "-w", "%{http_code}", asked]
            seen = alice.cluster.laptop.run([*curl, *status], user="lea").stdout
        alice.slurm_nb("cancel", record["job_id"])
        said = alice.slurm_nb("submit", "--no-wait", "--", "--hold", "--comment=mine")
        refused = alice.slurm_nb("submit", "--terminals")
    finally:
        shutil.rmtree(path.parents[1])

    assert comments == ["slurm-nb"]
    assert (audit.exit_code, "off: GET /api/terminals -> 404" in audit.stdout) == (0, True), audit
    assert seen == "404"
    assert "Note from your site: down on Monday\n" in said.stderr
    assert alice.squeue("%k") == ["mine"]
    assert "terminals is locked to false by /srv/etc/slurm-nb/config.toml:5" in refused.stderr
    assert refused.stderr.endswith("  Help: help@cluster.test\n")


def test_a_site_file_of_another_user_is_not_read(alice: Scientist) -> None:
    """Another user could remove the locks from such a file."""
    said = alice.slurm_nb("submit", env=site_file(alice, PRIVATE, uid=MALLORY.uid))

    assert said.exit_code == 1
    assert f"{SITE_FILE} belongs to mallory" in said.stderr


def test_config_init_queries_slurm(alice: Scientist) -> None:
    """The file lists the partitions with their limits, and the accounts; a cluster without
    accounting is not an error.
    """
    said = alice.slurm_nb("config", "init")

    text = (alice.home / USER_FILE).read_text()
    assert said.exit_code == 0, said
    assert "#   main: time limit 1-00:00:00, default 01:00:00" in text
    assert "#   tiny: " in text
    assert "time limit 00:10:00" in text
    assert '# partition = "main"' in text
    if alice.cluster.accounting:
        assert re.search(r"^#   yours: .*\bproject\b", text, re.MULTILINE)
    else:
        assert "Not available from Slurm" not in text
        assert "accounts" not in said.stderr


def _log(job_id: str) -> str:
    return f"/home/alice/.local/state/slurm-nb/jobs/{job_id}_0_log.out"
