"""The designs on real file systems: XFS takes RWF_ATOMIC as direct I/O, by copying if need be; ext4 often does not.

No hardware that writes atomically is at hand: what these tests show is that the kernel takes the calls and keeps
the bytes, not what a power failure leaves.
"""

from __future__ import annotations

import errno
import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import untorn
from tests.support.atomic_machine import ALL, ATOMIC, BLOCK, FOLIO, bios
from tests.support.mounts import mounted
from untorn import RWF_ATOMIC, RWF_DSYNC, STATX_WRITE_ATOMIC_DIO, AtomicLimits
from untorn.storage.linux import LinuxStorage

pytestmark = pytest.mark.needs_root


@pytest.fixture(scope="module")
def xfs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with mounted("xfs", tmp_path_factory.mktemp("xfs")) as folder:
        yield folder


@pytest.fixture(scope="module")
def ext4(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with mounted("ext4", tmp_path_factory.mktemp("ext4")) as folder:
        yield folder


def atomic_on(folder: Path) -> AtomicLimits:
    path = folder / "asked"
    path.touch()
    with untorn.open(path, "rb") as file:
        limits: AtomicLimits = file.statx(STATX_WRITE_ATOMIC_DIO)
        return limits


def opened_at(path: Path, design: str, **options: Any) -> Any:
    return untorn.open(path, "r+b", design=design, **options)  # type: ignore[call-overload]


def mixed(path: Path, design: str) -> None:
    """Random writes of both kinds, cuts and reopenings, against a bytearray; read back by builtins.open."""
    chance = random.Random(design)
    path.write_bytes(b"o" * 5000)
    model = bytearray(b"o" * 5000)
    for session in range(4):
        with opened_at(path, design, cache_bytes=4 * FOLIO) as file:
            largest = min(file.statx().unit_max, FOLIO)
            for number in range(40):
                kind = chance.randrange(8)
                length = chance.choice([BLOCK, 2 * BLOCK, FOLIO]) if kind < 4 else chance.randrange(1, 3 * FOLIO)
                offset = chance.randrange(6 * FOLIO)
                data = bytes([65 + number % 26]) * length
                flags = chance.choice([0, 0, 0, RWF_DSYNC])
                if kind < 4 and length <= largest:
                    offset = offset // length * length
                    flags |= RWF_ATOMIC
                if kind == 7:
                    file.truncate(offset)
                    del model[offset:]
                    model += bytes(offset - len(model))
                    continue
                assert file.pwrite(data, offset, flags) == length
                model += bytes(max(0, offset + length - len(model)))
                model[offset : offset + length] = data
            assert file.pread(len(model) + 1, 0) == model, (design, session)
        assert path.read_bytes() == model, (design, session)
    assert os.listdir(path.parent) == [path.name] or not any(
        name.endswith("untorn") for name in os.listdir(path.parent)
    )


@pytest.mark.parametrize("design", ALL)
def test_every_design_keeps_the_bytes_on_xfs(xfs: Path, design: str) -> None:
    mixed(xfs / f"mixed-{design}", design)


@pytest.mark.parametrize("design", [*ALL[:2], "plain", "cow", "writethrough"])
def test_every_design_keeps_the_bytes_on_ext4(ext4: Path, design: str) -> None:
    mixed(ext4 / f"mixed-{design}", design)


@pytest.mark.parametrize("design", ATOMIC)
def test_xfs_takes_every_atomic_bio_that_a_design_sends(xfs: Path, design: str) -> None:
    limits = atomic_on(xfs)
    if not limits.unit_min:
        pytest.skip("this kernel's XFS has no atomic writes")
    path = xfs / f"sizes-{design}"
    path.write_bytes(b"o" * 100)
    with opened_at(path, design) as file:
        offered = file.statx()
        assert offered.unit_min == limits.unit_min
        sent = bios(file)
        size = offered.unit_min
        while size <= min(offered.unit_max, 1 << 20):
            file.pwrite(b"n" * size, size, RWF_ATOMIC)
            size *= 2
        file.flush()
        assert all("REQ_ATOMIC" in bio.flags for bio in sent)
        assert file.stats()["atomic_bios"] == len(sent)
    assert path.read_bytes()[offered.unit_min :] == b"n" * (size - offered.unit_min)


@pytest.mark.parametrize("design", ATOMIC)
def test_ext4_on_a_plain_disk_takes_none_and_plain_writes_go_on(ext4: Path, design: str) -> None:
    if atomic_on(ext4).unit_min:
        pytest.skip("this device writes atomically")
    path = ext4 / f"none-{design}"
    path.write_bytes(b"o" * FOLIO)
    with opened_at(path, design) as file:
        assert file.statx() == AtomicLimits()
        with pytest.raises(OSError) as caught:
            file.pwrite(b"n" * BLOCK, 0, RWF_ATOMIC)
        assert caught.value.errno == errno.EOPNOTSUPP
        assert file.pwrite(b"n" * BLOCK, 0) == BLOCK
    assert path.read_bytes() == b"n" * BLOCK + b"o" * (FOLIO - BLOCK)


def test_copy_on_write_leaves_atomic_writes_that_xfs_makes_by_copying_alone(xfs: Path) -> None:
    path = xfs / "cow"
    path.write_bytes(b"o" * FOLIO)
    storage = LinuxStorage()
    home: Any = storage.open(str(path), os.O_RDWR)
    hardware = home.hardware_unit_max()
    home.close()
    with untorn.open(path, "r+b") as file:
        file.pwrite(b"n" * FOLIO, 0)
        file.flush()
        assert (file.stats()["atomic_bios"] == 1) is (hardware >= FOLIO)
