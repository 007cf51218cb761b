"""Runs a library's session over a storage that can be cut, and says what a cut must have left.

The library works on a :class:`Twin`: each call goes to a model in memory and to the real file, and the answers
are compared. The model keeps the image of every commit, which is the oracle; and when the process has died, it
goes on alone, so that the library ends in peace while nothing more reaches the storage.
"""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, Final, NamedTuple

from xxhash import xxh3_128

import untorn
from tests.libraries.plainly import PlainFile
from tests.libraries.sessions import Session
from untorn.crashmodel.storage import SimulatedStorage
from untorn.crashmodel.variables import newest, oldest, seeded
from untorn.log.writer import MARK, SUFFIX
from untorn.storage.fault_injection import Fault, FaultyStorage, ProcessDeath
from untorn.storage.interface import Storage
from untorn.storage.linux import LinuxFile, LinuxStorage

PATH: Final = "/dir/data"

OpenReal = Callable[[Storage, str, str], Any]
"""Storage, path and mode to the real file."""


@dataclass
class Progress:
    """The images that were committed, and how far the commits had come."""

    images: list[bytes]
    begun: int = 0
    returned: int = 0
    marks: list[tuple[int, int, int]] = field(default_factory=list)
    """(event, begun, returned) whenever one of them rose."""
    clock: Callable[[], int] = lambda: 0

    def _mark(self) -> None:
        self.marks.append((self.clock(), self.begun, self.returned))

    def begin(self, image: bytes) -> None:
        """The call that commits ``image`` is made."""
        self.images.append(image)
        self.begun += 1
        self._mark()

    def end(self) -> None:
        """It has returned."""
        self.returned += 1
        self._mark()

    def legal(self, event: int | None = None) -> list[bytes]:
        """The images that a crash just after ``event``, or now, may give: the last returned or one begun since."""
        begun, returned = self.begun, self.returned
        if event is not None:
            begun = max((begun for at, begun, _ in self.marks if at < event), default=0)
            returned = max((returned for at, _, returned in self.marks if at <= event), default=0)
        return self.images[returned : begun + 1]


class Model(io.BytesIO):
    """What a file is: ``BytesIO``, but for ``truncate``, which extends too."""

    def truncate(self, size: int | None = None, /) -> int:
        position = self.tell()
        size = position if size is None else size
        missing = size - self.seek(0, io.SEEK_END)
        if missing > 0:
            self.write(bytes(missing))
        super().truncate(size)
        self.seek(position)
        return size


class Twin(io.BufferedIOBase):
    """A model and the real file, which must answer alike until the process dies."""

    def __init__(self, model: Model, open_real: Callable[[], Any], progress: Progress, flushes: bool) -> None:
        self.alive = True
        self._ended = False
        self.differences: list[str] = []
        self._model = model
        self._progress = progress
        self._flushes = flushes
        self._real: Any = None
        self._run(self._open, open_real)

    def _open(self, open_real: Callable[[], Any]) -> None:
        self._real = open_real()

    def _run(self, call: Callable[..., object], *arguments: Any) -> None:
        """One call of the real file; nothing once the process is dead."""
        if not self.alive:
            return
        try:
            call(*arguments)
        except ProcessDeath:
            self.alive = False
            if self._real is not None:
                # Nothing of this reaches the storage, which is dead; the object must not complain later.
                with contextlib.suppress(ProcessDeath):
                    self._real.close(commit=False)

    def _both(self, name: str, *arguments: Any) -> Any:
        expected = getattr(self._model, name)(*arguments)
        self._run(self._compare, name, arguments, expected)
        return expected

    def _compare(self, name: str, arguments: tuple[Any, ...], expected: object) -> None:
        got = getattr(self._real, name)(*arguments)
        if got != expected:
            self.differences.append(f"{name}{arguments!r:.80} gave {got!r:.80}, not {expected!r:.80}")

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def read(self, size: int | None = -1, /) -> bytes:
        data: bytes = self._both("read", size)
        return data

    def readinto(self, buffer: Any, /) -> int:
        view = memoryview(buffer).cast("B")
        data = self.read(len(view))
        view[: len(data)] = data
        return len(data)

    def write(self, buffer: Any, /) -> int:
        return int(self._both("write", bytes(buffer)))

    def seek(self, offset: int, whence: int = 0, /) -> int:
        return int(self._both("seek", offset, whence))

    def tell(self) -> int:
        return int(self._both("tell"))

    def truncate(self, size: int | None = None, /) -> int:
        return int(self._both("truncate", size))

    def flush(self) -> None:
        if not self._ended:
            self._finish("flush", commits=self._flushes)

    def close(self) -> None:
        if not self._ended:
            self._finish("close", commits=True)
            self._ended = True
            super().close()

    def _finish(self, name: str, *, commits: bool) -> None:
        """A flush or the close, which may commit."""
        if not self.alive:
            return
        if commits:
            self._progress.begin(self._model.getvalue())
        self._run(getattr(self._real, name))
        if commits and self.alive:
            self._progress.end()


def through_untorn(session: Session) -> OpenReal:
    """Opens the real file through untorn."""
    return lambda storage, path, mode: untorn.open(path, mode, commit=session.commit, storage=storage)


def plainly(session: Session) -> OpenReal:
    """Opens the real file as an ordinary one: the control."""
    return PlainFile


