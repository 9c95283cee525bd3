"""The interpreters that users have can read the kit."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from slurm_nb import kit

PACKAGE = Path(kit.__file__).parent
MODULES = sorted(str(path.relative_to(PACKAGE)) for path in PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("name", MODULES)
def test_the_kit_is_python_3_8(name: str) -> None:
    """The user's interpreter may be years older than slurm-nb's."""
    text = (PACKAGE / name).read_text(encoding="utf-8")

    ast.parse(text, feature_version=(3, 8))

    assert compile(text, name, "exec")


@pytest.mark.parametrize("name", ["__init__.py", "preflight.py", "kernel_launcher.py"])
def test_the_parts_that_run_on_older_interpreters_are_python_3_5(name: str) -> None:
    """They say that the interpreter is too old; and kernels of any age run the launcher."""
    assert ast.parse((PACKAGE / name).read_text(encoding="utf-8"), feature_version=(3, 5))
