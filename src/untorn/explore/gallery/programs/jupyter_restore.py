"""jupyter_server: a save was cut off, and the notebook is opened. Before the copy comes, what is there is moved away."""

from __future__ import annotations

from pathlib import Path

from jupyter_server.services.contents.fileio import path_to_intermediate

from untorn.explore.gallery.programs.jupyter_save import opened, save


def prepare(dir: Path) -> None:
    save(dir, 3)
    notebook = dir / "work.ipynb"
    notebook.rename(path_to_intermediate(str(notebook)))
    notebook.write_bytes(b"")


def workload(dir: Path) -> None:
    opened(dir)


def check(dir: Path) -> None:
    assert len(opened(dir).cells) == 3, "cells are gone"
