"""A job's options as words of a command line, so that it can be submitted again.

Pure: no I/O, no clock.
"""

from __future__ import annotations

from dataclasses import fields

from slurm_nb.spec import JobSpec


def words_of(spec: JobSpec, *, template: str | None, local: bool) -> tuple[str, ...]:
    """`("--time=90", "--module=python/3.11", "--notebook-dir=/home/a", "--", "--exclusive")`.

    What is slurm-nb's own default is left out. template: a name, or an absolute path.
    """
    words: list[str] = []
    for field in fields(spec):
        value = getattr(spec, field.name)
        option = "--" + field.name.replace("_", "-")
        if value == field.default or field.name == "sbatch_options":
            continue
        if value is True:
            words.append(option)
        else:
            words += [f"{option}={each}" for each in (value if type(value) is tuple else (value,))]
    if template is not None:
        words.append(f"--template={template}")
    if local:
        words.append("--cluster=local")
    return (*words, *(("--", *spec.sbatch_options) if spec.sbatch_options else ()))


def split_words(words: tuple[str, ...]) -> tuple[list[str], list[str]]:
    """The options, and what is for sbatch behind `--`."""
    at = words.index("--") if "--" in words else len(words)
    return list(words[:at]), list(words[at + 1 :])
