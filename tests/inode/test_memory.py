"""Memory stays bounded: for a file far larger than the cache, and for a great many tiny extents."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

import untorn
from tests.support.real_files import little_memory, read
from untorn.designs import cow
from untorn.log import checkpoint

CHUNK = 1 << 16
FILE_BYTES = 48 << 20
CACHE_BYTES = 1 << 20
CACHED = 4 << 20
"""Most bytes while nothing moves home: clean, dirty and in writeback, one chunk, and the map of the log."""

CHECKPOINTED = CACHED + checkpoint.RUN_MAX
"""Most bytes with checkpoints."""


def chunk(number: int, version: int) -> bytes:
    """What stands at chunk ``number`` of the file."""
    return (number * 7 + version).to_bytes(4, "little") * (CHUNK // 4)


def write_all(file: Any, version: int, *, commit_every: int = 0) -> None:
    for number in range(FILE_BYTES // CHUNK):
        file.pwrite(chunk(number, version), number * CHUNK)
        if commit_every and number % commit_every == commit_every - 1:
            file.commit(durable=number % 128 == 127)


def read_all(file: Any, version: int) -> None:
    for number in range(FILE_BYTES // CHUNK):
        assert file.pread(CHUNK, number * CHUNK) == chunk(number, version)


def fill(path: Path, version: int) -> None:
    with open(path, "wb") as file:
        for number in range(FILE_BYTES // CHUNK):
            file.write(chunk(number, version))


def test_one_transaction_of_a_large_file_takes_little_more_than_the_cache(tmp_path: Path) -> None:
    path = tmp_path / "data"
    fill(path, 0)
    file = untorn.open(path, "r+b", cache_bytes=CACHE_BYTES)
    with little_memory(CACHED):
        read_all(file, 0)
        transaction = file.transaction()
        transaction.__enter__()
        write_all(file, 1)
        read_all(file, 1)
    with little_memory(CHECKPOINTED):
        transaction.__exit__(None, None, None)
        file.close()
    with untorn.open(path, "rb", cache_bytes=CACHE_BYTES) as file, little_memory(CACHED):
        read_all(file, 1)


def test_many_commits_of_a_large_new_file_take_little_more_than_the_cache(tmp_path: Path) -> None:
    path = tmp_path / "data"
    with (
        little_memory(CHECKPOINTED),
        untorn.open(path, "xb+", cache_bytes=CACHE_BYTES, checkpoint_bytes=8 << 20) as file,
    ):
        write_all(file, 2, commit_every=4)
        assert file.stats()["checkpoints"] >= 5
        read_all(file, 2)
    with open(path, "rb") as plain:
        for number in range(FILE_BYTES // CHUNK):
            assert plain.read(CHUNK) == chunk(number, 2)


def test_one_write_far_larger_than_the_cache_takes_little_more_than_it(tmp_path: Path) -> None:
    path = tmp_path / "data"
    data = random.Random(1).randbytes(FILE_BYTES // 2)
    with untorn.open(path, "xb+", cache_bytes=CACHE_BYTES) as file:
        with little_memory(CACHED):
            assert file.write(data) == len(data)
        with little_memory(CHECKPOINTED):
            file.flush()
        assert file.stats()["commits"] == 1
        assert file.stats()["folios_clean"] <= CACHE_BYTES // 16384
    assert read(path) == data


def test_control_a_cache_as_large_as_the_file_exceeds_the_bounds(tmp_path: Path) -> None:
    path = tmp_path / "data"
    fill(path, 0)
    file = untorn.open(path, "rb", cache_bytes=2 * FILE_BYTES)
    with file, pytest.raises(AssertionError, match="took"), little_memory(CHECKPOINTED):
        read_all(file, 0)


# Tiny extents

EXTENTS = 256
PER_COMMIT = 16
COMMITS = 300
SCATTERED_BYTES = 1 << 24
TINY = 1 << 19
"""Most bytes for them: the map, a cache of 128 KiB with half as much dirty, and what one commit needs."""


def scatter(path: Path) -> dict[str, int]:
    """Many commits of tiny writes all over a file; returns its counters, and the most extents seen."""
    rng = random.Random(3)
    model = bytearray(SCATTERED_BYTES)
    path.write_bytes(model)
    extents_max = 0
    file = untorn.open(path, "r+b", folio_size=4096, cache_bytes=1 << 17, commit="explicit")
    with file:
        with little_memory(TINY):
            for number in range(COMMITS):
                for _ in range(PER_COMMIT):
                    offset = rng.randrange(SCATTERED_BYTES - 8)
                    data = rng.randbytes(rng.randint(1, 8))
                    file.pwrite(data, offset)
                    model[offset : offset + len(data)] = data
                file.commit(durable=number % 50 == 0)
                extents_max = max(extents_max, file.stats()["extents"])
        counters: dict[str, int] = {**file.stats(), "extents_max": extents_max}
    assert read(path) == model
    return counters


# One small write that goes into the middle of an older extent leaves three.
MOST = EXTENTS + 2 * PER_COMMIT


def test_a_great_many_tiny_extents_are_moved_home_in_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cow, "EXTENTS_IN_LOG", EXTENTS)
    seen = []
    due = cow.CopyOnWrite.checkpoint_due

    def watched(design: cow.CopyOnWrite) -> bool:
        seen.append(design.stats()["extents"])
        return due(design)

    monkeypatch.setattr(cow.CopyOnWrite, "checkpoint_due", watched)
    counters = scatter(tmp_path / "data")
    assert len(seen) == COMMITS
    assert EXTENTS < max(seen) <= MOST, "the map exceeded its limit by more than one commit"
    # A commit that leaves more is followed by a checkpoint at once, so no more than the limit is ever left.
    assert EXTENTS // 2 < counters["extents_max"] <= EXTENTS
    assert COMMITS * PER_COMMIT // MOST // 2 <= counters["checkpoints"] < COMMITS // 2


def test_control_without_the_limit_the_map_grows_with_the_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert cow.EXTENTS_IN_LOG > 4 * COMMITS * PER_COMMIT
    with pytest.raises(AssertionError, match="took"):
        scatter(tmp_path / "data")


def test_the_pieces_of_one_large_extent_do_not_each_hold_all_of_it(tmp_path: Path) -> None:
    folio, pieces = 1 << 20, 64
    path = tmp_path / "data"
    path.write_bytes(bytes(4 * folio))
    expected = bytearray(b"L" * folio)
    with untorn.open(path, "r+b", folio_size=folio, cache_bytes=folio, commit="explicit") as file:
        file.pwrite(bytes(expected), 0)
        file.commit(durable=False)
        for number in range(pieces):
            offset = number * (folio // pieces) + 100
            file.pwrite(b"s", offset)
            expected[offset] = ord("s")
            file.commit(durable=False)
        for other in (1, 2, 3):
            file.pread(1, other * folio)
        assert file.stats()["extents"] == 2 * pieces, "a block of each, and what is between them"
        file.commit()
        with little_memory(CHECKPOINTED):
            file.close()
    assert read(path)[:folio] == expected
