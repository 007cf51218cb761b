"""The same with writeframes, which puts the length into the header each time, before the sync."""

from __future__ import annotations

import os
from pathlib import Path

from durably import sync
from untorn.explore.interpose import ack
from wave_record import SECOND, SECONDS, begin, check

__all__ = ["check", "workload"]


def workload(dir: Path) -> None:
    with open(dir / "take.wav", "wb") as file, begin(file) as sound:
        sync(dir)
        for second in range(1, SECONDS + 1):
            sound.writeframes(SECOND)
            file.flush()
            os.fsync(file.fileno())
            ack(second)
