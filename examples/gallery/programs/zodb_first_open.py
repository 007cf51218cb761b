"""ZODB: the same transaction; but what opens without an error must be good at once, not only the second time."""

from __future__ import annotations

from pathlib import Path

from ZODB.FileStorage.FileStorage import CorruptedTransactionError

from zodb_commit import look, prepare, workload

__all__ = ["check", "prepare", "workload"]


def check(dir: Path) -> None:
    try:
        look(dir)
    except CorruptedTransactionError:
        pass
