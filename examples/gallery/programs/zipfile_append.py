"""zipfile: a member is added to an archive, over its central directory."""

from __future__ import annotations

import zipfile
from pathlib import Path

from untorn.explore.interpose import acknowledged


def prepare(dir: Path) -> None:
    with zipfile.ZipFile(dir / "archive.zip", "w") as archive:
        archive.writestr("one", "1" * 900)


def workload(dir: Path) -> None:
    with zipfile.ZipFile(dir / "archive.zip", "a") as archive:
        archive.writestr("two", "2" * 900)


def check(dir: Path) -> None:
    with zipfile.ZipFile(dir / "archive.zip") as archive:
        assert archive.testzip() is None, "a member is damaged"
        assert archive.read("one") == b"1" * 900, "the old member has other content"
        if acknowledged():
            assert archive.read("two") == b"2" * 900, "the new member has other content"
