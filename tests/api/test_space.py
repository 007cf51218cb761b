"""No space left: said at the write, which changes nothing; a checkpoint that fails for it loses nothing.

On real file systems, small ones mounted for the test, and under RLIMIT_FSIZE.
"""

from __future__ import annotations

import contextlib
import errno
import os
import random
import resource
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import untorn
from tests.support.mounts import MIB, SIZES, fill, mounted
from tests.support.real_files import OLD, PAGE, killed, read, sidecar
from untorn.errors import CheckpointError
from untorn.log.space import STEP_MAX
from untorn.storage.fault_injection import Fault, FaultyStorage
from untorn.storage.linux import LinuxStorage

FULL = (errno.ENOSPC, errno.EDQUOT)
pytestmark = pytest.mark.needs_root


@pytest.fixture(params=["ext4", "xfs", "tmpfs"])
def small(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    with mounted(request.param, tmp_path) as folder:
        yield folder


@pytest.fixture
def tiny(tmp_path: Path) -> Iterator[Path]:
    with mounted("tmpfs", tmp_path) as folder:
        yield folder


def free(folder: Path) -> int:
    found = os.statvfs(folder)
    return found.f_bavail * found.f_bsize


def leave(folder: Path, size: int) -> Path:
    """Takes all the space but about ``size`` bytes."""
    junk = folder / "junk"
    with junk.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, free(folder) - size)
    return junk


def test_filling_a_file_system_loses_nothing_that_was_written(small: Path) -> None:
    leave(small, 3 * MIB)
    path = small / "data"
    path.write_bytes(OLD)
    written = OLD
    file = untorn.open(path, "a+b", folio_size=PAGE)
    with pytest.raises(OSError, match=r"No space|quota") as caught:
        for index in range(10_000):
            piece = bytes([index % 251]) * 10_000
            assert file.write(piece) == len(piece)
            written += piece
    assert caught.value.errno in FULL
    assert 500_000 < len(written) < 3 * MIB
    assert file.tell() == len(written)
    file.seek(0)
    assert file.read() == written
    file.flush()
    with pytest.raises(OSError, match=r"No space|quota"):
        file.write(bytes(3 * MIB))
    file.close()
    assert read(path) == written
    assert not sidecar(path).exists()


def test_overwriting_on_a_full_file_system_is_refused_at_the_write(small: Path) -> None:
    path = small / "data"
    path.write_bytes(OLD * 100)
    fill(small)
    with untorn.open(path, "r+b") as file:
        with pytest.raises(OSError, match=r"No space|quota") as caught:
            file.write(b"x" * 100)
        assert caught.value.errno in FULL
        assert file.tell() == 0
        assert file.read() == OLD * 100
        (small / "junk").unlink()
        file.seek(0)
        file.write(b"x" * 100)
    assert read(path) == b"x" * 100 + (OLD * 100)[100:]


def test_a_new_file_on_a_full_file_system_is_empty_or_not_there(small: Path) -> None:
    path = small / "data"
    junk = fill(small)
    try:
        with pytest.raises(OSError, match=r"No space|quota"), untorn.open(path, "xb") as file:
            file.write(OLD)
        assert not path.exists() or read(path) == b""
        assert not sidecar(path).exists()
    finally:
        junk.unlink()


