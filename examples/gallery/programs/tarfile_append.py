"""tarfile: a member is added to an archive, over its end mark."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

from untorn.explore.interpose import acknowledged


def put(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    archive.addfile(member, io.BytesIO(data))


def prepare(dir: Path) -> None:
    with tarfile.open(dir / "archive.tar", "w") as archive:
        put(archive, "one", b"1" * 900)


def workload(dir: Path) -> None:
    with tarfile.open(dir / "archive.tar", "a") as archive:
        put(archive, "two", b"2" * 900)


def check(dir: Path) -> None:
    with tarfile.open(dir / "archive.tar") as archive:
        found = {member.name: archive.extractfile(member).read() for member in archive}  # type: ignore[union-attr]
    old = {"one": b"1" * 900}
    new = {**old, "two": b"2" * 900}
    assert found in ([new] if acknowledged() else [old, new]), f"members that nobody wrote: {sorted(found)}"
