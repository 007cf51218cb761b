"""cachelib.FileSystemCache: a value is set anew. It is written beside and renamed over the old one, without a sync."""

from __future__ import annotations

from pathlib import Path

from cachelib import FileSystemCache

from quietly import quietly

OLD, NEW = {"user": 1}, {"user": 1, "basket": list(range(300))}


def cache(dir: Path) -> FileSystemCache:
    return FileSystemCache(str(dir / "sessions"), threshold=0, default_timeout=0)


def prepare(dir: Path) -> None:
    cache(dir).set("session", OLD)


def workload(dir: Path) -> None:
    cache(dir).set("session", NEW)


def check(dir: Path) -> None:
    with quietly():
        found = cache(dir).get("session")
    assert found in (OLD, NEW), "the session is gone, or another one"
