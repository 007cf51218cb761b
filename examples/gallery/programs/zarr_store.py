"""zarr.storage.LocalStore: a chunk is written anew. It is written beside and renamed, without a sync."""

from __future__ import annotations

import asyncio
from pathlib import Path

from zarr.core.buffer import default_buffer_prototype
from zarr.core.buffer.cpu import Buffer
from zarr.storage import LocalStore

OLD, NEW = b"old " * 200, b"new " * 300


def put(store: LocalStore, data: bytes) -> None:
    asyncio.run(store.set("c/0", Buffer.from_bytes(data)))


def prepare(dir: Path) -> None:
    put(LocalStore(dir), OLD)


def workload(dir: Path) -> None:
    put(LocalStore(dir), NEW)


def check(dir: Path) -> None:
    found = asyncio.run(LocalStore(dir).get("c/0", default_buffer_prototype()))
    assert found is not None
    assert found.to_bytes() in (OLD, NEW), "neither the old chunk nor the new one"
