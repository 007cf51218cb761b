"""What the path offers is read from where Linux tells it, and checked against itself."""

from __future__ import annotations

import dataclasses
import os
import stat
from pathlib import Path

import pytest

from tests.files.mounts import mounted
from untorn.probe import Verdict, check_queue, environment
from untorn.probe.environment import Device, Mount, Way, check_device, device_of, mount_of, survey, way_of
from untorn.probe.probed import Broken
from untorn.storage.api import AtomicLimits

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


MOUNTINFO = b"""\
21 1 254:0 / / rw,relatime - ext4 /dev/vda1 rw,errors=remount-ro
22 21 0:5 / %(top)s/a\\040b rw shared:1 - tmpfs none rw,size=4k
23 21 7:3 / %(top)s/xfs rw - xfs /dev/loop3 rw,inode64
24 21 8:17 / %(top)s/real rw - xfs /dev/sdb1 rw,rtdev=/dev/sdc1
25 21 0:77 / %(top)s/tree rw - btrfs %(top)s/node rw
26 23 0:78 / %(top)s/xfs/in rw - overlay overlay rw,lowerdir=/x
broken
"""


@pytest.fixture
def mounts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("a b", "xfs", "xfs/in", "xfs/inside", "real", "tree"):
        (tmp_path / name).mkdir()
    (tmp_path / "mountinfo").write_bytes(MOUNTINFO.replace(b"%(top)s", os.fsencode(tmp_path)))
    monkeypatch.setattr(environment, "_MOUNTINFO", str(tmp_path / "mountinfo"))
    return tmp_path


@pytest.mark.parametrize(
    ("path", "kind", "source", "device"),
    [
        (".", "ext4", "/dev/vda1", os.makedev(254, 0)),
        ("a b", "tmpfs", "none", None),
        ("xfs", "xfs", "/dev/loop3", os.makedev(7, 3)),
        ("xfs/inside", "xfs", "/dev/loop3", os.makedev(7, 3)),
        ("xfs/in", "overlay", "overlay", None),
        ("real", "xfs", "/dev/sdb1", None),  # data may be on its realtime device
    ],
)
def test_the_mount_is_the_one_nearest_above(
    mounts: Path, path: str, kind: str, source: str, device: int | None
) -> None:
    found = mount_of(str(mounts / path))

    assert (found.kind, found.source, found.device) == (kind, source, device)


def test_a_file_system_with_a_number_of_its_own_is_on_the_device_that_it_names(
    mounts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert mount_of(str(mounts / "tree")).device is None
    node = mounts / "node"
    node.touch()
    assert mount_of(str(mounts / "tree")).device is None
    real = os.stat

    class Block:
        st_mode = stat.S_IFBLK
        st_rdev = os.makedev(9, 1)

    monkeypatch.setattr(os, "stat", lambda path, **options: Block if path == str(node) else real(path, **options))

    assert mount_of(str(mounts / "tree")).device == os.makedev(9, 1)


@pytest.mark.parametrize("text", [None, b"", b"nothing of use\n"])
def test_without_proc_the_file_system_is_unknown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: bytes | None
) -> None:
    path = tmp_path / "mountinfo"
    if text is not None:
        path.write_bytes(text)
    monkeypatch.setattr(environment, "_MOUNTINFO", str(path))

    assert mount_of("/") == Mount("", "unknown", "unknown", (), None)


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
