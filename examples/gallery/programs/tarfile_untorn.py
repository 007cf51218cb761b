"""The same through untorn."""

from __future__ import annotations

import tarfile
from pathlib import Path

import untorn
from tarfile_append import check, prepare, put
from untorn.explore.interpose import ack

__all__ = ["check", "prepare", "recover", "workload"]


def workload(dir: Path) -> None:
    with untorn.open(dir / "archive.tar", "r+b") as file, tarfile.open(fileobj=file, mode="a") as archive:
        put(archive, "two", b"2" * 900)
    ack("two")


def recover(dir: Path) -> None:
    untorn.recover(dir / "archive.tar")
