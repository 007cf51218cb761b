"""The same with the missing syncs: of the file after each record, of the directory when a file is begun."""

from __future__ import annotations

import logging
from logging.handlers import RotatingFileHandler
from pathlib import Path

from durably import sync
from rotating_log import check, log

__all__ = ["check", "workload"]


class Synced(RotatingFileHandler):
    def emit(self, record: logging.LogRecord) -> None:
        super().emit(record)
        sync(Path(self.baseFilename))
        sync(Path(self.baseFilename).parent)


def workload(dir: Path) -> None:
    log(Synced(dir / "app.log", maxBytes=1000, backupCount=3))
