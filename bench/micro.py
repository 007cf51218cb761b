"""Single calls on a whole cached folio: storing and reading, against the system call."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from time import perf_counter

from bench.contenders import Untorn, make_file
from bench.measure import Cell, Page, Source, progress, race, size_text
from bench.pages import DEFAULT_FOLIO
from bench.scale import Scale


def micro(place: Path, scale: Scale) -> list[Cell]:
    """Times are per call, of many calls on distinct pages at a time.

    The system call writes to pages that are dirty already, which it does fastest; untorn to clean folios.
    """
    page, calls, size = DEFAULT_FOLIO, scale.micro_calls, scale.file_bytes
    progress(f"micro: {scale.micro_rounds} rounds of {calls} calls")
    source = Source(size)
    path = make_file(place / "micro-plain", size)
    plain = os.open(path, os.O_RDWR)
    cells = []
    try:
        with closing(Untorn(make_file(place / "micro-untorn", size), scale.log_bytes)) as contender:
            file = contender.file

            def run(work: Callable[[list[Page]], None], after: Callable[[], None]) -> Callable[[], float]:
                def once() -> float:
                    pages = source.pages(page, calls)
                    start = perf_counter()
                    work(pages)
                    seconds = perf_counter() - start
                    after()
                    return seconds / calls

                return once

            def store(pages: list[Page]) -> None:
                pwrite = file.pwrite
                for offset, data in pages:
                    pwrite(data, offset)

            def store_plainly(pages: list[Page]) -> None:
                pwrite = os.pwrite
                for offset, data in pages:
                    pwrite(plain, data, offset)

            def load(pages: list[Page]) -> None:
                pread = file.pread
                for offset, _ in pages:
                    pread(page, offset)

            def load_plainly(pages: list[Page]) -> None:
                pread = os.pread
                for offset, _ in pages:
                    pread(plain, page, offset)

            for offset in range(0, size, page):
                os.pwrite(plain, source.data(page), offset)
            stores = {"os": run(store_plainly, _nothing), "untorn": run(store, file.rollback)}
            loads = {"os": run(load_plainly, _nothing), "untorn": run(load, _nothing)}
            for name, runs in (("pwrite", stores), ("pread", loads)):
                times = race(runs, scale.micro_rounds, warm_up=3)
                cells.append(Cell(f"{name} of a cached {size_text(page)} folio", page, 1, page, times))
    finally:
        os.close(plain)
    return cells


def _nothing() -> None:
    """For what need not be taken back."""
