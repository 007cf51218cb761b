"""Random pages in place: bursts without a checkpoint, and whole sessions with everything that belongs to one."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path
from time import perf_counter

from bench.contenders import Contender, DoubleWrite, Plain, Untorn, check_content, make_file
from bench.ideal import Ideal
from bench.measure import KIB, Cell, Page, Run, Source, progress, race, size_text
from bench.scale import Scale, Session

DEFAULT_FOLIO = 16 * KIB


def label(page: int, count: int) -> str:
    """How a race of this page size and batch is called."""
    return f"{size_text(page)} x {count}"


def burst(place: Path, scale: Scale) -> list[Cell]:
    """Durable commits to a warm file through a warm, recycled log; no checkpoint is timed."""
    size, log_bytes = scale.file_bytes, scale.log_bytes
    area = max(page * count for page in scale.pages for count, _ in scale.batches)
    cells = []
    source = Source(size)
    with ExitStack() as stack:
        progress(f"burst: files of {size_text(size)} and logs of {size_text(log_bytes)}")
        lasting: dict[str, Contender] = {
            "plain": stack.enter_context(closing(Plain(make_file(place / "plain", size)))),
            "double": stack.enter_context(closing(DoubleWrite(make_file(place / "double", size), area))),
        }
        ideal = stack.enter_context(closing(Ideal(make_file(place / "ideal", size), log_bytes)))
        ideal.lap()
        lasting["ideal"] = ideal
        default = stack.enter_context(closing(Untorn(make_file(place / "default", size), log_bytes)))
        default.lap()
        for page in scale.pages:
            with ExitStack() as inner:
                contenders = dict(lasting)
                if page == DEFAULT_FOLIO:
                    contenders["untorn"] = default
                else:
                    path = make_file(place / f"folio-{page}", size)
                    inner.callback(path.unlink)
                    fitted = inner.enter_context(closing(Untorn(path, log_bytes, page)))
                    fitted.lap()
                    contenders |= {"untorn": fitted, "untorn_default": default}
                for count, rounds in scale.batches:
                    progress(f"burst: {label(page, count)}, {rounds} rounds of {len(contenders)} contenders")
                    runs = {name: _committing(one, source, page, count) for name, one in contenders.items()}
                    times = race(runs, rounds, lead=1, runs=3)
                    cells.append(Cell(label(page, count), page, count, page * count, times))
    return cells


def _committing(contender: Contender, source: Source, page: int, count: int) -> Run:
    def run() -> float:
        pages = source.pages(page, count)
        contender.make_room(pages)
        start = perf_counter()
        contender.commit(pages)
        return perf_counter() - start

    return run


def sustained(place: Path, scale: Scale) -> list[Cell]:
    """Whole sessions: the log made, filled again and again, moved home, and at the end removed."""
    cells = []
    for session in scale.sessions:
        name = label(session.page, session.count)
        progress(f"sustained: {name}, {size_text(session.total)} a session, {session.rounds} rounds")
        log_bytes = 4 * session.file_bytes
        area = session.page * session.count
        openers: dict[str, Callable[[Path], Contender]] = {
            "plain": Plain,
            "double": partial(DoubleWrite, area_bytes=area),
            "ideal": partial(Ideal, log_bytes=log_bytes),
            "untorn": partial(Untorn, log_bytes=log_bytes),
        }
        source = Source(session.file_bytes)
        runs = {}
        for who, opener in openers.items():
            path = make_file(place / f"sustained-{who}", session.file_bytes)
            runs[who] = _session(opener, path, source, session)
        times = race(runs, session.rounds, warm_up=0)
        cells.append(Cell(name, session.page, session.count, session.total, times))
    return cells


def _session(opener: Callable[[Path], Contender], path: Path, source: Source, session: Session) -> Run:
    def run() -> float:
        written: dict[int, bytes] = {}
        seconds = 0.0
        contender = opener(path)
        for _ in range(session.total // (session.page * session.count)):
            pages: list[Page] = source.pages(session.page, session.count)
            written.update(pages)
            start = perf_counter()
            contender.commit(pages)
            seconds += perf_counter() - start
        start = perf_counter()
        contender.close()
        seconds += perf_counter() - start
        check_content(path, written.items())
        return seconds

    return run
