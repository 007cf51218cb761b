"""Bytes handed to storage per byte that the program wrote."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from bench.contenders import Untorn, make_file
from bench.measure import Source, progress
from bench.pages import label
from bench.scale import Scale


@dataclass(frozen=True)
class Amounts:
    """Bytes to storage per user byte, as the kernel counted them (``wchar`` of /proc/self/io)."""

    label: str
    before_checkpoint: float
    with_checkpoints: float
    """Of a whole session: the log made, filled again and again, and removed."""


def amounts(place: Path, scale: Scale) -> Amounts:
    """Of the first of the sessions that ``sustained`` times."""
    session = scale.sessions[0]
    progress("amounts: bytes to storage per user byte")
    path = make_file(place / "amounts", session.file_bytes)
    source = Source(session.file_bytes)
    commits = session.total // (session.page * session.count)
    before = written = 0
    ratio = 0.0
    with closing(Untorn(path, 4 * session.file_bytes)) as contender:
        before = bytes_written()
        for _ in range(commits):
            contender.commit(source.pages(session.page, session.count))
            written += session.page * session.count
            if contender.file.stats()["checkpoints"] == 0:
                ratio = (bytes_written() - before) / written
    return Amounts(label(session.page, session.count), ratio, (bytes_written() - before) / written)


def bytes_written() -> int:
    """Bytes that this process has given to write calls of every kind."""
    for line in Path("/proc/self/io").read_text().splitlines():
        name, _, value = line.partition(": ")
        if name == "wchar":
            return int(value)
    raise RuntimeError("/proc/self/io does not say what was written")
