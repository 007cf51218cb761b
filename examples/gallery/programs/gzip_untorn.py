"""The same through untorn."""

from __future__ import annotations

import gzip
from pathlib import Path

import untorn
from gzip_append import NEW, check, prepare
from untorn.explore.interpose import ack

__all__ = ["check", "prepare", "recover", "workload"]


def workload(dir: Path) -> None:
    with untorn.open(dir / "log.gz", "ab") as raw, gzip.open(raw, "ab") as file:
        file.write(NEW)
    ack("written")


def recover(dir: Path) -> None:
    untorn.recover(dir / "log.gz")
