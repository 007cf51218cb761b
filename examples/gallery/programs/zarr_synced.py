"""The same with a store that writes a chunk beside the old one, syncs it, and renames it."""

from __future__ import annotations

from pathlib import Path

from zarr.core.buffer import Buffer
from zarr.storage import LocalStore

from durably import replace
from zarr_store import NEW, check, prepare, put

__all__ = ["check", "prepare", "workload"]


class Synced(LocalStore):
    async def set(self, key: str, value: Buffer) -> None:
        replace(self.root / key, value.to_bytes())


def workload(dir: Path) -> None:
    put(Synced(dir), NEW)
