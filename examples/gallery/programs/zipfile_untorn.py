"""zipfile through untorn: the same archive, the same member."""

from __future__ import annotations

import zipfile
from pathlib import Path

import untorn
from untorn.explore.interpose import ack
from zipfile_append import check, prepare

__all__ = ["check", "prepare", "recover", "workload"]


def workload(dir: Path) -> None:
    with untorn.open(dir / "archive.zip", "r+b") as file, zipfile.ZipFile(file, "a") as archive:
        archive.writestr("two", "2" * 900)
    ack("two")


def recover(dir: Path) -> None:
    untorn.recover(dir / "archive.zip")
