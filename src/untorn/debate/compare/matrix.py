"""Every design on every workload and device: crashed and counted, on all cores."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from typing import Any

from untorn.debate.compare.costs import Costs, costs
from untorn.debate.compare.crash_check import Crashes, Explorer, Verdict
from untorn.debate.compare.devices import DEVICES
from untorn.debate.compare.workloads import WORKLOADS

Progress = Callable[[str, float], None]


@dataclass
class Cell:
    """One design on one workload and device."""

    workload: str
    design: str
    device: str
    crashes: Crashes
    costs: Costs

    @property
    def broken(self) -> bool:
        """Whether a page tore that the design had taken as atomic, and not because of what it says itself."""
        return self.crashes.verdict is Verdict.TORN

    def fields(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "workload": self.workload, "design": self.design, "device": self.device, "broken": self.broken,
            "crashes": {**self.crashes.__dict__, "verdict": self.crashes.verdict.value}, "costs": self.costs.fields(),
        }  # fmt: skip


def compare(
    workloads: Sequence[str], designs: Sequence[str], devices: Sequence[str], *, count: int = 300, jobs: int = 0,
    progress: Progress = lambda words, done: None,
) -> list[Cell]:  # fmt: skip
    """All cells, in the order of their names; by so many processes, or by this one if ``jobs`` is 0."""
    rows = [(workload, design) for workload in workloads for design in designs]
    found: dict[tuple[str, str], list[Cell]] = {}
    progress(f"{len(rows) * len(devices)} combinations in simulation", 0.0)
    if jobs == 0:
        for at, row in enumerate(rows, 1):
            found[row] = cells(*row, devices, count)
            progress(_words(row), at / len(rows))
    else:
        pool = _pool(jobs)
        try:
            waiting = {pool.submit(cells, *row, devices, count): row for row in rows}
            for at, future in enumerate(as_completed(waiting)):
                found[waiting[future]] = future.result()
                progress(_words(waiting[future]), (at + 1) / len(rows))
        finally:
            pool.shutdown(cancel_futures=True)
    return [cell for row in rows for cell in found[row]]


def _words(row: tuple[str, str]) -> str:
    return f"{row[0]} in {row[1]}"


def _pool(jobs: int) -> ProcessPoolExecutor:
    # Ctrl-C goes to every process of the terminal; this one ends the others.
    context = multiprocessing.get_context("forkserver")
    return ProcessPoolExecutor(jobs, context, initializer=signal.signal, initargs=(signal.SIGINT, signal.SIG_IGN))


def cores() -> int:
    """How many processes are of use here."""
    return len(os.sched_getaffinity(0))


def cells(workload: str, design: str, devices: Sequence[str], count: int) -> list[Cell]:
    """One design on one workload, on each device."""
    explorer = Explorer(count=count)
    work = WORKLOADS[workload]
    return [
        Cell(workload, design, name, explorer.crashes(work, design, DEVICES[name]), costs(work, design, DEVICES[name]))
        for name in devices
    ]
