"""One run of the benchmark: where it works, what it measures, what it leaves."""

from __future__ import annotations

import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from bench.amounts import amounts
from bench.exploring import exploring
from bench.micro import micro
from bench.pages import burst, sustained
from bench.recovery import recovery
from bench.scale import Scale
from bench.small import appends, small_files
from bench.targets import Results, Verdict

About = dict[str, str | int | bool]
"""What the figures depend on, by name."""

PARTS: Final[dict[str, Callable[[Path, Scale], Any]]] = {
    "micro": micro,
    "small": small_files,
    "appends": appends,
    "burst": burst,
    "sustained": sustained,
    "amounts": amounts,
    "recovery": recovery,
    "exploring": exploring,
}


def measure(parent: Path, scale: Scale, only: tuple[str, ...] = ()) -> Results:
    """Measures all parts, or only some, in a directory below ``parent`` that is gone afterwards."""
    results = Results()
    for name, part in PARTS.items():
        if not only or name in only:
            with _workplace(parent) as place:
                setattr(results, name, part(place, scale))
    return results


@contextmanager
def _workplace(parent: Path) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="bench-tmp-", dir=parent) as name:
        yield Path(name)


def about(parent: Path, *, quick: bool) -> About:
    """What the figures of this run depend on."""
    return {
        "python": platform.python_version(),
        "kernel": platform.release(),
        "processors": os.cpu_count() or 0,
        "filesystem": filesystem(parent),
        "late wake-up us": round(wake_up_delay() * 1e6),
        "quick": quick,
    }


def wake_up_delay() -> float:
    """Seconds by which one sleep in ten comes back late, for whoever waits for a disk comes back so, too."""
    delays = []
    for _ in range(100):
        start = time.perf_counter()
        time.sleep(0.001)
        delays.append(time.perf_counter() - start - 0.001)
    return statistics.quantiles(delays, n=10)[-1]


def filesystem(path: Path) -> str:
    """The type of the file system that holds ``path``."""
    target = path.resolve()
    best, kind = "", "unknown"
    for line in Path("/proc/self/mounts").read_text(errors="surrogateescape").splitlines():
        _, mounted, found, *_ = line.split(" ")
        # A later mount covers an earlier one on the same directory.
        if target.is_relative_to(mounted) and len(mounted) >= len(best):
            best, kind = mounted, found
    return kind


def as_json(results: Results, verdicts: list[Verdict], about: About) -> dict[str, Any]:
    """Everything as one object."""
    targets = [asdict(verdict) | {"met": verdict.met} for verdict in verdicts]
    return {"schema": 1, "about": about, **asdict(results), "targets": targets}
