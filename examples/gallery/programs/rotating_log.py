"""logging.handlers.RotatingFileHandler: records are flushed and never synced, so those that were logged may be gone."""

from __future__ import annotations

import logging
from logging.handlers import RotatingFileHandler
from pathlib import Path

from untorn.explore.interpose import ack, acknowledged

RECORDS = [f"record {number} " + "x" * 400 for number in range(3)]


def log(handler: RotatingFileHandler) -> None:
    for number, text in enumerate(RECORDS):
        handler.emit(logging.LogRecord("app", logging.INFO, __file__, 0, text, (), None))
        ack(number)
    handler.close()


def workload(dir: Path) -> None:
    log(RotatingFileHandler(dir / "app.log", maxBytes=1000, backupCount=3))


def check(dir: Path) -> None:
    files = [path.read_bytes() for path in (dir / "app.log.1", dir / "app.log") if path.exists()]
    lines = b"".join(files).decode().splitlines()
    assert all(RECORDS[number] in lines for number in acknowledged()), "a record that was logged is gone"
