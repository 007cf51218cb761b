"""The same with the missing sync: of the packed file, before it is renamed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ZODB.FileStorage import FileStorage

from durably import sync
from zodb_pack import check, pack, prepare, recover

__all__ = ["check", "prepare", "recover", "workload"]


def workload(dir: Path) -> None:
    path = dir / "Data.fs"

    def packer(*args: Any) -> Any:
        result = FileStorage.packer(*args)
        sync(path.with_name("Data.fs.pack"))
        return result

    pack(FileStorage(str(path), packer=packer))
