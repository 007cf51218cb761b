"""The same with a copy of what cannot be read, which so keeps its name until the good one takes it."""

from __future__ import annotations

import shutil
from pathlib import Path
from unittest.mock import patch

from jupyter_server.services.contents import fileio
from jupyter_server.services.contents.fileio import async_replace_file

from jupyter_restore import check, prepare
from jupyter_restore import workload as moved_away

__all__ = ["check", "prepare", "workload"]


async def replaced(source: str, target: str) -> None:
    if target.endswith(".invalid"):
        shutil.copyfile(source, target)
    else:
        await async_replace_file(source, target)


def workload(dir: Path) -> None:
    with patch.object(fileio, "async_replace_file", replaced):
        moved_away(dir)
