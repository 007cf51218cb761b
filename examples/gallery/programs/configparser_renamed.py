"""The same the safe way: write, fsync, rename, fsync of the directory."""

from __future__ import annotations

import io
from pathlib import Path

from configparser_in_place import check, config, prepare
from durably import replace
from untorn.explore.interpose import ack

__all__ = ["check", "prepare", "workload"]


def workload(dir: Path) -> None:
    text = io.StringIO()
    config(8080).write(text)
    replace(dir / "server.ini", text.getvalue().encode())
    ack("written")
