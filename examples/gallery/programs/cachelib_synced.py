"""The same with the missing sync: a serializer that makes durable what it has written."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from cachelib.serializers import FileSystemSerializer

from cachelib_set import NEW, cache, check, prepare

__all__ = ["check", "prepare", "workload"]


class Synced(FileSystemSerializer):
    def dump(self, value: Any, f: Any, *args: Any, **kwargs: Any) -> None:
        super().dump(value, f, *args, **kwargs)
        f.flush()
        os.fsync(f.fileno())


def workload(dir: Path) -> None:
    sessions = cache(dir)
    sessions.serializer = Synced()
    sessions.set("session", NEW)
