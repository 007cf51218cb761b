"""The designs of the debate on the same work: crashed by the explorer, counted in simulation, timed on real files.

Hardware that writes atomically is simulated: what is said of crashes rests on the rules of the simulation alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from untorn.debate.compare.devices import DEVICES
from untorn.debate.compare.filesystems import Real, measure
from untorn.debate.compare.findings import Answer, answers
from untorn.debate.compare.matrix import Cell, Progress, compare, cores
from untorn.debate.compare.runner import DESIGNS
from untorn.debate.compare.workloads import WORKLOADS

__all__ = ["DESIGNS", "DEVICES", "WORKLOADS", "Comparison", "Selection", "run", "selection"]


@dataclass(frozen=True)
class Selection:
    """What is compared, by name."""

    designs: Sequence[str]
    workloads: Sequence[str]
    devices: Sequence[str]


@dataclass
class Comparison:
    """All that one run found."""

    cells: list[Cell]
    real: Real | None = None
    """None if it was not asked for."""
    answers: list[Answer] = field(default_factory=list)

    @property
    def broken(self) -> bool:
        """Whether a design tore a page that it had taken as atomic."""
        return any(cell.broken for cell in self.cells)

    def fields(self) -> dict[str, Any]:
        """For JSON."""
        workloads = {
            name: {"words": WORKLOADS[name].words, "generated": WORKLOADS[name].generated}
            for name in dict.fromkeys(cell.workload for cell in self.cells)
        }
        real = self.real
        return {
            "simulated": {"workloads": workloads, "cells": [cell.fields() for cell in self.cells]},
            "real": real
            and {
                "file_systems": [system.fields() for system in real.systems],
                "timings": [one.__dict__ for one in real.timings],
            },
            "answers": [answer.__dict__ for answer in self.answers],
        }


def selection(designs: Sequence[str], workloads: Sequence[str], devices: Sequence[str], *, quick: bool) -> Selection:
    """What was asked for by name, and all of what was not; with ``quick`` a part of that which shows most."""
    return Selection(
        [name for name in DESIGNS if name in designs] or DESIGNS,
        workloads or (["random-8k", "mixed-apart", "mixed-overlapping"] if quick else list(WORKLOADS)),
        devices or (["none", "nvme-16k"] if quick else list(DEVICES)),
    )


def run(
    chosen: Selection, *, quick: bool, real: bool, jobs: int | None, progress: Progress = lambda words, done: None
) -> Comparison:
    """Compares; ``jobs`` processes, one for each core if None. With ``real`` also on real file systems."""
    cells = compare(
        chosen.workloads, chosen.designs, chosen.devices, count=60 if quick else 300,
        jobs=cores() if jobs is None else jobs, progress=progress,
    )  # fmt: skip
    found = Comparison(cells)
    if real:
        found.real = measure(chosen.workloads, chosen.designs, writes=16 if quick else 64, progress=progress)
    found.answers = answers(cells, found.real)
    return found
