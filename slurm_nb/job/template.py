"""Job templates: found, loaded, filled in. The only user of jinja2.

Every `{{ value }}` is quoted here, so that no author of a template has to think of it.
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
from slurm_nb.files import check_only_owner_can_write
from slurm_nb.job.quoting import Quoted, leave_raw, quote, quote_directive, quote_sh
from slurm_nb.paths import templates_folder

BASE = "jupyter.sh.j2"
_SUFFIX = ".sh.j2"
_BASE_NAMES = (BASE, BASE.removesuffix(_SUFFIX))
_DIRECTIVE = re.compile(r"\s*#SBATCH\b")


def fill_in(
    template: str | None, variables: Mapping[str, object], *, folders: Sequence[Path]
) -> str:
    """The text that `template` makes of `variables`; None: the base.

    template: a file's path, or a name that is looked up in `folders`. Raises `UserError`, which
    names file and line, when it can't be found, read or filled in, or when others may change it.
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
            with suppress(jinja2.TemplateNotFound):  # below, jinja2 names the line that wants it
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
        said = f"{name}: comes to itself again, by include, extends or a macro"
        raise UserError(said, hint=_hint(name)) from error
    except Exception as error:
        # Whatever an expression of the author's raises; of our own templates it is our fault.
        if name == BASE:
            raise
        said = f"{error}" or type(error).__name__
        raise UserError(f"{_line_of(error) or name}: {said}", hint=_hint(name)) from error


class _Loader(jinja2.BaseLoader):
    """The base, absolute paths, and names in the folders; none that others may change."""

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
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeError) as error:
            raise UserError(f"{path}: the template can't be read: {error}") from error
        _check_directives(environment, text, path)
        return text, str(path), lambda: True


class _Block(BlockReference):
    """What `super()` calls: the parent's block is bash already."""

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
    """The file of a template that the user named; the base goes by its name."""
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
            f"--template {template!r}: there is no template of this name",
            hint=f"looked for {template}{_SUFFIX} in {places}; a file needs a slash: ./{template}",
            options=("template",),
        )
    return found


def _look_up(name: str, folders: Sequence[Path]) -> Path | None:
    names = (name, name + _SUFFIX)
    paths = (folder / each for folder in folders for each in names)
    return next((path for path in paths if path.is_file()), None)


def _check_directives(environment: jinja2.Environment, text: str, path: Path) -> None:
    """Slurm reads #SBATCH lines by rules of its own, which quoting for bash does not meet."""
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
    """Return the blocks of a template and of those above it; None where nobody can know them.

    Raises `UserError` for a block that overrides none: jinja2 leaves it out without a word.
    """
    text, path, _ = loader.get_source(environment, name)
    tree = environment.parse(text, name, path)
    own = frozenset(block.name for block in tree.find_all(nodes.Block))
    extends = tree.find(nodes.Extends)
    if extends is None:
        return own
    if not isinstance(extends.template, nodes.Const):  # known only when it is filled in
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
    """`FILE, line N` of the template where `error` was raised; jinja2 rewrites its traceback."""
    found = None
    step = error.__traceback__
    while step is not None:
        if "__jinja_exception__" in step.tb_frame.f_globals:
            found = f"{step.tb_frame.f_code.co_filename}, line {step.tb_lineno}"
        step = step.tb_next
    return found


def _hint(name: str) -> str:
    return "" if name == BASE else "docs/admin/templates.md lists what a template can use"