@pytest.mark.parametrize("seed", range(3))
def test_random_work_at_the_brink_is_whole_or_refused(small: Path, seed: int) -> None:
    chance = random.Random(seed)
    path = small / "data"
    path.write_bytes(OLD)
    leave(small, MIB)
    model, refused = bytearray(OLD), 0
    file = untorn.open(
        path, "r+b", folio_size=PAGE, cache_bytes=64 * PAGE, checkpoint_bytes=chance.choice([1, 4]) << 17
    )
    for _ in range(250):
        offset = chance.randrange(len(model) + 1) + chance.choice([0, 0, 100_000])
        data = bytes([chance.randrange(256)]) * chance.choice([1, 5000, 60_000, 300_000])
        try:
            step = chance.random()
            if step < 0.75:
                file.pwrite(data, offset)
                model.extend(bytes(max(0, offset - len(model))))
                model[offset : offset + len(data)] = data
            elif step < 0.8:
                size = min(offset, len(model))
                file.truncate(size)
                del model[size:]
            else:
                file.commit(durable=chance.random() < 0.5)
        except OSError as error:
            if error.errno not in FULL:
                raise
            refused += 1
        file._inode.assert_space()
        assert file.pread(len(model) + 1, 0) == model
    assert refused > 5, "the file system was never full"
    try:
        file.close()
    except CheckpointError:
        with untorn.open(path, "rb") as reader:
            assert reader.read() == model
        (small / "junk").unlink()
        untorn.recover(path)
    assert read(path) == model
    assert not sidecar(path).exists()


