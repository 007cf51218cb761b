"""What a library reads in an image of a file, as one line of text that compares.

Run as a module it serves images to a library in a process of its own: a torn file may crash or hang the library
or take all memory, and that must not end the tests.
"""

from __future__ import annotations

import io
import os
import resource
import signal
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

from xxhash import xxh3_64_hexdigest, xxh3_128_digest

UNREADABLE: Final = "unreadable"
_SECONDS: Final = 20
_MEMORY: Final = 4 << 30
_LENGTH: Final = struct.Struct("<Q")


def _h5py(image: bytes) -> str:
    import h5py

    lines: list[str] = []
    with h5py.File(io.BytesIO(image), "r") as archive:

        def visit(name: str, found: h5py.Group | h5py.Dataset) -> None:
            if isinstance(found, h5py.Dataset):
                lines.append(f"{name} {found.shape} {xxh3_64_hexdigest(found[...].tobytes())}")
            lines.extend(f"{name}@{key}={value}" for key, value in sorted(found.attrs.items()))

        visit("/", archive)
        archive.visititems(visit)
    return "; ".join(lines)


def _zipfile(image: bytes) -> str:
    with zipfile.ZipFile(io.BytesIO(image)) as archive:
        return "; ".join(f"{name} {xxh3_64_hexdigest(archive.read(name))}" for name in archive.namelist())


def _tifffile(image: bytes) -> str:
    import tifffile

    with tifffile.TiffFile(io.BytesIO(image)) as picture:
        pages = [page.asarray() for page in picture.pages]
    return "; ".join(f"{page.shape} {xxh3_64_hexdigest(page.tobytes())}" for page in pages)


DESCRIBERS: Final[dict[str, Callable[[bytes], str]]] = {"h5py": _h5py, "zipfile": _zipfile, "tifffile": _tifffile}


def describe(library: str, image: bytes) -> str:
    """What the library reads; an empty file is "". Raises what the library raises."""
    return DESCRIBERS[library](image) if image else ""


class Describer:
    """``describe`` in a process of its own, each image once; UNREADABLE, with why, if the library fails or dies."""

    def __init__(self, library: str) -> None:
        self._library = library
        self._known: dict[bytes, str] = {}
        self._child: subprocess.Popen[bytes] | None = None

    def __call__(self, image: bytes) -> str:
        key = xxh3_128_digest(image)
        if key not in self._known:
            self._known[key] = self._ask(image)
        return self._known[key]

    def _ask(self, image: bytes) -> str:
        if self._child is None:
            self._child = subprocess.Popen(
                [sys.executable, "-m", "tests.libraries.describing", self._library],
                cwd=Path(__file__).parents[2], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                env=os.environ | {"OPENBLAS_NUM_THREADS": "1"},  # each of its threads would take address space
            )  # fmt: skip
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        self._child.stdin.write(_LENGTH.pack(len(image)) + image)
        self._child.stdin.flush()
        head = self._child.stdout.read(_LENGTH.size)
        if len(head) < _LENGTH.size:
            code = self._child.wait()
            self.close()
            return f"{UNREADABLE}: the library died with {code}"
        return self._child.stdout.read(_LENGTH.unpack(head)[0]).decode()

    def close(self) -> None:
        """Ends the process."""
        if self._child is not None:
            self._child.communicate()
            self._child = None


def _serve(library: str) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    while head := sys.stdin.buffer.read(_LENGTH.size):
        image = sys.stdin.buffer.read(_LENGTH.unpack(head)[0])
        signal.alarm(_SECONDS)
        try:
            answer = describe(library, image)
        except Exception as error:
            answer = f"{UNREADABLE}: {error!r}"
        signal.alarm(0)
        text = answer.encode("utf-8", "backslashreplace")
        sys.stdout.buffer.write(_LENGTH.pack(len(text)) + text)
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    _serve(sys.argv[1])
