"""Sphinx settings for the pages that `make docs` builds."""

from __future__ import annotations

import sys
from pathlib import Path

from sphinx.application import Sphinx

import slurm_nb

sys.path.insert(0, str(Path(__file__).parent))
import generate  # in this directory, which is not on the path of Sphinx

project = "slurm-nb"
author = "The slurm-nb developers"
version = release = slurm_nb.__version__
extensions = ["myst_parser"]
nitpicky = True
smartquotes = False  # It would turn the two hyphens of an option into a dash.
myst_heading_anchors = 4  # Links to headings are the ones that code hosts use.

html_theme = "furo"
html_static_path = ["style.css"]
html_css_files = ["style.css"]
html_title = "slurm-nb"
html_show_copyright = False
html_show_sphinx = False
html_copy_source = False
html_theme_options = {"navigation_with_keys": True}

# The navigation. It is not in index.md, because a code host would show the directive.
_NAVIGATION = {
    "Start here": ["install", "tutorial"],
    "How-to guides": [
        "how-to/connect",
        "how-to/environment",
        "how-to/lab-and-directory",
        "how-to/gpus",
        "how-to/memory",
        "how-to/session-page",
        "how-to/idle-and-time-limits",
        "how-to/wait-in-the-queue",
        "how-to/resubmit",
        "how-to/sessions",
        "how-to/sbatch-options",
        "how-to/profiles",
        "how-to/nodes-without-ssh",
        "how-to/private-mode-and-passwords",
        "how-to/audit",
        "how-to/another-cluster",
        "how-to/without-slurm",
        "how-to/vscode",
        "how-to/python-and-scripts",
        "how-to/shell-completion",
        "how-to/uninstall",
    ],
    "Problems": ["troubleshooting", "reference/states-and-causes"],
    "Reference": [
        "reference/commands",
        "reference/config",
        "reference/environment-variables",
        "reference/exit-codes",
        "reference/json",
        "reference/files",
    ],
    "For admins": [
        "admin/install",
        "admin/site-config",
        "admin/templates",
        "admin/security-officer",
        "admin/controller-load",
        "admin/homes",
        "admin/upgrading",
        "admin/uninstalling",
    ],
    "Background": [
        "explanation/how-it-works",
        "explanation/security",
        "explanation/decisions",
    ],
    "Project": ["contributing", "changelog"],
}

# The search finds only the titles of these: their words would come before the user's pages.
_FOR_DEVELOPERS = ("contributing", "changelog", "explanation/decisions")


def _leave_out_of_the_search(app: Sphinx, page: str, _source: list[str]) -> None:
    if page in _FOR_DEVELOPERS:
        app.env.metadata[page]["nosearch"] = "true"


def _add_navigation(app: Sphinx, page: str, source: list[str]) -> None:
    if page == "index":
        app.env.note_dependency(__file__)  # The page is built again when this file changes.
        source[0] += "".join(
            f"\n```{{toctree}}\n:hidden:\n:caption: {caption}\n\n" + "\n".join(pages) + "\n```\n"
            for caption, pages in _NAVIGATION.items()
        )


def _add_generated_parts(app: Sphinx, _page: str, source: list[str]) -> None:
    if generate.parts_of(source[0]):
        app.env.note_reread()  # The page is built again each time: the program may have changed.
        source[0] = generate.built(source[0])


def setup(app: Sphinx) -> None:
    """Add the navigation to the first page, and to the others what is made from the code."""
    app.connect("source-read", _leave_out_of_the_search)
    app.connect("source-read", _add_navigation)
    app.connect("source-read", _add_generated_parts)
