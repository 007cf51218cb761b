"""What a path's file system and the device below it offer, from statx, sysfs and /proc/self/mountinfo."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from enum import StrEnum

from untorn.debate.probe.probe_file import Broken
from untorn.storage import statx
from untorn.storage.filesystem import DEVICES, Mount, mount_of, read_text
from untorn.storage.interface import AtomicLimits
from untorn.storage.statx import Alignment


class Way(StrEnum):
    """Who makes an atomic write whole."""

    NONE = "nobody"
    SOFTWARE = "the file system, by software"
    HARDWARE = "the device"
    BOTH = "the device, and above its size the file system by software"
    UNKNOWN = "cannot be told"


@dataclass(frozen=True)
class Device:
    """A block device as its queue in sysfs tells. Sizes in bytes; 0 for none."""

    name: str
    below: tuple[str, ...]
    """The devices that a stacked one lies on, or the file of a loop device."""
    logical_block: int
    physical_block: int
    unit_min: int
    unit_max: int
    max_bytes: int
    """Of one request, to which several writes may be merged."""
    boundary: int
    write_cache: str
    limits: AtomicLimits
    """As statx tells them of the device node."""


@dataclass(frozen=True)
class Environment:
    """Where the path is. Sizes in bytes."""

    kernel: str
    mount: Mount | None
    """None for a block device itself."""
    block_size: int
    alignment: Alignment
    """Of direct I/O; 0 if there is none."""
    limits: AtomicLimits
    """Of a file there, or of the device; for direct I/O, as statx tells."""
    device: Device | None
    way: Way


def device_of(number: int, sysfs: str = DEVICES) -> Device | None:
    """What sysfs tells of a device; of a partition, its disk's queue. None if it tells nothing."""
    folder = os.path.realpath(os.path.join(sysfs, f"{os.major(number)}:{os.minor(number)}"))
    disk = os.path.dirname(folder) if os.path.exists(os.path.join(folder, "partition")) else folder
    queue = os.path.join(disk, "queue")
    if not os.path.isdir(queue):
        return None

    def size(name: str) -> int:
        text = read_text(os.path.join(queue, name))
        return int(text) if text.isdigit() else 0

    name = os.path.basename(folder)
    return Device(
        name=name,
        below=_below(disk),
        logical_block=size("logical_block_size"),
        physical_block=size("physical_block_size"),
        unit_min=size("atomic_write_unit_min_bytes"),
        unit_max=size("atomic_write_unit_max_bytes"),
        max_bytes=size("atomic_write_max_bytes"),
        boundary=size("atomic_write_boundary_bytes"),
        write_cache=read_text(os.path.join(queue, "write_cache")),
        limits=_node_limits(folder),
    )


def _below(disk: str) -> tuple[str, ...]:
    try:
        slaves = sorted(os.listdir(os.path.join(disk, "slaves")))
    except OSError:
        slaves = []
    backing = read_text(os.path.join(disk, "loop", "backing_file"))
    return tuple(slaves) + ((backing,) if backing else ())


def _node_limits(folder: str) -> AtomicLimits:
    """statx of the device node, which asks for no right to read it."""
    names = re.findall(r"^DEVNAME=(.+)$", read_text(os.path.join(folder, "uevent")), re.MULTILINE)
    try:
        descriptor = os.open(os.path.join("/dev", names[0]), os.O_PATH | os.O_CLOEXEC)
    except (OSError, IndexError):
        return AtomicLimits()
    try:
        return statx.io_limits(descriptor, names[0])[1]
    finally:
        os.close(descriptor)


def way_of(limits: AtomicLimits, device: Device | None) -> Way:
    """Who makes writes with these limits whole. ``unit_max_opt`` is no help: XFS leaves it 0 where all is software."""
    if not limits.unit_min:
        return Way.NONE
    if device is None:
        return Way.UNKNOWN
    if not device.unit_max:
        return Way.SOFTWARE
    return Way.HARDWARE if device.unit_max >= limits.unit_max else Way.BOTH


def survey(path: str, folder: str | None) -> Environment:
    """What ``path`` offers; it is a block device if ``folder``, where scratch files may be, is None."""
    kernel = os.uname().release
    if folder is None:
        number = os.stat(path).st_rdev
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
        try:
            alignment, limits = statx.io_limits(descriptor, path)
        finally:
            os.close(descriptor)
        device = device_of(number)
        block = device.logical_block if device is not None else 0
        return Environment(kernel, None, block, alignment, limits, device, way_of(limits, device))
    scratch = os.path.join(folder, "limits")
    descriptor = os.open(scratch, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        mount = mount_of(descriptor)
        alignment, limits = statx.io_limits(descriptor, scratch)
    finally:
        os.close(descriptor)
        os.unlink(scratch)
    device = device_of(mount.device) if mount.device is not None else None
    block = os.statvfs(folder).f_bsize
    return Environment(kernel, mount, block, alignment, limits, device, way_of(limits, device))


def check_device(device: Device) -> str:
    """generic/765, nvme/059 and scsi/009: the limits of the queue agree with one another and with statx."""
    low, high = device.unit_min, device.unit_max
    for name, size in (("unit_min", low), ("unit_max", high), ("boundary", device.boundary)):
        if size & (size - 1):
            raise Broken(f"{name}, {size}, is no power of two")
    if not low <= high <= device.max_bytes or bool(low) != bool(high):
        raise Broken(f"out of order: unit_min {low}, unit_max {high}, max {device.max_bytes}")
    if device.boundary and device.boundary < high:
        raise Broken(f"the boundary, {device.boundary}, is below unit_max, {high}")
    if (device.limits.unit_min, device.limits.unit_max) != (low, high):
        raise Broken(f"sysfs says {low} to {high}, statx {device.limits.unit_min} to {device.limits.unit_max}")
    return f"{low} to {high} bytes" if high else "both tell of none"
