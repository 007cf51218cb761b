"""The file system of an open file: its kind, whether it is on a network, whether it survives a power failure.

At an open only fstatfs(2) is asked, by ctypes, for ``os.statvfs`` leaves its type out. For the whole answer
/proc/self/mountinfo tells kind, options and device of the mount that the file was opened on, and sysfs whether ext4 has
a journal. docs/guides/filesystems.md says what untorn needs of all this.
"""

from __future__ import annotations

import ctypes
import errno
import os
import re
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from untorn.storage.interface import FileSystem

MOUNTINFO: Final = "/proc/self/mountinfo"
DEVICES: Final = "/sys/dev/block"
_EXT4: Final = "/sys/fs/ext4"
_UNKNOWN: Final = "unknown"

# Numbers as linux/magic.h has them, and those of Coda, Lustre and GPFS.
_NETWORK: Final = {
    0x6969: "nfs", 0x517B: "smb", 0xFF534D42: "cifs", 0xFE534D42: "smb3", 0x01021997: "9p", 0x00C36400: "ceph",
    0x5346414F: "afs", 0x6B414653: "afs", 0x73757245: "coda", 0x0BD00BD0: "lustre", 0x47504653: "gpfs",
}  # fmt: skip
_LOCAL: Final = {
    0xEF53: "ext4", 0x58465342: "xfs", 0x9123683E: "btrfs", 0xF2F52010: "f2fs", 0x01021994: "tmpfs",
    0x858458F6: "ramfs", 0x794C7630: "overlay", 0x65735546: "fuse",
}  # fmt: skip
_MEMORY: Final = ("tmpfs", "ramfs")
_SOUND: Final = ("ext3", "xfs", "btrfs", "f2fs")
"""Kinds that always have a journal, or that never write over what is in use."""
_VOLATILE: Final = ("volatile", "fsync=volatile")
"""How an overlay says that it leaves out every sync, in older and in newer kernels."""
_NO_BARRIERS: Final = ("nobarrier", "barrier=0", "fsync_mode=nobarrier")

_libc = ctypes.CDLL(None, use_errno=True)
_fstatfs = getattr(_libc, "fstatfs64", None) or _libc.fstatfs
_fstatfs.argtypes = (ctypes.c_int, ctypes.c_void_p)
_fstatfs.restype = ctypes.c_int
_TYPE: Final = ctypes.c_uint if os.uname().machine.startswith("s390") else ctypes.c_long
"""Of ``f_type``, the first field of ``struct statfs``."""
_SIZE: Final = 256
"""Bytes, more than any architecture's ``struct statfs`` has."""


@dataclass(frozen=True)
class Mount:
    """A line of mountinfo. Where /proc does not tell, everything is ``unknown``."""

    point: str
    kind: str
    source: str
    options: tuple[str, ...]
    device: int | None
    """Of the block device; None if there is none, or more than one may be meant."""


def _type_of(descriptor: int) -> int:
    """``f_type`` of the file system that an open file is on; 0 where a sandbox forbids to ask."""
    buffer = ctypes.create_string_buffer(_SIZE)
    if _fstatfs(descriptor, buffer):
        code = ctypes.get_errno()
        if code in (errno.ENOSYS, errno.EPERM):
            return 0
        raise OSError(code, os.strerror(code))
    return _TYPE.from_buffer(buffer).value & 0xFFFFFFFF


def on_network(descriptor: int) -> bool:
    """Whether the open file is on a network file system. False also for those that a FUSE program makes."""
    return _type_of(descriptor) in _NETWORK


def describe(descriptor: int) -> FileSystem:
    """The file system of an open file, as far as Linux tells."""
    number = _type_of(descriptor)
    mount = mount_of(descriptor)
    kind = mount.kind
    if kind == _UNKNOWN:
        kind = _NETWORK.get(number) or _LOCAL.get(number, _UNKNOWN)
    if number in _NETWORK:
        what = "on a network: what survives a power failure, and which locks hold, depends on its server"
        return FileSystem(kind, True, None, f"{kind}, {what}")
    survives, what = _survival(kind, mount)
    return FileSystem(kind, False, survives, f"{kind}, {what}")


def _survival(kind: str, mount: Mount) -> tuple[bool | None, str]:
    """Whether what was synced survives a power failure, and the same in words."""
    if kind in _MEMORY:
        return False, "in memory: a power failure leaves nothing of it"
    if kind == "overlay" and any(option in mount.options for option in _VOLATILE):
        return False, "mounted volatile: no sync reaches a disk, and a power failure may leave nothing of it"
    if kind == "overlay":
        return None, "over others: what survives a power failure depends on the file system of its upper directory"
    if kind.startswith("fuse"):
        return None, "served by a program: what survives a power failure depends on that"
    journal = _journal(kind, mount)
    if journal is False:
        return (
            False,
            "without a journal: a power failure may damage the file system itself and with it what was synced",
        )
    if journal is None:
        return None, "of which untorn cannot tell whether what was synced survives a power failure"
    if any(option in mount.options for option in _NO_BARRIERS):
        return None, "mounted without barriers: what was synced survives a power failure if the device's cache does"
    return True, "which keeps in a power failure what was synced, if the device keeps what it confirms"


def _journal(kind: str, mount: Mount) -> bool | None:
    """Whether a power failure leaves the file system itself sound; None if that cannot be told."""
    if kind in _SOUND or kind == "ext2":
        return kind != "ext2"
    if kind != "ext4" or mount.device is None:
        return None
    name = os.path.basename(os.path.realpath(f"{DEVICES}/{os.major(mount.device)}:{os.minor(mount.device)}"))
    task = read_text(os.path.join(_EXT4, name, "journal_task"))  # that writes its journal
    return task != "<none>" if task else None


def mount_of(descriptor: int) -> Mount:
    """The mount that an open file is on."""
    number = re.search(r"^mnt_id:\s*(\d+)$", read_text(f"/proc/self/fdinfo/{descriptor}"), re.MULTILINE)
    if number is not None:
        try:
            with open(MOUNTINFO, "rb") as mounts:
                for line in mounts:
                    fields = line.split()
                    if fields and fields[0] == number[1].encode():
                        return _mount(fields)
        except (OSError, ValueError, IndexError):
            pass
    return Mount("", _UNKNOWN, _UNKNOWN, (), None)


def _mount(fields: list[bytes]) -> Mount:
    kind, source, options = fields[fields.index(b"-") + 1 :][:3]
    words = tuple(option.decode("ascii", "replace") for option in options.split(b","))
    name = os.fsdecode(_unescaped(source))
    return Mount(
        os.fsdecode(_unescaped(fields[4])), kind.decode("ascii", "replace"), name, words,
        _device_number(fields[2], name, words),
    )  # fmt: skip


def _unescaped(field: bytes) -> bytes:
    return re.sub(rb"\\([0-7]{3})", lambda octal: bytes([int(octal[1], 8)]), field)


def _device_number(field: bytes, source: str, options: Sequence[str]) -> int | None:
    major, minor = map(int, field.split(b":"))
    if any(option.startswith("rtdev=") for option in options):
        return None  # data may be on either device
    if major:
        return os.makedev(major, minor)
    try:
        found = os.stat(source)  # btrfs has a number of its own
    except OSError:
        return None
    return found.st_rdev if stat.S_ISBLK(found.st_mode) else None


def read_text(path: str) -> str:
    """What a file of /proc or sysfs says; nothing if it is not there."""
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            return file.read().strip()
    except OSError:
        return ""
