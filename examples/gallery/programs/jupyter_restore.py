"""jupyter_server: a notebook is opened whose save was cut off. It is moved away, and then the copy takes its name."""

from __future__ import annotations

from pathlib import Path

from jupyter_server.services.contents.fileio import path_to_intermediate

from jupyter_save import opened, save


def prepare(dir: Path) -> None:
    save(dir, 3)
    notebook = dir / "work.ipynb"
    notebook.rename(path_to_intermediate(str(notebook)))
    notebook.write_bytes(b"")


def workload(dir: Path) -> None:
    opened(dir)


def check(dir: Path) -> None:
    assert len(opened(dir).cells) == 3, "cells are gone"
