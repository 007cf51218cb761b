"""Recovery of a full log that a killed process left, against copying and syncing as many bytes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

from bench import child
from bench.contenders import make_file
from bench.measure import Cell, progress, race, size_text
from bench.pages import DEFAULT_FOLIO, label
from bench.scale import Scale

_COUNT = 64


@dataclass(frozen=True)
class Recovery:
    """The race, and what recovery took in memory beyond the interpreter with untorn imported."""

    cell: Cell
    peak_bytes: int


def recovery(place: Path, scale: Scale) -> Recovery:
    """A child commits until the log is full and kills itself; another one recovers."""
    path, log_bytes = place / "recovery", scale.log_bytes
    progress(f"recovery: commits of {size_text(log_bytes)} in a log, {scale.recovery_rounds} rounds")
    make_file(path, scale.file_bytes)
    original, copy = make_file(place / "recovery-cp", log_bytes), place / "recovery-cp-copy"
    peaks = []

    def recover() -> float:
        filled = _run("fill", str(path), str(log_bytes), str(DEFAULT_FOLIO), str(_COUNT), killed=True)
        told = _run("recover", str(path))
        if told["commits"] != filled["commits"]:
            raise RuntimeError(f"{filled['commits']} commits were made and {told['commits']} recovered")
        peaks.append(int(told["peak_bytes"]))
        return float(told["seconds"])

    def copy_and_sync() -> float:
        copy.unlink(missing_ok=True)
        start = perf_counter()
        subprocess.run(["cp", "--reflink=never", original, copy], check=True)
        file = os.open(copy, os.O_RDWR)
        os.fsync(file)
        seconds = perf_counter() - start
        os.close(file)
        return seconds

    times = race({"cp": copy_and_sync, "untorn": recover}, scale.recovery_rounds)
    name = f"{size_text(log_bytes)} log of {label(DEFAULT_FOLIO, _COUNT)}"
    return Recovery(Cell(name, DEFAULT_FOLIO, _COUNT, log_bytes, times), max(peaks))


def _run(*arguments: str, killed: bool = False) -> dict[str, float]:
    command = [sys.executable, "-P", child.__file__, *arguments]
    done = subprocess.run(command, check=False, stdout=subprocess.PIPE)
    if done.returncode != (-9 if killed else 0):
        raise RuntimeError(f"the child that was to {arguments[0]} ended with {done.returncode}")
    told: dict[str, float] = json.loads(done.stdout)
    return told
