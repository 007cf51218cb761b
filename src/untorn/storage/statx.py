"""statx(2) by ctypes: the birth time, which ``os.stat`` lacks, and what direct I/O and RWF_ATOMIC need.

``struct statx`` of linux/stat.h has one layout on every architecture. A kernel leaves fields that it does not
know 0; a C library without the call (glibc before 2.28, musl before 1.2.5) offers nothing of all this.
"""

from __future__ import annotations

import ctypes
import os
import struct
from typing import Final, NamedTuple

from untorn.storage.interface import AtomicLimits, FileStat

AT_FDCWD: Final = -100  # linux/fcntl.h
AT_SYMLINK_NOFOLLOW: Final = 0x100
AT_EMPTY_PATH: Final = 0x1000

_BASIC_AND_BTIME: Final = 0x0FFF  # linux/stat.h
_BTIME: Final = 0x0800
_DIOALIGN: Final = 0x2000
_WRITE_ATOMIC: Final = 0x10000
_SIZE: Final = 256
_STAT: Final = struct.Struct("=I12x IIIH2x QQ 32x qI4x 16x qI4x 8x II")
"""Mask, links, uid, gid, mode, inode, size, birth time, mtime, major and minor of the device."""
_IO: Final = struct.Struct("=152x II 8x III4x I")
"""Alignment of direct I/O in memory and in the file; atomic unit_min, unit_max, segments_max, unit_max_opt."""

_call = getattr(ctypes.CDLL(None, use_errno=True), "statx", None)
if _call is not None:
    _call.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_uint, ctypes.c_void_p)
    _call.restype = ctypes.c_int

AVAILABLE: Final = _call is not None
"""Whether the C library has the call."""


class Alignment(NamedTuple):
    """Bytes of which direct I/O wants multiples; 0 where there is no direct I/O or the file system does not tell."""

    memory: int = 0
    offset: int = 0


def _statx(directory: int, path: bytes, flags: int, mask: int, shown: str) -> ctypes.Array[ctypes.c_char]:
    """One statx(2); ``shown`` is the path that an error names."""
    assert _call is not None
    buffer = ctypes.create_string_buffer(_SIZE)
    if _call(directory, path, flags, mask, buffer):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), shown)
    return buffer


def file_stat(directory: int, path: bytes, flags: int, shown: str) -> FileStat:
    """What identifies an inode, with its birth time; needs AVAILABLE."""
    (
        mask, links, uid, gid, mode, inode, size, birth_s, birth_ns, mtime_s, mtime_ns, major, minor,
    ) = _STAT.unpack_from(_statx(directory, path, flags, _BASIC_AND_BTIME, shown))  # fmt: skip
    return FileStat(
        device=os.makedev(major, minor),
        inode=inode,
        mode=mode,
        uid=uid,
        gid=gid,
        links=links,
        size=size,
        mtime_ns=mtime_s * 1_000_000_000 + mtime_ns,
        birth_ns=birth_s * 1_000_000_000 + birth_ns if mask & _BTIME else None,
    )


def io_limits(descriptor: int, shown: str) -> tuple[Alignment, AtomicLimits]:
    """What direct I/O on an open file wants, and which writes with RWF_ATOMIC it takes.

    The mask of the answer says nothing: ext4 sets the bit of atomic writes and means none by its zeros.
    """
    if not AVAILABLE:
        return Alignment(), AtomicLimits()
    buffer = _statx(descriptor, b"", AT_EMPTY_PATH, _DIOALIGN | _WRITE_ATOMIC, shown)
    memory, offset, unit_min, unit_max, segments_max, unit_max_opt = _IO.unpack_from(buffer)
    limits = AtomicLimits(unit_min, unit_max, unit_max_opt, segments_max) if unit_min else AtomicLimits()
    return Alignment(memory, offset), limits
