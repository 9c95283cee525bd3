"""Write a job's options as the words of a command line, to resubmit it."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

from slurm_nb.job.spec import JobSpec


def to_argv(  # noqa: PLR0913  all but the first are by name
    spec: JobSpec,
    *,
    template: str | None,
    local: bool,
    login: str | None = None,
    local_port: int | None = None,
    notebook: Path | None = None,
) -> tuple[str, ...]:
    """Return `("--time=90", "--module=python/3.11", "--", "--exclusive")`.

    Includes slurm-nb's defaults, because a config file may override them, but not the choices left
    to Slurm. template: a name, or an absolute path. login, local_port: as the user wrote them.
    """
    words: list[str] = []
    for field in fields(spec):
        value = getattr(spec, field.name)
        name = field.name.replace("_", "-")
        if value is None or field.name == "sbatch_options":
            continue
        if isinstance(value, bool):
            words.append(f"--{name}" if value else f"--no-{name}")
        else:
            words += [f"--{name}={each}" for each in (value if type(value) is tuple else (value,))]
    if template is not None:
        words.append(f"--template={template}")
    if notebook is not None:
        words.append(f"--open={notebook}")
    if local:
        words.append("--local")
    if login is not None:
        words.append(f"--login-host={login}")
    if local_port is not None:
        words.append(f"--local-port={local_port}")
    return (*words, *(("--", *spec.sbatch_options) if spec.sbatch_options else ()))


def split_words(words: tuple[str, ...]) -> tuple[list[str], list[str]]:
    """Return the options, and the options for sbatch after `--`."""
    at = words.index("--") if "--" in words else len(words)
    return list(words[:at]), list(words[at + 1 :])
