"""The table of docs/guides/libraries.md, and what fills its columns."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest

import untorn
from tests.libraries.uses import Use
from untorn.api.file import File
from untorn.inode import Inode

DOCUMENT: Final = Path(__file__).parents[2] / "docs" / "guides" / "libraries.md"


class Stopped(Exception):
    """What goes wrong in mid-work."""


def stop() -> None:
    """In mid-work."""
    raise Stopped


def rows() -> dict[str, dict[str, str]]:
    """The document's table, by library and heading."""
    lines = [line for line in DOCUMENT.read_text(encoding="utf-8").splitlines() if line.startswith("|")]
    table = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {row[0]: dict(zip(table[0], row, strict=True)) for row in table[2:]}


def commits_at(path: Path, use: Use) -> str:
    """Whether the library flushes in mid-work, at its own end, or never."""
    midway: list[int] = []
    path.write_bytes(use.before())
    with untorn.open(path, use.mode) as file:
        use.work(file, lambda: midway.append(file.stats()["commits"]))
        commits = file.stats()["commits"]
    assert midway, "the work was not stopped"
    return "each step" if midway[-1] else "its end" if commits else "`close`"


CALLS: Final[dict[str, tuple[type, str]]] = {
    "closes": (File, "close"), "flushes": (File, "flush"), "seeks": (File, "seek"), "maps": (Inode, "descriptor")
}  # fmt: skip


def seen(path: Path, use: Use, monkeypatch: pytest.MonkeyPatch) -> str:
    """What the library does to the file but write to it."""
    called: set[str] = set()
    path.write_bytes(use.before())
    with untorn.open(path, use.mode) as file, monkeypatch.context() as patches:
        for word, (kind, name) in CALLS.items():
            real = getattr(kind, name)

            def spy(*arguments: Any, word: str = word, real: Callable[..., Any] = real) -> Any:
                called.add(word)
                return real(*arguments)

            patches.setattr(kind, name, spy)
        use.work(file, lambda: None)
        assert file.closed == ("closes" in called)
    return ", ".join(word for word in CALLS if word in called)


def after_exception(path: Path, use: Use, commit: Any, *, transaction: bool = False) -> str:
    """What is in the file after an exception left both the library's ``with`` and untorn's."""
    before = use.before()
    path.write_bytes(before)
    with pytest.raises(Stopped), untorn.open(path, use.mode, commit=commit) as file:
        if transaction:
            with file.transaction():
                use.work(file, stop)
        else:
            use.work(file, stop)
    return "old" if path.read_bytes() == before else "half"
