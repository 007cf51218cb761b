"""File systems of their own on loop devices, mounted for one measurement and always taken away again."""

from __future__ import annotations

import fcntl
import os
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

_MIB: Final = 1 << 20
SIZES: Final = {"xfs": 512 * _MIB, "ext4": 128 * _MIB}
"""By kind, of the whole file system; XFS refuses to be smaller than 300 MiB. The image is sparse."""

_MAKE: Final = {"xfs": ["mkfs.xfs", "-q", "-f"], "ext4": ["mkfs.ext4", "-q", "-F"]}
_FS_IOC_FIEMAP: Final = 0xC020660B
_FIEMAP_FLAG_SYNC: Final = 1


class LackingError(Exception):
    """The machine cannot make or mount such a file system; the message says why."""


@contextmanager
def mounted(kind: str) -> Iterator[str]:
    """The directory at which a new file system of this kind is mounted; LackingError if there can be none."""
    if os.geteuid() != 0:
        raise LackingError("only root may mount a file system")
    for program in (_MAKE[kind][0], "mount", "umount"):
        if shutil.which(program) is None:
            raise LackingError(f"{program} is not installed")
    folder = tempfile.mkdtemp(prefix="untorn-compare-")
    try:
        image, place = os.path.join(folder, "image"), os.path.join(folder, kind)
        os.mkdir(place)
        with open(image, "wb") as file:
            file.truncate(SIZES[kind])
        _run([*_MAKE[kind], image])
        _run(["mount", "-o", "loop", "-t", kind, image, place])
        try:
            yield place
        finally:
            _unmount(place)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _run(command: list[str]) -> None:
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        raise LackingError(f"{command[0]} does not work here: {done.stderr.strip()}")


def _unmount(place: str) -> None:
    if subprocess.run(["umount", place], check=False, capture_output=True).returncode:
        # A file that is still open keeps it; it goes with the last one.
        subprocess.run(["umount", "--lazy", place], check=False, capture_output=True)


def extents(path: str) -> int | None:
    """In how many extents the file lies, by FIEMAP; None if the file system does not tell."""
    request = bytearray(struct.pack("=QQIIII", 0, (1 << 64) - 1, _FIEMAP_FLAG_SYNC, 0, 0, 0))
    with open(path, "rb") as file:
        try:
            fcntl.ioctl(file.fileno(), _FS_IOC_FIEMAP, request)
        except OSError:
            return None
    return int(struct.unpack("=QQIIII", request)[3])
