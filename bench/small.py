"""Appends, and small files written whole."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from time import perf_counter

import untorn
from bench.contenders import Contender, DoubleWrite, Plain, Untorn, make_file
from bench.ideal import Ideal
from bench.measure import MIB, Cell, Page, Run, Source, progress, race, size_text
from bench.scale import Scale

LOG_BYTES = 64 * MIB
"""untorn's default."""

SMALL_BYTES = 4000
_LAPPED = MIB
"""Bytes of the file through which the log is warmed before the first append."""


class _Merging:
    """The ideal, with what is appended at once as one extent."""

    def __init__(self, ideal: Ideal) -> None:
        self.make_room = ideal.make_room
        self._ideal = ideal

    def commit(self, pages: Sequence[Page]) -> None:
        self._ideal.commit(pages, extents=1)

    def close(self) -> None:
        self._ideal.close()


def appends(place: Path, scale: Scale) -> list[Cell]:
    """Bytes at the end of a file, each durable or in groups; no checkpoint is timed."""
    cells = []
    source = Source(_LAPPED)
    log_bytes = min(LOG_BYTES, scale.log_bytes)
    for length in scale.append_lengths:
        with ExitStack() as stack:
            path = place / f"append-{length}"
            area = length * max(count for count, _ in scale.append_batches)
            ideal = Ideal(make_file(path.with_suffix(".ideal"), _LAPPED), log_bytes)
            ideal.lap()
            fitted = Untorn(make_file(path.with_suffix(".untorn"), _LAPPED), log_bytes)
            fitted.lap()
            contenders: dict[str, Contender] = {
                "plain": Plain(make_file(path.with_suffix(".plain"), _LAPPED)),
                "double": DoubleWrite(make_file(path.with_suffix(".double"), _LAPPED), area),
                "ideal": _Merging(ideal),
                "untorn": fitted,
            }
            for one in contenders.values():
                stack.enter_context(closing(one))
            ends = dict.fromkeys(contenders, _LAPPED)
            for count, rounds in scale.append_batches:
                name = f"{size_text(length)} x {count}"
                progress(f"appends: {name}, {rounds} rounds")
                runs = {who: _appending(one, who, ends, source, length, count) for who, one in contenders.items()}
                cells.append(Cell(name, length, count, length * count, race(runs, rounds, warm_up=2, lead=1, runs=3)))
    return cells


def _appending(contender: Contender, name: str, ends: dict[str, int], source: Source, length: int, count: int) -> Run:
    def run() -> float:
        end = ends[name]
        pages = [(end + number * length, source.data(length)) for number in range(count)]
        ends[name] = end + count * length
        contender.make_room(pages)
        start = perf_counter()
        contender.commit(pages)
        return perf_counter() - start

    return run


def small_files(place: Path, scale: Scale) -> list[Cell]:
    """Open, write, close: a file that is there and one that is not."""
    cells = []
    source = Source(SMALL_BYTES)
    writers: dict[str, Callable[[Path, bytes], None]] = {
        "plain": write_plainly,
        "rename": write_and_rename,
        "ideal": write_ideally,
        "untorn": write_untorn,
    }
    for existing in (True, False):
        name = f"{SMALL_BYTES} B over an existing file" if existing else f"{SMALL_BYTES} B to a new file"
        progress(f"small files: {name}, {scale.small_rounds} rounds")
        runs = {who: _writing(writer, place / f"small-{who}", source, existing) for who, writer in writers.items()}
        cells.append(Cell(name, SMALL_BYTES, 1, SMALL_BYTES, race(runs, scale.small_rounds, warm_up=3)))
    return cells


def _writing(writer: Callable[[Path, bytes], None], path: Path, source: Source, existing: bool) -> Run:
    def run() -> float:
        if existing:
            make_file(path, SMALL_BYTES)
        else:
            path.unlink(missing_ok=True)
        _sync_directory(path.parent)
        data = source.data(SMALL_BYTES)
        start = perf_counter()
        writer(path, data)
        seconds = perf_counter() - start
        if path.read_bytes() != data:
            raise RuntimeError(f"{path.name} does not hold what was written")
        return seconds

    return run


def write_plainly(path: Path, data: bytes) -> None:
    """Synced, name and all, but torn by a crash, which may leave it empty too."""
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    _sync_directory(path.parent)


def write_and_rename(path: Path, data: bytes) -> None:
    """The recipe: temporary file, fsync, rename, fsync of the directory."""
    temporary = path.with_name(path.name + ".tmp")
    with temporary.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.rename(path)
    _sync_directory(path.parent)


def write_ideally(path: Path, data: bytes) -> None:
    """The system calls of untorn's design."""
    ideal = Ideal(path, 1 << 16, create=True)
    ideal.commit([(0, data)])
    ideal.close()


def write_untorn(path: Path, data: bytes) -> None:
    """As any program would."""
    with untorn.open(path, "wb") as file:
        file.write(data)


def _sync_directory(path: Path) -> None:
    directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
