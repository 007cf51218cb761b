"""The same with the missing sync: the data are on the disk before the mark is written that vouches for them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from ZODB.FileStorage import FileStorage

from zodb_commit import NEW, check, prepare, put

__all__ = ["check", "prepare", "workload"]


class Synced(FileStorage):  # type: ignore[misc]  # ZODB has no types
    """A FileStorage that syncs what it votes for."""

    def tpc_vote(self, transaction: Any) -> Any:
        result = super().tpc_vote(transaction)
        os.fsync(self._file.fileno())
        return result


def workload(dir: Path) -> None:
    put(Synced(str(dir / "Data.fs")), NEW)
