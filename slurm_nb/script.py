"""From a JobSpec to the text of a job script. The only user of jinja2."""

from __future__ import annotations

import os
import re
import shlex
from importlib import resources
from pathlib import Path

import jinja2

from slurm_nb.errors import BadValue
from slurm_nb.spec import JobSpec, refuse_control_characters

_KIT = (
    "jupyter_server_config.py",
    "slurm_nb_checks.py",
    "slurm_nb_kernel.py",
    "slurm_nb_kernels.py",
    "slurm_nb_kit.py",
    "slurm_nb_overruled.py",
    "slurm_nb_versions.py",
)
_DIRECTIVE_PLAIN = re.compile(r"[\w@%+=:,./-]+")
_DIRECTIVE_OPTION = re.compile(r"--[a-z-]+=", re.ASCII)


def render(spec: JobSpec, *, state_dir: Path) -> str:
    """The job script: bash with #SBATCH directives, complete in itself.

    `state_dir` is absolute and seen by login and compute nodes alike.
    Raises `BadValue` when a value holds a control character.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(templates()),
        undefined=jinja2.StrictUndefined,
        autoescape=False,  # noqa: S701  bash, not HTML: every value goes through a quoting filter
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["sh"] = quote_sh
    environment.filters["directive"] = quote_directive
    return environment.get_template("jupyter.sh.j2").render(
        spec=spec, state_dir=state_dir, log_pattern=log_pattern(state_dir), kit=_kit()
    )


def log_pattern(state_dir: Path) -> str:
    """sbatch's `--output`: `/home/u/.local/state/slurm-nb/jobs/%j_0_log.out`.

    The name is submitit's own (JobPaths.stdout). Raises `BadValue` for a percent sign or a
    backslash in it: submitit and sbatch read them as more than characters.
    """
    if set("%\\") & set(str(state_dir)):
        raise BadValue(
            f"the state directory {str(state_dir)!r} holds a percent sign or a backslash",
            hint="set SLURM_NB_HOME to a directory without one",
        )
    return f"{on_disk(state_dir)}/jobs/%j_0_log.out"


def templates() -> Path:
    """The folder of job templates: beside the package, or one level up in a checkout."""
    package = Path(str(resources.files("slurm_nb")))
    inside = package / "job_templates"
    return inside if inside.is_dir() else package.parent / "job_templates"


def on_disk(path: Path) -> str:
    """A path such that the script, which is UTF-8, names the same bytes as this process does.

    In a locale such as de_DE.ISO-8859-1 Python reads other letters out of the same bytes.
    """
    return os.fsencode(path).decode("utf-8", "surrogateescape")


def quote_sh(value: object) -> str:
    """One word for bash: `/home/it's` becomes `'/home/it'"'"'s'`."""
    text = on_disk(value) if isinstance(value, Path) else str(value)
    refuse_control_characters("value for the job script", text)
    return shlex.quote(text)


def quote_directive(value: object) -> str:
    """One word of an #SBATCH line: `--comment=a b` becomes `--comment='a b'`.

    There a `#` begins a comment, and a backslash escapes also within single quotes (seen
    on 22.05), so bash's quoting would not do.
    """
    text = str(value)
    refuse_control_characters("sbatch option", text)
    if _DIRECTIVE_PLAIN.fullmatch(text):
        return text
    option = _DIRECTIVE_OPTION.match(text)
    start = option.end() if option else 0
    quoted = text[start:].replace("\\", "\\\\").replace("'", "\\'")
    return f"{text[:start]}'{quoted}'"


def _kit() -> dict[str, str]:
    folder = resources.files("slurm_nb.jobside")
    return {name: (folder / name).read_text(encoding="utf-8") for name in _KIT}
