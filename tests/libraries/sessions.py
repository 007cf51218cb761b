"""What the crash tests cut: small sessions of h5py, zipfile and tifffile, each of one or more opened files."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any, Final

import h5py
import numpy
import tifffile

from untorn.api.options import CommitMode


@cache
def _numbers(seed: int, rows: int, columns: int = 32) -> numpy.ndarray[Any, numpy.dtype[numpy.int32]]:
    return numpy.random.default_rng(seed).integers(0, 1 << 30, (rows, columns), dtype=numpy.int32)


@dataclass(frozen=True)
class Part:
    """One file opened, worked on and closed."""

    mode: str
    work: Callable[[Any], object]


@dataclass(frozen=True)
class Session:
    """Parts in turn on one path."""

    library: str
    commit: CommitMode
    parts: tuple[Part, ...]
    before: Callable[[Any], object] | None = None
    """What made the file that the session starts from, None if there is none."""

    @cached_property
    def first_image(self) -> bytes | None:
        """The file that the session starts from."""
        if self.before is None:
            return None
        file = io.BytesIO()
        self.before(file)
        return file.getvalue()


# h5py


def timeless_group(archive: h5py.File, name: str) -> None:
    """Makes a group; ``libver="latest"`` would put the time into it, and no two files would be the same."""
    properties = h5py.h5p.create(h5py.h5p.GROUP_CREATE)
    properties.set_obj_track_times(False)
    h5py.h5g.create(archive.id, name.encode(), gcpl=properties)


def _h5py_create(file: Any, libver: str | None = None) -> None:
    with h5py.File(file, "w", libver=libver) as archive:
        for index in range(4):
            timeless_group(archive, f"run{index}")
            archive[f"run{index}/values"] = _numbers(index, 40)
        archive.create_dataset("log", data=_numbers(9, 32), maxshape=(None, 32), chunks=(8, 32))
        archive.flush()
        timeless_group(archive, "late")
        archive["late/values"] = _numbers(8, 16)
        archive.attrs["title"] = "created"


def _h5py_create_latest(file: Any) -> None:
    _h5py_create(file, "latest")


def _h5py_edit(file: Any) -> None:
    with h5py.File(file, "r+") as archive:
        archive["run0/values"][3:30] = 7
        del archive["run1"]
        for index in range(4, 9):
            archive[f"run{index}/values"] = _numbers(index, 24)
        archive.flush()
        archive["run2/values"][...] = 8
        archive["run2"].attrs["note"] = "edited"


def _h5py_append(file: Any, libver: str | None = None) -> None:
    with h5py.File(file, "a", libver=libver) as archive:
        log = archive["log"]
        for _ in range(3):
            rows = len(log)
            log.resize(rows + 20, axis=0)
            log[rows:] = rows


def _h5py_append_latest(file: Any) -> None:
    _h5py_append(file, "latest")


# zipfile


def _member(name: str) -> zipfile.ZipInfo:
    return zipfile.ZipInfo(name, (2026, 1, 2, 3, 4, 6))


def _zip_create(file: Any) -> None:
    with zipfile.ZipFile(file, "w") as archive:
        for index in range(4):
            archive.writestr(_member(f"first/{index}"), _numbers(index, 20).tobytes())


def _zip_create_other(file: Any) -> None:
    with zipfile.ZipFile(file, "w") as archive:
        for index in range(3):
            archive.writestr(_member(f"other/{index}"), _numbers(index + 20, 30).tobytes(), zipfile.ZIP_DEFLATED)


def _zip_append(file: Any) -> None:
    with zipfile.ZipFile(file, "a") as archive:
        for index in range(3):
            archive.writestr(_member(f"later/{index}"), _numbers(index + 40, 25).tobytes())


# tifffile


def _tiff_create(file: Any) -> None:
    with tifffile.TiffWriter(file) as writer:
        for index in range(2):
            writer.write(_numbers(index, 32))


def _tiff_append(file: Any) -> None:
    with tifffile.TiffWriter(file, append=True) as writer:
        for index in range(3):
            writer.write(_numbers(index + 10, 24, 40))


SESSIONS: Final = {
    "h5py-create": Session("h5py", "flush", (Part("w+b", _h5py_create), Part("r+b", _h5py_append))),
    "h5py-edit": Session("h5py", "flush", (Part("r+b", _h5py_edit),), _h5py_create),
    "h5py-append-close": Session("h5py", "close", (Part("r+b", _h5py_append),), _h5py_create),
    "h5py-latest-create": Session("h5py", "flush", (Part("xb+", _h5py_create_latest),)),
    "h5py-latest-append": Session(
        "h5py", "flush", (Part("r+b", _h5py_append_latest), Part("r+b", _h5py_append_latest)), _h5py_create_latest
    ),
    "zipfile-create": Session("zipfile", "flush", (Part("w+b", _zip_create), Part("r+b", _zip_append))),
    "zipfile-replace": Session("zipfile", "flush", (Part("w+b", _zip_create_other),), _zip_create),
    "zipfile-append": Session("zipfile", "flush", (Part("r+b", _zip_append),), _zip_create),
    "tifffile-create": Session("tifffile", "close", (Part("w+b", _tiff_create), Part("r+b", _tiff_append))),
    "tifffile-append": Session("tifffile", "close", (Part("r+b", _tiff_append),), _tiff_create),
    "tifffile-append-flush": Session("tifffile", "flush", (Part("r+b", _tiff_append),), _tiff_create),
}

SMALL: Final = ("h5py-append-close", "zipfile-append", "tifffile-append")
"""Those that are run on a real file system too."""
