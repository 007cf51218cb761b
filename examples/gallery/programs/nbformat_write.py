"""nbformat.write: a notebook is saved over the old one, which is cut off first."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nbformat
from nbformat.v4 import new_code_cell, new_notebook


def notebook(cells: int) -> Any:
    return new_notebook(cells=[new_code_cell(f"step_{number}()", id=f"cell-{number}") for number in range(cells)])


def prepare(dir: Path) -> None:
    nbformat.write(notebook(3), str(dir / "work.ipynb"))


def workload(dir: Path) -> None:
    nbformat.write(notebook(4), str(dir / "work.ipynb"))


def check(dir: Path) -> None:
    found = nbformat.read(str(dir / "work.ipynb"), as_version=4)
    assert len(found.cells) in (3, 4), "cells are gone"
