"""What all commands print with: safe names, JSON, tables, progress.

Data go to standard output, progress and errors to standard error. Names can hold any byte but NUL and the slash:
what a terminal would act on, or what is no UTF-8, is escaped.
"""

from __future__ import annotations

import dataclasses
import json
import os
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from enum import Enum
from typing import Any, Final, TextIO

import click

from untorn.report.text import plural, printable, size_of

__all__ = [
    "SCHEMA",
    "WIDTH",
    "Progress",
    "aside",
    "emit",
    "is_terminal",
    "path_fields",
    "plural",
    "printable",
    "progress",
    "quoted",
    "say",
    "size_of",
    "table",
    "tell",
]

SCHEMA: Final = 1
"""Of the JSON that the readers print; it grows when a field goes or changes its meaning."""

WIDTH: Final = 80

Progress = Callable[[str, float], None]
"""Is told what is going on and which part of it is done, from 0 to 1."""


def quoted(path: str) -> str:
    """The path as bash reads it back, in printable characters only."""
    if path.isprintable():
        return shlex.quote(path)
    parts = []
    for character in path:
        if character in "\\'":
            parts.append("\\" + character)
        elif character.isprintable():
            parts.append(character)
        else:
            parts += [f"\\x{byte:02x}" for byte in os.fsencode(character)]
    # An escape takes at most two digits, so what follows it cannot be taken for a third.
    return "$'" + "".join(parts) + "'"


def say(text: str = "") -> None:
    """A line of data."""
    click.echo(text)


def tell(text: str) -> None:
    """A line about what happened, to standard error."""
    click.echo(f"untorn: {text}", err=True)


@contextmanager
def aside() -> Iterator[None]:
    """What is printed in here, by whatever means, goes to standard error: it is not the data of the command."""
    sys.stdout.flush()
    before, kept = sys.stdout, None
    try:
        number = before.fileno()
    except (OSError, ValueError, AttributeError):  # in a test, say
        number = -1
    if number == 1:
        kept = os.dup(1)
        os.dup2(2, 1)
    sys.stdout = sys.stderr
    try:
        yield
    finally:
        before.flush()
        sys.stdout = before
        if kept is not None:
            os.dup2(kept, 1)
            os.close(kept)


def path_fields(path: str) -> dict[str, str | None]:
    """A path for JSON, which has no bytes: the exact ones in hexadecimal where they are no UTF-8."""
    raw = os.fsencode(path)
    try:
        return {"path": raw.decode("utf-8"), "path_hex": None}
    except UnicodeDecodeError:
        return {"path": raw.decode("utf-8", "replace"), "path_hex": raw.hex()}


def emit(command: str, **fields: Any) -> None:
    """The one JSON object of a command."""
    say(json.dumps({"schema": SCHEMA, "command": command, **fields}, default=_plain, indent=2))


def _plain(value: object) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, Enum):
        return value.value
    raise TypeError(f"{type(value).__name__} has no place in JSON")


def table(rows: Sequence[Sequence[str]], *, numbers: Sequence[int] = ()) -> list[str]:
    """Rows in columns; those in ``numbers`` are set to the right, the last one is left as long as it is."""
    columns = range(len(rows[0]))
    widths = [max(len(row[column]) for row in rows) for column in columns]
    lines = []
    for row in rows:
        cells = [
            row[column].rjust(widths[column]) if column in numbers else row[column].ljust(widths[column])
            for column in columns
        ]
        lines.append("  ".join(cells).rstrip())
    return lines


def is_terminal(stream: TextIO | None) -> bool:
    """Whether somebody watches; a stream may be closed."""
    return stream is not None and stream.isatty()


@contextmanager
def progress(*, lines: bool = False) -> Iterator[Progress]:
    """Shows progress on standard error if that is a terminal: a bar if rich is there, else a line of text.

    Without a terminal nothing, or, with ``lines``, each new part on a line of its own.
    """
    if not is_terminal(sys.stderr):
        yield _parts if lines else lambda words, done: None
        return
    bar = _rich_bar()
    if bar is not None:
        with bar as live:
            task = live.add_task("", total=1.0)
            yield lambda words, done: live.update(task, description=words, completed=done, refresh=done in (0.0, 1.0))
        return
    try:
        yield lambda words, done: click.echo(f"\r{words}: {done:4.0%}".ljust(WIDTH - 1), nl=False, err=True)
    finally:
        click.echo("\r" + " " * (WIDTH - 1) + "\r", nl=False, err=True)


def _parts(words: str, done: float) -> None:
    if done == 0.0:
        click.echo(f"{words} ...", err=True)


def _rich_bar() -> Any:
    """A bar of rich on standard error, None if rich is not installed."""
    try:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn
    except ImportError:
        return None
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    return Progress(*columns, console=Console(stderr=True), transient=True)
