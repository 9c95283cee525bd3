"""Find, load and render job templates. The only module that uses jinja2.

It quotes every `{{ value }}`, so that authors of templates do not have to.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import jinja2
from jinja2 import nodes
from jinja2.runtime import BlockReference, Context

from slurm_nb.errors import SlurmNbError, UserError, did_you_mean
from slurm_nb.files import check_only_owner_can_write, read_small
from slurm_nb.job.quoting import Quoted, leave_raw, quote, quote_directive, quote_sh
from slurm_nb.paths import TEMPLATE_SUFFIX, templates_folder

BASE = f"jupyter{TEMPLATE_SUFFIX}"
_LONGEST_BYTES = 4 << 20
_BASE_NAMES = (BASE, BASE.removesuffix(TEMPLATE_SUFFIX))
_DIRECTIVE = re.compile(r"\s*#SBATCH\b")


def fill_in(
    template: str | None, variables: Mapping[str, object], *, folders: Sequence[Path]
) -> str:
    """Render `template` with `variables`; None: the base template.

    template: the path of a file, or a name in `folders`. Raises `UserError` with file and line if
    it cannot be found, read or rendered, or if other users may change it.
    """
    name = BASE if template is None else str(_find(template, folders))
    loader = _Loader(folders)
    environment = _Environment(
        loader=loader,
        undefined=jinja2.StrictUndefined,
        autoescape=False,
        finalize=quote,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(sh=quote_sh, directive=quote_directive, raw=leave_raw)
    try:
        if name != BASE:
            with suppress(jinja2.TemplateNotFound):  # below, jinja2 names the line
                _check_blocks(environment, loader, name)
        return environment.get_template(name).render(variables)
    except jinja2.TemplateSyntaxError as error:
        where = f"{error.filename or error.name}, line {error.lineno}"
        raise UserError(f"{where}: {error.message}", hint=_hint(name)) from error
    except jinja2.TemplateNotFound as error:
        where = _line_of(error) or name
        raise UserError(
            f"{where}: there is no template {error.name!r}", hint=_hint(name)
        ) from error
    except SlurmNbError as error:
        line = _line_of(error)
        if line is None or line.startswith(f"{templates_folder() / BASE},"):
            raise
        raise UserError(f"{line}: {error}", hint=error.hint) from error
    except RecursionError as error:
        said = f"{name}: includes, extends or calls itself"
        raise UserError(said, hint=_hint(name)) from error
    except Exception as error:
        # An expression of the author may raise anything; in our own template it is a bug.
        if name == BASE:
            raise
        said = f"{error}" or type(error).__name__
        raise UserError(f"{_line_of(error) or name}: {said}", hint=_hint(name)) from error


class _Loader(jinja2.BaseLoader):
    """Load the base, absolute paths and names in the folders, unless others may change them."""

    def __init__(self, folders: Sequence[Path]) -> None:
        self._folders = folders

    def get_source(
        self, environment: jinja2.Environment, template: str
    ) -> tuple[str, str, Callable[[], bool]]:
        if template in _BASE_NAMES:
            path = templates_folder() / BASE
        elif Path(template).is_absolute():
            path = Path(template)
        else:
            path = _look_up(template, self._folders) or Path()
            if path == Path():
                raise jinja2.TemplateNotFound(template)
        if templates_folder() not in path.parents:
            check_only_owner_can_write(path)
        try:
            text = read_small(path, _LONGEST_BYTES).decode("utf-8")
        except (OSError, ValueError) as error:
            raise UserError(f"cannot read the template {path}: {error}") from error
        _check_directives(environment, text, path)
        return text, str(path), lambda: True


class _Block(BlockReference):
    """A parent's block for `super()`, which is already quoted."""

    @property
    def super(self) -> Any:  # noqa: ANN401  as the base class has it
        parent = super().super
        if isinstance(parent, BlockReference):
            return _Block(self.name, self._context, self._stack, self._depth + 1)
        return parent

    def __call__(self) -> str:
        return Quoted(super().__call__())


