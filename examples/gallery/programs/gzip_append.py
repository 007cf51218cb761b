"""gzip: a member is added to a file of them, such as a compressed log."""

from __future__ import annotations

import gzip
from pathlib import Path

from untorn.explore.interpose import acknowledged

OLD = b"".join(b"line %d\n" % number for number in range(300))
NEW = b"".join(b"line %d\n" % number for number in range(300, 700))


def prepare(dir: Path) -> None:
    with gzip.open(dir / "log.gz", "wb") as file:
        file.write(OLD)


def workload(dir: Path) -> None:
    with gzip.open(dir / "log.gz", "ab") as file:
        file.write(NEW)


def check(dir: Path) -> None:
    with gzip.open(dir / "log.gz") as file:
        found = file.read()
    assert found in ([OLD + NEW] if acknowledged() else [OLD, OLD + NEW]), "not the lines that were written"
