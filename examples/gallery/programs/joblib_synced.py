"""The same with the missing sync: a store that makes a file durable before it is renamed to its name."""

from __future__ import annotations

from pathlib import Path

from joblib import register_store_backend
from joblib._store_backends import FileSystemStoreBackend

from durably import sync
from joblib_memory import cached, check

__all__ = ["check", "workload"]


class Synced(FileSystemStoreBackend):  # type: ignore[misc]
    """What joblib does with files, and a sync before each rename."""

    @staticmethod
    def _move_item(src: str, dst: str) -> None:
        sync(Path(src))
        FileSystemStoreBackend._move_item(src, dst)


register_store_backend("synced", Synced)


def workload(dir: Path) -> None:
    cached(dir, backend="synced")(42)