@contextlib.contextmanager
def limited(size: int) -> Iterator[None]:
    """No file of this process may become larger."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("rollback", [False, True])
@pytest.mark.parametrize("cache", [8 * PAGE, 1 << 26], ids=["in pieces", "at once"])
def test_one_refusal_does_not_stick_and_takes_no_space(small: Path, cache: int, *, rollback: bool) -> None:
    leave(small, 2 * MIB)
    path = small / "data"
    path.write_bytes(OLD)
    with untorn.open(path, "r+b", folio_size=PAGE, cache_bytes=cache) as file:
        file.pwrite(b"first", 0)
        before = free(small)
        with pytest.raises(OSError, match=r"No space|quota"):
            file.pwrite(bytes(3 * MIB), PAGE)
        assert free(small) >= before - PAGE
        if rollback:
            file.rollback()
        assert file.pwrite(b"small", 0) == 5
        file._inode.assert_space()
    assert read(path) == b"small" + OLD[5:]


def test_a_limit_to_the_size_of_files_does_not_stick(tmp_path: Path) -> None:
    path = tmp_path / "data"
    path.write_bytes(OLD)
    with limited(MIB), untorn.open(path, "r+b") as file:
        with pytest.raises(OSError, match="too large") as caught:
            file.write(bytes(700_000))  # the file would be small enough, the log not
        assert caught.value.errno == errno.EFBIG
        for _ in range(100):
            file.pwrite(bytes(40_000), 0)
            file.commit(durable=False)
        assert file.stats()["checkpoints"] > 2, "the log never met the limit"
    assert read(path) == bytes(40_000) + OLD[40_000:]


def test_what_was_rolled_back_is_free_again(small: Path) -> None:
    leave(small, 3 * MIB)
    path = small / "data"
    path.write_bytes(OLD)
    with untorn.open(path, "r+b", commit="explicit") as file:
        before = free(small)
        for index in range(20):
            file.pwrite(bytes(50_000), index * 50_000)
        assert free(small) < before - 2 * MIB
        file.rollback()
        assert free(small) > before - MIB - 100_000
        file.pwrite(b"x", 0)
        for _ in range(3):
            file.commit()
        assert (
            sum(entry.stat().st_blocks for entry in os.scandir(small) if entry.name.startswith("data")) * 512 < 2 * MIB
        )


@pytest.mark.parametrize("spilled", [False, True])
def test_new_data_take_twice_their_size_at_the_peak_and_steps(tmp_path: Path, *, spilled: bool) -> None:
    """What the module untorn.log.space states, in blocks of a real file and its log, looked at in every call."""
    path = tmp_path / "data"
    size = 96 * MIB
    peak = 0

    def look() -> None:
        nonlocal peak
        held = 0
        for one in (path, sidecar(path)):
            with contextlib.suppress(FileNotFoundError):
                held += os.stat(one).st_blocks * 512
        peak = max(peak, held)

    storage = FaultyStorage(LinuxStorage(), Fault(nth=0, onwards=True, before=look, after=look))
    cache = 1 << 24 if spilled else 1 << 28
    with untorn.open(path, "w+b", commit="explicit", cache_bytes=cache, storage=storage) as file:
        for _ in range(size // MIB):
            file.write(bytes(MIB))
        file.commit()
    assert read(path) == bytes(size)
    assert peak > 2 * size, "the control: all of it was in both at some time"
    assert peak < 2 * size + size // 32 + 3 * STEP_MAX


def hand_over(path: Path, when: Any) -> FaultyStorage:
    """Storage where ``when`` happens just before blocks are handed from the log to the file."""
    return FaultyStorage(LinuxStorage(), Fault(nth=0, names={"allocate"}, paths={str(path)}, before=when, onwards=True))


def test_a_checkpoint_that_fails_for_space_keeps_the_log_and_loses_nothing(small: Path) -> None:
    path = small / "data"
    path.write_bytes(OLD)
    new = OLD + b"N" * MIB
    leave(small, 3 * MIB)
    # Another program takes the space at the worst moment: when the log has given it back.
    file = untorn.open(path, "r+b", folio_size=PAGE, storage=hand_over(path, lambda: fill(small)))
    file.seek(0, os.SEEK_END)
    file.write(b"N" * MIB)
    file.commit()
    with pytest.raises(CheckpointError, match="Nothing is lost") as caught:
        file.close()
    assert caught.value.errno in FULL
    assert sidecar(path).exists()
    with untorn.open(path, "rb") as reader:
        assert reader.read() == new
    with pytest.raises(OSError, match=r"No space|quota"):
        untorn.recover(path)
    with untorn.open(path, "rb") as reader:
        assert reader.read() == new
    (small / "junk").unlink()
    assert untorn.recover(path) == 1
    assert read(path) == new
    assert os.listdir(small) == [path.name] or sorted(os.listdir(small)) == [path.name, "lost+found"]


def test_after_a_checkpoint_that_failed_for_space_the_handle_goes_on(small: Path) -> None:
    path = small / "data"
    path.write_bytes(OLD)
    leave(small, 5 * MIB if small.name != "tmpfs" else 3 * MIB)
    storage = hand_over(path, lambda: fill(small))
    file = untorn.open(path, "r+b", folio_size=PAGE, checkpoint_bytes=PAGE, storage=storage)
    file.seek(0, os.SEEK_END)
    file.write(b"N" * 500_000)
    file.commit()
    assert file.stats()["checkpoints"] == 0, "the checkpoint did not fail"
    assert file.pread(1 << 20, 0) == OLD + b"N" * 500_000
    storage.clear()
    (small / "junk").unlink()
    file.pwrite(b"O" * PAGE, 0)
    file.commit()
    assert file.stats()["checkpoints"] == 1
    file.close()
    assert read(path) == b"O" * PAGE + OLD[PAGE:] + b"N" * 500_000
    assert not sidecar(path).exists()


def test_a_process_killed_after_a_checkpoint_failed_for_space_loses_nothing(tiny: Path) -> None:
    path = tiny / "data"
    path.write_bytes(OLD)

    def work(file: Any) -> None:
        file.seek(0, os.SEEK_END)
        file.write(b"N" * 300_000)
        file.commit()
        assert file.stats()["checkpoints"] == 0, "no checkpoint failed"

    killed(path, work, folio_size=PAGE, checkpoint_bytes=PAGE, storage=hand_over(path, lambda: fill(tiny)))
    new = OLD + b"N" * 300_000
    with untorn.open(path, "rb") as reader:
        assert reader.read() == new
    (tiny / "junk").unlink()
    untorn.recover(path)
    assert read(path) == new


def test_the_control_a_plain_write_at_the_brink_is_short_or_late(tiny: Path) -> None:
    """The control: the file system does run full, and there an ordinary file keeps part of a write."""
    path = tiny / "data"
    leave(tiny, MIB)
    with path.open("wb", buffering=0) as file:
        assert file.write(bytes(2 * MIB)) < 2 * MIB
    assert SIZES["tmpfs"] > MIB
