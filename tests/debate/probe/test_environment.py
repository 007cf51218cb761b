"""What the path offers is read from where Linux tells it, and checked against itself."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import pytest

from tests.support.mounts import mounted
from untorn.debate.probe import Verdict, check_queue
from untorn.debate.probe.environment import Device, Way, check_device, device_of, survey, way_of
from untorn.debate.probe.probe_file import Broken
from untorn.storage.interface import AtomicLimits

KIB = 1 << 10
NVME = Device(
    name="nvme0n1",
    below=(),
    logical_block=512,
    physical_block=4096,
    unit_min=4 * KIB,
    unit_max=16 * KIB,
    max_bytes=128 * KIB,
    boundary=64 * KIB,
    write_cache="write back",
    limits=AtomicLimits(4 * KIB, 16 * KIB, 0, 1),
)
PLAIN = dataclasses.replace(NVME, unit_min=0, unit_max=0, max_bytes=0, boundary=0, limits=AtomicLimits())


def file_limits(unit_max: int) -> AtomicLimits:
    return AtomicLimits(4 * KIB, unit_max, 0, 1)


@pytest.mark.parametrize(
    ("limits", "device", "way"),
    [
        (AtomicLimits(), PLAIN, Way.NONE),
        (AtomicLimits(), NVME, Way.NONE),
        (file_limits(1 << 20), PLAIN, Way.SOFTWARE),
        (file_limits(16 * KIB), NVME, Way.HARDWARE),
        (file_limits(4 * KIB), NVME, Way.HARDWARE),
        (file_limits(64 * KIB), NVME, Way.BOTH),
        (file_limits(64 * KIB), None, Way.UNKNOWN),
    ],
)
def test_who_makes_writes_whole(limits: AtomicLimits, device: Device | None, way: Way) -> None:
    assert way_of(limits, device) is way


@pytest.mark.parametrize("device", [NVME, PLAIN, dataclasses.replace(NVME, boundary=0)])
def test_limits_of_a_device_that_make_sense(device: Device) -> None:
    found = check_queue(device)

    assert [outcome.verdict for outcome in found.outcomes] == [Verdict.PASS]
    assert device.name in found.subject


@pytest.mark.parametrize(
    "change",
    [
        {"unit_min": 3 * KIB},
        {"unit_max": 24 * KIB},
        {"unit_min": 32 * KIB},
        {"unit_max": 256 * KIB},
        {"unit_min": 0},
        {"boundary": 8 * KIB},
        {"boundary": 96 * KIB},
        {"limits": AtomicLimits(4 * KIB, 32 * KIB, 0, 1)},
        {"limits": AtomicLimits()},
    ],
)
def test_control_limits_of_a_device_that_make_none(change: dict[str, int]) -> None:
    device = dataclasses.replace(NVME, **change)  # type: ignore[arg-type]

    with pytest.raises(Broken):
        check_device(device)
    assert check_queue(device).failures == 1


def sysfs(folder: Path, values: dict[str, str]) -> str:
    """A disk 8:16 with a partition 8:17, and what the files of its queue say."""
    disk = folder / "devices" / "sdb"
    (disk / "queue").mkdir(parents=True)
    (disk / "slaves" / "nvme1n1").mkdir(parents=True)
    (disk / "loop").mkdir()
    (disk / "loop" / "backing_file").write_text("/images/disk\n")
    part = disk / "sdb1"
    part.mkdir()
    (part / "partition").write_text("1\n")
    for name, value in values.items():
        (disk / "queue" / name).write_text(value + "\n")
    block = folder / "block"
    block.mkdir()
    (block / "8:16").symlink_to(disk)
    (block / "8:17").symlink_to(part)
    return str(block)


def test_the_queue_is_read_also_of_the_disk_below_a_partition(tmp_path: Path) -> None:
    values = {
        "logical_block_size": "512",
        "physical_block_size": "4096",
        "atomic_write_unit_min_bytes": "4096",
        "atomic_write_unit_max_bytes": "16384",
        "atomic_write_max_bytes": "131072",
        "atomic_write_boundary_bytes": "65536",
        "write_cache": "write back",
    }
    place = sysfs(tmp_path, values)

    for minor, name in ((16, "sdb"), (17, "sdb1")):
        assert device_of(os.makedev(8, minor), place) == dataclasses.replace(
            NVME, name=name, below=("nvme1n1", "/images/disk"), limits=AtomicLimits()
        )


def test_a_kernel_that_knows_nothing_of_atomic_writes_tells_of_none(tmp_path: Path) -> None:
    found = device_of(os.makedev(8, 16), sysfs(tmp_path, {"logical_block_size": "512"}))

    assert found is not None
    assert (found.unit_min, found.unit_max, found.max_bytes, found.boundary) == (0, 0, 0, 0)
    assert found.write_cache == ""
    assert device_of(os.makedev(8, 99), str(tmp_path / "block")) is None


def test_a_path_is_surveyed_and_nothing_is_left(tmp_path: Path) -> None:
    found = survey(str(tmp_path), str(tmp_path))

    assert found.kernel == os.uname().release
    assert found.mount is not None
    assert found.mount.kind != "unknown"
    assert found.block_size == os.statvfs(tmp_path).f_bsize
    assert os.listdir(tmp_path) == []


@pytest.mark.needs_root
def test_xfs_on_a_loop_device_is_told_to_work_by_software(tmp_path: Path) -> None:
    with mounted("xfs", tmp_path) as folder:
        found = survey(str(folder), str(folder))
        assert found.mount is not None
        node = survey(found.mount.source, None)

    assert found.mount.kind == "xfs"
    assert found.device is not None
    assert found.device.below == (str(tmp_path / "xfs.image"),)
    assert found.way is (Way.SOFTWARE if found.limits.unit_min else Way.NONE)
    assert node.mount is None
    assert node.device == found.device
    assert node.way is Way.NONE
