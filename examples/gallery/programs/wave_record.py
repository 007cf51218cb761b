"""wave: a recording is synced while it grows, but the header says how long it is only when it is closed."""

from __future__ import annotations

import os
import wave
from pathlib import Path

from untorn.explore.interpose import ack, acknowledged

SECOND = b"\1\2" * 600
SECONDS = 2


def begin(file: object) -> wave.Wave_write:
    sound = wave.open(file, "wb")  # type: ignore[call-overload]  # noqa: SIM115
    sound.setnchannels(1)
    sound.setsampwidth(2)
    sound.setframerate(600)
    return sound  # type: ignore[no-any-return]


def workload(dir: Path) -> None:
    with open(dir / "take.wav", "wb") as file, begin(file) as sound:
        directory = os.open(dir, os.O_RDONLY)
        os.fsync(directory)
        os.close(directory)
        for second in range(1, SECONDS + 1):
            sound.writeframesraw(SECOND)
            file.flush()
            os.fsync(file.fileno())
            ack(second)


def check(dir: Path) -> None:
    told = acknowledged()
    if told:
        with wave.open(str(dir / "take.wav"), "rb") as sound:
            frames = sound.readframes(sound.getnframes())
        assert frames.startswith(SECOND * max(told)), "what was recorded and synced cannot be read"
