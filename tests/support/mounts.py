"""Small file systems of their own, mounted for one test and always taken away again."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.support.machine import require

MIB: Final = 1 << 20
SIZES: Final = {"ext4": 8 * MIB, "xfs": 320 * MIB, "btrfs": 128 * MIB, "tmpfs": 4 * MIB, "ramfs": 0}
"""Of the whole file system. XFS refuses to be smaller than 300 MiB, btrfs than 109; ramfs cannot be limited."""

_MAKE: Final = {
    "ext4": ["mkfs.ext4", "-q", "-F"],
    "xfs": ["mkfs.xfs", "-q", "-f"],
    "btrfs": ["mkfs.btrfs", "-q", "-f"],
}


@contextlib.contextmanager
def mounted(kind: str, folder: Path, *make: str, size: int | None = None, options: str = "") -> Iterator[Path]:
    """A new file system of this kind; skips the test if the machine cannot make or mount one.

    ``make``: further arguments for mkfs; ``options``: mount options, of kinds that are on a device.
    """
    size = SIZES[kind] if size is None else size
    require("mount", "umount", *(_MAKE[kind][:1] if kind in _MAKE else ()))
    place = folder / kind
    place.mkdir()
    if kind in _MAKE:
        image = folder / f"{kind}.image"
        with image.open("wb") as file:
            file.truncate(size)
        _run([*_MAKE[kind], *make, str(image)])
        _mount(["-o", f"loop,{options}" if options else "loop", "-t", kind, str(image), str(place)])
    else:
        limit = ["-o", f"size={size}"] if size else []
        _mount(["-t", kind, *limit, "untorn-test", str(place)])
    try:
        yield place
    finally:
        _unmount(place)
        (folder / f"{kind}.image").unlink(missing_ok=True)


@contextlib.contextmanager
def overlaid(below: Path, folder: Path, *, options: str = "") -> Iterator[Path]:
    """The files of ``below`` under an overlay file system whose upper layer is a tmpfs."""
    with mounted("tmpfs", folder) as layers:
        upper, work, place = (layers / name for name in ("upper", "work", "place"))
        for directory in (upper, work, place):
            directory.mkdir()
        words = [f"lowerdir={below}", f"upperdir={upper}", f"workdir={work}", *([options] if options else [])]
        _mount(["-t", "overlay", "-o", ",".join(words), "untorn-test", str(place)])
        try:
            yield place
        finally:
            _unmount(place)


@contextlib.contextmanager
def bound(folder: Path, place: Path) -> Iterator[Path]:
    """The folder once more, read-only, at a place that is made for it."""
    place.mkdir()
    _mount(["--bind", "-o", "ro", str(folder), str(place)])
    try:
        yield place
    finally:
        _unmount(place)


def _run(command: list[str]) -> None:
    subprocess.run(command, check=True, capture_output=True)


def _unmount(place: Path) -> None:
    # Lazily, for a test that failed may have left files open.
    _run(["umount", "--lazy", str(place)])


def _mount(arguments: list[str]) -> None:
    result = subprocess.run(["mount", *arguments], check=False, capture_output=True, text=True)
    if result.returncode:
        pytest.skip(f"mount {' '.join(arguments[:-1])} does not work here: {result.stderr.strip()}")


def fill(folder: Path) -> Path:
    """Takes all the space there is, as another program may; returns the file to remove again."""
    junk = folder / "junk"
    with junk.open("ab", buffering=0) as file:
        for size in (MIB, 4096, 1):
            with contextlib.suppress(OSError):
                while True:
                    file.write(b"j" * size)
    return junk
