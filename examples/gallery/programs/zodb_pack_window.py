"""ZODB: the same pack, with nobody to put the old file back: between two renames there is no file at all."""

from __future__ import annotations

from zodb_pack import check, prepare, workload

__all__ = ["check", "prepare", "workload"]
