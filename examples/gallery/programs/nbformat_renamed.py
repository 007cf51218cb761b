"""The same the safe way: nbformat.writes, and the text is written beside, synced and renamed."""

from __future__ import annotations

from pathlib import Path

import nbformat

from durably import replace
from nbformat_write import check, notebook, prepare

__all__ = ["check", "prepare", "workload"]


def workload(dir: Path) -> None:
    replace(dir / "work.ipynb", nbformat.writes(notebook(4)).encode())
