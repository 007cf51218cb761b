"""What a command needs before it begins: packages that not everyone has, and a place for what it writes."""

from __future__ import annotations

import importlib.util
import os
from typing import Final

import click

from untorn.cli.output import quoted

JOBS: Final = click.option(
    "--jobs", type=click.IntRange(0), metavar="N",
    help="Use N more processes; with 0, all work is done in this one.  [default: one for each core]",
)  # fmt: skip
REPORT: Final = click.option(
    "--report", type=click.Path(dir_okay=False), metavar="FILE",
    help="Write one HTML file with pictures, which needs no network.",
)  # fmt: skip


class MissingError(Exception):
    """The environment lacks something; the message says what to do."""


def check_extra(package: str, extra: str, what: str) -> None:
    """MissingError if ``package`` is not installed; it says how to get it with the ``extra`` of our own."""
    if importlib.util.find_spec(package) is None:
        raise MissingError(
            f"{what} needs the package {package}: run pip install '.[{extra}]' in a checkout of untorn, or install "
            f"{package} by itself"
        )


def check_report() -> None:
    """MissingError if no report can be made."""
    check_extra("jinja2", "report", "--report")


def check_writable(path: str | None) -> None:
    """Says before an hour of work that its outcome would have no place."""
    if path is None:
        return
    folder = os.path.dirname(os.path.abspath(path))
    if not os.path.isdir(folder):
        raise click.UsageError(f"{quoted(path)}: there is no directory {quoted(folder)}")
    if not os.access(path if os.path.exists(path) else folder, os.W_OK):
        raise MissingError(f"{quoted(path)} cannot be written")
