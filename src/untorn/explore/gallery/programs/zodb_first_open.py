"""ZODB: the same transaction; but the storage is opened only once after the crash."""

from __future__ import annotations

from untorn.explore.gallery.programs.zodb_commit import check, prepare, workload

__all__ = ["check", "prepare", "workload"]
