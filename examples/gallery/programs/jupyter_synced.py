"""The same with the missing syncs: of the copy and of its name, before the old notebook is cut off."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from unittest.mock import patch

from jupyter_server.services.contents import fileio
from jupyter_server.services.contents.fileio import copy2_safe

from durably import sync
from jupyter_save import check, prepare
from jupyter_save import workload as unsynced

__all__ = ["check", "prepare", "workload"]


def copied_durably(source: str, copy: str, log: Any = None) -> None:
    copy2_safe(source, copy, log)
    sync(Path(copy))
    sync(Path(copy).parent)


def workload(dir: Path) -> None:
    with patch.object(fileio, "copy2_safe", copied_durably):
        unsynced(dir)
