"""The interposer that is active in this process, if any."""

from __future__ import annotations

import os
import posix
import threading
from typing import Any, Final

from untorn.crashmodel.storage import SimulatedStorage
from untorn.explore.interpose import opening
from untorn.explore.interpose.descriptors import Descriptors
from untorn.explore.interpose.errors import ProcessEnd, UnseenAccessError
from untorn.explore.interpose.explored_paths import Places
from untorn.explore.interpose.path_calls import NameCalls

_real_listdir: Final = posix.listdir

FIRST_PID: Final = (1 << 22) + 1
"""``os.getpid`` in an explored program: more than Linux gives to any process, so that no signal can hit a stranger."""


class Session(NameCalls):
    """One stay inside an interposer: what is open, and what was refused."""

    def __init__(self, storage: SimulatedStorage, root: str, umask: int) -> None:
        super().__init__()
        self.storage = storage
        self.umask = umask
        self.descriptors = Descriptors()
        self.places = Places(root, self.descriptors)
        self.lock = threading.RLock()
        self.refused: list[UnseenAccessError] = []
        self._strangers = {int(task) for task in _real_listdir("/proc/self/task")} - {threading.get_native_id()}
        """Threads that were there before: an executor's own, say. They keep the real clock and may start processes."""
        self.pid = FIRST_PID + storage.disk.generation
        self.ended: ProcessEnd | None = None
        """How the program ended its process; then nothing of it reaches the files any more."""
        self._told: list[OSError] = []

    def is_explored(self, subject: Any, dir_fd: int | None = None) -> bool:
        """Whether a path, a descriptor or an object with ``fileno`` is explored."""
        if isinstance(subject, int):
            return subject in self.descriptors
        if subject is None:
            return False
        if not isinstance(subject, str | bytes | os.PathLike) and hasattr(subject, "fileno"):
            try:
                return subject.fileno() in self.descriptors
            except (OSError, ValueError):
                return False
        try:
            return self.places.find(subject, dir_fd) is not None
        except UnseenAccessError as error:
            self.refused.append(error)
            raise
        except OSError:  # of a directory that was removed, or of no name in one: the call itself will say so
            return True

    def open_file(self, *args: Any, **kwargs: Any) -> Any:
        return opening.explored_open(*args, **kwargs)

    def end(self, how: str) -> ProcessEnd:
        """The error to raise where the program ends its process."""
        self.ended = self.ended or ProcessEnd(how)
        return self.ended

    def refuse(self, why: str) -> UnseenAccessError:
        """The error to raise; it is raised again at the end if the program swallows it."""
        error = UnseenAccessError(why)
        self.refused.append(error)
        return error

    def is_stranger(self) -> bool:
        """Whether this thread was there before, beside the one that entered."""
        return threading.get_native_id() in self._strangers

    def told(self, error: OSError) -> None:
        """Remembers an error that the explored files gave the program."""
        self._told.append(error)
        del self._told[:-64]

    def was_told(self, error: BaseException) -> bool:
        return any(error is told for told in self._told)


_active: Session | None = None


def active() -> Session | None:
    """The session that all threads of this process are in."""
    return _active


def of_program() -> Session | None:
    """The active session if this thread is the program's: the one that entered it, or one that was started since."""
    session = _active
    return None if session is None or session.is_stranger() else session


def activate(session: Session | None) -> None:
    global _active  # noqa: PLW0603
    _active = session
