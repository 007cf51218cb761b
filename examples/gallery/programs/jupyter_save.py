"""jupyter_server: a notebook is saved. The copy of the old one is not synced before that is cut off.

``atomic_writing`` copies the old notebook to ``.~work.ipynb``, writes the new one over it in place, syncs it and
removes the copy. When the server opens a notebook that cannot be read, it puts the copy in its place, and so does the
check. That is enough if the server is killed; see also ``jupyter_restore``.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from jupyter_server.services.contents.fileio import AsyncFileManagerMixin

from nbformat_write import notebook
from untorn.explore.interpose import ack, acknowledged


def save(dir: Path, cells: int) -> None:
    asyncio.run(AsyncFileManagerMixin()._save_notebook(str(dir / "work.ipynb"), notebook(cells)))


def opened(dir: Path) -> Any:
    return asyncio.run(AsyncFileManagerMixin()._read_notebook(str(dir / "work.ipynb")))


def prepare(dir: Path) -> None:
    save(dir, 3)


def workload(dir: Path) -> None:
    save(dir, 4)
    ack("saved")


def check(dir: Path) -> None:
    states = [4] if "saved" in acknowledged() else [3, 4]
    assert len(opened(dir).cells) in states, "cells are gone"
