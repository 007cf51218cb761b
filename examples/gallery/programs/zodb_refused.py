"""ZODB: the same transaction; but the storage must open."""

from __future__ import annotations

from pathlib import Path

from ZODB.FileStorage import FileStorage

from zodb_commit import prepare, workload

__all__ = ["check", "prepare", "workload"]


def check(dir: Path) -> None:
    FileStorage(str(dir / "Data.fs")).close()