class _Context(Context):
    def super(self, name: str, current: Any) -> Any:  # noqa: ANN401  as the base class has it
        parent = super().super(name, current)
        if isinstance(parent, BlockReference):
            return _Block(parent.name, parent._context, parent._stack, parent._depth)  # noqa: SLF001
        return parent


class _Environment(jinja2.Environment):
    context_class = _Context


def _find(template: str, folders: Sequence[Path]) -> Path:
    """Return the file of a template; the name of the base for the base."""
    if template in _BASE_NAMES:
        return Path(BASE)
    if os.sep in template:
        path = Path(os.path.abspath(os.path.expanduser(template)))  # noqa: PTH111  keeps symlinks
        if not path.is_file():
            raise UserError(
                f"--template {template!r}: there is no such file", options=("template",)
            )
        return path
    found = _look_up(template, folders)
    if found is None and Path(template).is_file():
        found = Path.cwd() / template
    if found is None:
        places = ", ".join(str(folder) for folder in folders)
        raise UserError(
            f"--template {template!r}: there is no template with this name",
            hint=f"slurm-nb searched for {template}{TEMPLATE_SUFFIX} in {places}; for a file write"
            f" ./{template}",
            options=("template",),
        )
    return found


def _look_up(name: str, folders: Sequence[Path]) -> Path | None:
    names = (name, name + TEMPLATE_SUFFIX)
    paths = (folder / each for folder in folders for each in names)
    return next((path for path in paths if path.is_file()), None)


def _check_directives(environment: jinja2.Environment, text: str, path: Path) -> None:
    """Raise `UserError` for a value in an #SBATCH line without the filter `directive`."""
    line, begun, expression = "", 0, [""]
    for number, kind, value in environment.lex(text, path.name, str(path)):
        if kind == "data":
            line = (line + value).rpartition("\n")[2]
        elif kind == "variable_begin":
            begun, expression = number, []
        elif kind == "variable_end":
            if _DIRECTIVE.match(line) and expression[-2:] != ["|", "directive"]:
                raise UserError(
                    f"{path}, line {begun}: a value in an #SBATCH line needs the filter"
                    " `directive`",
                    hint='write {{ ("--account=" ~ spec.account) | directive }}',
                )
        elif kind != "whitespace":
            expression.append(value)


def _check_blocks(
    environment: jinja2.Environment, loader: _Loader, name: str
) -> frozenset[str] | None:
    """Return the blocks of a template and its parents; None if they are not known in advance.

    Raises `UserError` for a block that overrides nothing, which jinja2 would silently drop.
    """
    text, path, _ = loader.get_source(environment, name)
    tree = environment.parse(text, name, path)
    own = frozenset(block.name for block in tree.find_all(nodes.Block))
    extends = tree.find(nodes.Extends)
    if extends is None:
        return own
    if not isinstance(extends.template, nodes.Const):  # known only when rendered
        return None
    known = _check_blocks(environment, loader, str(extends.template.value))
    if known is None:
        return None
    for block in tree.body:
        if isinstance(block, nodes.Block) and block.name not in known:
            raise UserError(
                f"{path}, line {block.lineno}: there is no block {block.name!r} to override",
                hint=f"{did_you_mean(block.name, known)}the blocks are {', '.join(sorted(known))}",
            )
    return known | own


def _line_of(error: BaseException) -> str | None:
    """Return `FILE, line N` of the template that raised `error`; jinja2 rewrites tracebacks."""
    found = None
    step = error.__traceback__
    while step is not None:
        if "__jinja_exception__" in step.tb_frame.f_globals:
            found = f"{step.tb_frame.f_code.co_filename}, line {step.tb_lineno}"
        step = step.tb_next
    return found


def _hint(name: str) -> str:
    return (
        ""
        if name == BASE
        else "docs/admin/templates.md lists the variables and blocks of templates"
    )
