"""joblib.Memory: a result is cached. Its file is renamed to its name without a sync, and has no checksum."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from joblib import Memory

from quietly import quietly

RESULT = b"result " * 300


def answer(question: int) -> bytes:
    """What takes long."""
    return RESULT


def cached(dir: Path, **options: Any) -> Any:
    return Memory(str(dir / "cache"), verbose=0, **options).cache(answer)


def workload(dir: Path) -> None:
    cached(dir)(42)


def check(dir: Path) -> None:
    with quietly():
        found = cached(dir)(42)
    assert found == RESULT, "the cache gives another result than was put in"