def run(session: Session, storage: Storage, path: str, open_real: OpenReal, progress: Progress) -> bool:
    """Runs the session until its end or its process's; whether it came to its end."""
    image = progress.images[0]
    for part in session.parts:
        model = Model(b"" if part.mode[0] in "wx" else image)
        with Twin(model, partial(open_real, storage, path, part.mode), progress, session.commit == "flush") as twin:
            part.work(twin)
        assert not twin.differences, twin.differences
        if not twin.alive:
            return False
        image = model.getvalue()
    return True


def content(storage: Storage, path: str) -> bytes:
    """What any program reads in the file; one that is not there has no bytes."""
    try:
        file = storage.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return b""
    data = file.read(file.stat().size, 0)
    file.close()
    return data


def exists(storage: Storage, path: str) -> bool:
    """Whether there is such a name."""
    try:
        storage.stat(path)
    except FileNotFoundError:
        return False
    return True


def recovered(storage: Storage, path: str) -> bytes:
    """The file after untorn opened and closed it; it is an ordinary one then, and a reader saw the same before."""
    seen = None
    if exists(storage, path):
        with untorn.open(path, "rb", storage=storage) as file:
            seen = file.read()
    with untorn.open(path, "x+b" if seen is None else "r+b", storage=storage) as file:
        data: bytes = file.read()
    assert seen in (None, data)
    assert content(storage, path) == data
    assert not exists(storage, path + SUFFIX)
    home = storage.open(path, os.O_RDONLY)
    assert home.getxattr(MARK) is None
    home.close()
    return data


@dataclass
class Cut:
    """A storage after a crash, and the images that untorn may give back there."""

    where: str
    storage: Storage
    path: str
    legal: list[bytes]
    images: list[bytes]
    """Those of all commits that had begun."""


class Machine(NamedTuple):
    """A storage with the file that a session starts from, and how its process dies."""

    storage: Storage
    path: str
    kill: Callable[[], None]


def simulated(session: Session) -> Machine:
    """A machine in memory."""
    storage = SimulatedStorage()
    storage.make_directory(os.path.dirname(PATH))
    if session.first_image is not None:
        storage.write_file(PATH, session.first_image)
    storage.settle()
    return Machine(storage, PATH, storage.kill_process)


class _Files(LinuxStorage):
    """The file systems of this machine; keeps what is open, for the kernel closes it when a process dies."""

    def __init__(self) -> None:
        self._opened: list[LinuxFile] = []

    def open(self, path: str, flags: int, mode: int = 0o666) -> LinuxFile:
        file = super().open(path, flags, mode)
        self._opened.append(file)
        return file

    def kill(self) -> None:
        for file in self._opened:
            file.close()


def real(session: Session, directory: Path) -> Machine:
    """A file of a real file system, in a new directory."""
    path = Path(mkdtemp(dir=directory)) / "data"
    if session.first_image is not None:
        path.write_bytes(session.first_image)
    storage = _Files()
    return Machine(storage, str(path), storage.kill)


def process_deaths(
    session: Session,
    open_real: OpenReal,
    make: Callable[[Session], Machine],
    *,
    names: Collection[str] | None = None,
    power_too: bool = False,
) -> Iterator[Cut]:
    """The session run anew for each storage call, or those of ``names``, to die there: the call is not made, and
    if it writes, in one more run half made. ``power_too``: besides, in simulation, the power fails just after.
    """
    whole = make(session)
    counted = FaultyStorage(whole.storage)
    assert run(session, counted, whole.path, open_real, Progress([session.first_image or b""]))
    for nth, name in enumerate(counted.log):
        if names is not None and name not in names:
            continue
        for transfer in (None, 0.5) if name == "pwritev" else (None,):
            storage, path, kill = make(session)
            progress = Progress([session.first_image or b""])
            faulty = FaultyStorage(storage, Fault(nth=nth, death=True, transfer=transfer))
            assert not run(session, faulty, path, open_real, progress)
            kill()
            where = f"death at call {nth} ({name}{'' if transfer is None else ', half made'})"
            if power_too:
                assert isinstance(storage, SimulatedStorage)
                later = storage.power_cut(seeded(nth), at=storage.trace.now)
                yield Cut(f"{where}, then a power cut", later, path, progress.legal(), progress.images)
            yield Cut(where, storage, path, progress.legal(), progress.images)


def power_cuts(session: Session, open_real: OpenReal, samples: int) -> Iterator[Cut]:
    """The session run once, the power cut after each event; of what the disk may then hold, all of the oldest,
    all of the newest, and ``samples`` by chance.
    """
    storage = simulated(session).storage
    assert isinstance(storage, SimulatedStorage)
    progress = Progress([session.first_image or b""], clock=lambda: storage.trace.now)
    assert run(session, storage, PATH, open_real, progress)
    for event in range(storage.trace.now + 1):
        legal = progress.legal(event)
        choices = [oldest, newest, *(seeded(event * samples + sample) for sample in range(samples))]
        for index, choose in enumerate(choices if storage.history(event).undetermined() else [newest]):
            where = f"power cut after event {event}, choice {index}"
            yield Cut(where, storage.power_cut(choose, at=event), PATH, legal, progress.images)


def disk(storage: SimulatedStorage) -> bytes:
    """A digest of all that recovery could see."""
    digest = xxh3_128()
    directory = os.path.dirname(PATH)
    for name in storage.listdir(directory):
        path = f"{directory}/{name}"
        digest.update(repr((name, storage.stat(path), sorted(storage.attributes(path).items()))).encode())
        digest.update(storage.read_file(path))
    return digest.digest()
