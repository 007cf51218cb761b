"""How Sphinx makes of these files the site (``make docs``) and the manual page (``make man``). Needs no network."""

from __future__ import annotations

import click
from sphinx.application import Sphinx
from sphinx.util.tags import Tags

import untorn

tags: Tags  # those of the command line, which Sphinx puts here

project = "untorn"
author = "The untorn authors"
release = version = untorn.__version__
copyright = author  # no year: what is built from the same files is the same
today = " "  # likewise; the manual page would have the day on which it was made

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx_click"]
html_theme = "furo"
html_title = f"untorn {release}"
html_copy_source = False
html_show_copyright = False

# Quotes and dashes as they are written: most of them belong to commands.
smartquotes = False

myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
add_module_names = False
# By the names that the page of the interface explains, rather than by all that they stand for.
autodoc_type_aliases = {
    name: name
    for name in ("AnyPath", "BinaryMode", "CommitMode", "DesignName", "OnDamage", "TextMode", "TraceCallback")
}

# Every reference to a name of ours has to lead somewhere. What is not ours has no place on this site.
nitpicky = True
nitpick_ignore_regex = [
    ("py:.*", r"(?!untorn\.).*"),
    (
        "py:class",
        r"untorn\.(storage\.interface\.T|explore\.search\.engine\.Recording)",
    ),  # a type variable, and what only we pass
]

if "man" in tags:  # noqa: F821
    root_doc = "reference/command"
    include_patterns = ["reference/command.rst"]
man_pages: list[tuple[str, str, str, list[str], int]] = [
    ("reference/command", "untorn", "buffered file writes that a crash cannot tear", [], 1),
]


def _hide_constructor(app: Sphinx, what: str, name: str, *rest: object) -> tuple[str, None] | None:
    """Files come from ``untorn.open``; nobody else makes them."""
    made_by_us = ("untorn.File", "untorn.TextFile", "untorn.Transaction")
    return ("", None) if what == "class" and name in made_by_us else None


def _leave_out(app: Sphinx, context: click.Context, lines: list[str]) -> None:
    """Arguments have no text of their own: the usage shows them and the description explains them."""
    lines.clear()


def _show_examples(app: Sphinx, context: click.Context, lines: list[str]) -> None:
    """What stands below a command's help are commands to try, not prose."""
    _, *commands = (line.removeprefix("| ").strip() for line in lines if line)
    lines[:] = [".. rubric:: Examples", "", ".. code-block:: shell", "", *(f"    {line}" for line in commands), ""]


def setup(app: Sphinx) -> None:
    app.connect("autodoc-process-signature", _hide_constructor)
    app.connect("sphinx-click-process-arguments", _leave_out)
    app.connect("sphinx-click-process-epilog", _show_examples)
