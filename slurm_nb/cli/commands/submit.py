"""slurm-nb submit"""

from __future__ import annotations

from typing import Any

import click

from slurm_nb.cli.again_option import again_option
from slurm_nb.cli.config_options import Configured, config_of, profile_option, refuse_locked
from slurm_nb.cli.options import (
    completed_by,
    json_option,
    local_port_option,
    login_host_option,
    notify_option,
    wait_timeout_option,
)
from slurm_nb.connection.login import Login
from slurm_nb.errors import UserError
from slurm_nb.job.auth import AUTHS
from slurm_nb.job.resolve import (
    resolve_env,
    resolve_image,
    resolve_notebook,
    resolve_notebook_dir,
    resolve_python,
)
from slurm_nb.job.routes import ROUTES, names_with_tls
from slurm_nb.job.spec import LISTENS, PEERS, UIS, JobSpec

_FILE, _FOLDER = completed_by("files"), completed_by("folders")


@click.command(
    "submit",
    cls=Configured,
    headings={
        "account": "Resources",
        "python": "Environment",
        "ui": "Jupyter",
        "listen": "Connection",
        "wait-timeout": "Waiting",
        "dry-run": "Output",
        "help": "Options",
    },
    context_settings={"show_default": True, "help_option_names": ["-h", "--help"]},
)
@profile_option
@again_option
@click.option("-A", "--account", shell_complete=completed_by("accounts"), help="Account to charge.")
@click.option("-t", "--time", metavar="TIME", help="Time limit: 90 (minutes), 2:00:00 or 1-12:00.")
@click.option("-p", "--partition", shell_complete=completed_by("partitions"), help="Partition.")
@click.option("-q", "--qos", shell_complete=completed_by("qos"), help="Quality of service (QOS).")
@click.option("-c", "--cpus-per-task", type=int, metavar="N", help="CPUs.")
@click.option("--mem", metavar="SIZE", help="Memory per node, for example 4G.")
@click.option("-G", "--gpus", metavar="[TYPE:]N", help="GPUs, for example 1 or a100:2.")
@click.option("--gres", metavar="LIST", help="Generic resources, for example gpu:a100:1.")
@click.option("-C", "--constraint", metavar="LIST", help="Required node features.")
@click.option("-w", "--nodelist", metavar="NODES", help="Nodes to use.")
@click.option("-x", "--exclude", metavar="NODES", help="Nodes to avoid.")
@click.option("--reservation", metavar="NAME", help="Reservation.")
@click.option(
    "-M",
    "--clusters",
    metavar="NAMES",
    help="Clusters; Slurm uses the one that can start the job first.",
)
@click.option("-J", "--job-name", metavar="NAME", help="Job name.", default=JobSpec.job_name)
@click.option("--comment", metavar="TEXT", help="Comment on the job; every user can read it.")
@click.option("--local", is_flag=True, help="Run on this machine, without Slurm.")
@click.option("--cluster", type=click.Choice(["local"]), hidden=True)  # --local in 0.1.0
@click.option(
    "--python",
    metavar="PATH",
    shell_complete=_FILE,
    help="Python interpreter that runs Jupyter. [default: that of --env, --module or --container,"
    " otherwise slurm-nb's own]",
)
@click.option(
    "--env",
    metavar="PATH_OR_NAME",
    shell_complete=_FOLDER,
    help="Virtual or conda environment.",
)
@click.option("--module", metavar="NAME", multiple=True, help="Module to load; repeatable.")
@click.option(
    "--container",
    metavar="IMAGE",
    shell_complete=_FILE,
    help="Apptainer or Singularity image.",
)
@click.option(
    "--setup",
    metavar="LINE",
    multiple=True,
    help="Bash to run before modules and environments are loaded; repeatable.",
)
@click.option("--template", metavar="FILE_OR_NAME", shell_complete=_FILE, help="Job template.")
@click.option("--ui", type=click.Choice(UIS), default="notebook", help="Jupyter Notebook or Lab.")
@click.option(
    "--open",
    "notebook",
    metavar="FILE",
    shell_complete=_FILE,
    help="Open this notebook. Short form: submit FILE.ipynb",
)
@click.option(
    "--notebook-dir",
    metavar="DIR",
    shell_complete=_FOLDER,
    help="Jupyter's root. [default: the current directory]",
)
@click.option(
    "--terminals/--no-terminals",
    default=True,
    help="Offer terminals on the page; on by default.",
)
@click.option(
    "--allow-debugger",
    is_flag=True,
    help="Let kernels start a debugger. While it runs, any user of the node can run code as you.",
)
@click.option(
    "--idle-timeout",
    metavar="TIME",
    default=JobSpec.idle_timeout,
    show_default=False,
    help=f"End after this idle time; 0: never. [default: {JobSpec.idle_timeout} min]",
)
@click.option(
    "--listen",
    type=click.Choice(LISTENS),
    default="port",
    help="Listen on the node's loopback interface, or on a UNIX socket that only you can open.",
)
@click.option(
    "--route",
    type=click.Choice(list(ROUTES)),
    default="jump",
    help=" ".join(f"{name}: {route.help}." for name, route in ROUTES.items()),
)
@click.option(
    "--tls",
    is_flag=True,
    help=f"With --route {' or '.join(names_with_tls())}: encrypt to the compute node.",
)
@click.option(
    "--peers",
    type=click.Choice(PEERS),
    default="user",
    help="user: only you and root can connect on the node. any: every user there; only if your"
    " site's ssh forwards as another user.",
)
@click.option(
    "--auth",
    type=click.Choice(AUTHS),
    default="token",
    help="Log in with the token in the URL, or with the password set by `slurm-nb password`.",
)
@login_host_option
@local_port_option
@wait_timeout_option
@notify_option
@click.option(
    "--connect", is_flag=True, help="Carry the session through this ssh login: route relay."
)
@click.option("--no-wait", is_flag=True, help="Return once the job is submitted.")
@click.option("--dry-run", is_flag=True, help="Print the job script; submit nothing.")
@json_option
@click.argument("sbatch_options", nargs=-1, metavar="[NOTEBOOK] [-- SBATCH_OPTIONS...]")
def command(
    *,
    notebook: str | None,
    notebook_dir: str | None,
    python: str | None,
    env: str | None,
    container: str | None,
    template: str | None,
    local: bool,
    cluster: str | None,
    login: Login | None,
    local_port: int | None,
    wait_timeout: int | None,
    notify: bool,
    connect: bool,
    no_wait: bool,
    dry_run: bool,
    as_json: bool,
    **options: Any,  # noqa: ANN401  click's values, named like the fields of JobSpec
) -> None:
    """Start Jupyter in a Slurm job and print how to connect.

    \b
    slurm-nb submit -t 2:00:00 -c 4 --mem 8G
    slurm-nb submit -G 1 --env ~/envs/torch analysis.ipynb
    slurm-nb submit -t 2:00:00 -- --mail-type=END

    Options for sbatch go after --. To turn a switch off, write no- before its
    name: --no-terminals. To show your defaults: slurm-nb config
    """  # noqa: D301  click keeps the lines after \b
    local = local or cluster is not None
    if connect:
        _check_connect(no_wait=no_wait, as_json=as_json, local=local)
        if options["route"] == JobSpec.route:  # the server listens alike
            options["route"] = "relay"
    path = resolve_notebook(notebook)
    spec = JobSpec(
        notebook_dir=resolve_notebook_dir(notebook_dir, notebook=path),
        python=resolve_python(python, looked_up_there=bool(env or container or options["module"])),
        env=resolve_env(env),
        container=resolve_image(container),
        **options,
    )
    if dry_run:
        from slurm_nb.operations.render import render

        click.echo(render(spec, template=template), nl=False)
        return
    from slurm_nb.cli.submission import submit_and_wait

    submit_and_wait(
        spec,
        template=template,
        login=login,
        local_port=local_port,
        local=local,
        notebook=path,
        connect=connect,
        wait=not no_wait,
        timeout_s=wait_timeout,
        notify=notify,
        as_json=as_json,
        site_notice=config_of(click.get_current_context()).site.notice,
    )


def _check_connect(**without: bool) -> None:
    """Raise `UserError` if there is nothing to connect to, or nowhere to say so."""
    for name, is_on in without.items():
        if is_on:
            option = "json" if name == "as_json" else name.replace("_", "-")
            raise UserError(
                f"--connect and --{option} cannot be combined",
                hint="leave one of them out",
                options=("connect", option),
            )
    refuse_locked(click.get_current_context(), "route", "relay", source="--connect")
