"""A job's options as words of a command line, so that it can be submitted again."""

from __future__ import annotations

from dataclasses import fields

from slurm_nb.job.spec import JobSpec


def to_argv(
    spec: JobSpec,
    *,
    template: str | None,
    local: bool,
    login: str | None = None,
    local_port: int | None = None,
) -> tuple[str, ...]:
    """`("--time=90", "--module=python/3.11", "--notebook-dir=/home/a", "--", "--exclusive")`.

    What is slurm-nb's own default is there too, for a file may say otherwise; what was left to
    Slurm is not. template: a name, or an absolute path. login, local_port: as the user named them.
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
    if local:
        words.append("--cluster=local")
    if login is not None:
        words.append(f"--login-host={login}")
    if local_port is not None:
        words.append(f"--local-port={local_port}")
    return (*words, *(("--", *spec.sbatch_options) if spec.sbatch_options else ()))


def split_words(words: tuple[str, ...]) -> tuple[list[str], list[str]]:
    """The options, and what is for sbatch behind `--`."""
    at = words.index("--") if "--" in words else len(words)
    return list(words[:at]), list(words[at + 1 :])
