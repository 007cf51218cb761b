"""Disks as pictures, and short ways to write what leads to them.

In a picture ``A`` is the old content of a sector, ``B`` and ``C`` are what was written, ``.`` is
zeros; a file is its sectors in order, and ``-`` a name that is not there.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator, Sequence

import pytest

from untorn.crashmodel.disk_image import Image
from untorn.crashmodel.file import SimulatedFile
from untorn.crashmodel.rules import History
from untorn.crashmodel.storage import SimulatedStorage
from untorn.crashmodel.trace import Trace
from untorn.crashmodel.variables import GARBAGE, Value, Variable
from untorn.storage.interface import RWF_ATOMIC, AtomicLimits

SECTOR = 512
Work = Callable[[SimulatedStorage, SimulatedFile], object]


def images(history: History, limit: int = 100_000) -> Iterator[Image]:
    """Every disk that the rules allow now, by trying every series of choices."""
    stack: list[list[int]] = [[]]
    while stack and limit:
        prefix = stack.pop()
        taken: list[int] = []
        counts: list[int] = []

        def choose(variable: Variable, legal: Sequence[Value]) -> int:
            index = prefix[len(taken)] if len(taken) < len(prefix) else 0  # noqa: B023
            taken.append(index)  # noqa: B023
            counts.append(len(legal))  # noqa: B023
            return index

        yield history.image(choose)
        limit -= 1
        for position in range(len(prefix), len(taken)):
            stack += [[*taken[:position], index] for index in range(1, counts[position])]


def drawn(data: bytes) -> str:
    """Content as a picture, one letter for each sector or part of one."""
    sectors = [data[at : at + SECTOR] for at in range(0, len(data), SECTOR)]
    return "".join(
        "." if not any(sector) else "#" if sector == GARBAGE else "?" if len(set(sector)) > 1 else chr(sector[0])
        for sector in sectors
    )


def row(machine: Image, names: Sequence[str]) -> str:
    """Names of /d, or absolute ones: what each holds, and what it has as ``user.a``."""
    parts, paths = [], machine.paths()
    for name in names:
        number = paths.get(os.path.join("/d", name))
        if number is None:
            parts.append("-")
            continue
        inode = machine.inodes[number]
        attribute = inode.attributes.get("user.a")
        content = drawn(inode.content.read(0, inode.content.size)) or "0"
        parts.append(content + ("" if attribute is None else f"={attribute.decode()}"))
    return " ".join(parts)


def pictures(
    work: Work,
    *,
    names: Sequence[str] = ("f",),
    content: str = "AAA",
    back: int = 0,
    make: Callable[[Trace], History] = History,
) -> set[str]:
    """All disks that a power cut ``back`` events before the end of the work may leave by the rules of ``make``."""
    machine = SimulatedStorage(atomic=AtomicLimits(SECTOR, 4 * SECTOR, 0, 1))
    machine.make_directory("/d")
    machine.make_directory("/e")
    machine.write_file("/d/f", b"".join(letter.encode() * SECTOR for letter in content))
    work(machine, machine.open("/d/f", os.O_RDWR))
    history = make(machine.trace)
    history.advance(machine.trace.now - back)
    return {row(image, names) for image in images(history)}


def create(machine: SimulatedStorage, path: str, letters: str = "") -> SimulatedFile:
    file = machine.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL)
    put(file, 0, letters)
    return file


def put(file: SimulatedFile, sector: int, letters: str, flags: int = 0) -> None:
    """A write in the cache; with RWF_ATOMIC as the trace has it, whatever its offset."""
    data = b"".join(bytes(SECTOR) if c == "." else c.encode() * SECTOR for c in letters)
    if data:
        file.pwritev([data], sector * SECTOR, flags & ~RWF_ATOMIC)
        operation = file._disk.trace.operations[-1]
        operation.arguments = (*operation.arguments[:2], flags)


def fail(file: SimulatedFile, *, data_only: bool = True) -> None:
    with pytest.raises(OSError, match="Input/output"):
        file.fail_sync(errno.EIO, data_only=data_only)


def steps(*calls: Callable[[SimulatedStorage, SimulatedFile], object]) -> Work:
    return lambda machine, file: [call(machine, file) for call in calls]


def w(sector: int, letters: str, flags: int = 0) -> Work:
    return lambda machine, file: put(file, sector, letters, flags)


def cut(sectors: float) -> Work:
    return lambda machine, file: file.truncate(int(sectors * SECTOR))


def sync(machine: SimulatedStorage, file: SimulatedFile) -> None:
    file.fdatasync()


def failed(machine: SimulatedStorage, file: SimulatedFile) -> None:
    fail(file)


def d(call: Callable[[SimulatedStorage], object]) -> Work:
    return lambda machine, file: call(machine)


def sync_d(machine: SimulatedStorage, file: SimulatedFile) -> None:
    machine.sync_directory("/d")


def rename(machine: SimulatedStorage, file: SimulatedFile) -> None:
    machine.rename("/d/f", "/d/g")


def unlink(machine: SimulatedStorage, file: SimulatedFile) -> None:
    machine.unlink("/d/f")


def fail_directory(machine: SimulatedStorage) -> None:
    with pytest.raises(OSError, match="Input/output"):
        machine.fail_sync_directory("/d", errno.EIO)
