"""Runs a program with its files below one directory in a simulated storage."""

from __future__ import annotations

import _pyio  # type: ignore[import-not-found]  # typeshed leaves it out
import errno
import gc
import os
import posix
from pathlib import Path
from types import TracebackType
from typing import Final

from untorn.explore.interpose import audit, opening
from untorn.explore.interpose.chance import Chance
from untorn.explore.interpose.errors import UnseenAccessError
from untorn.explore.interpose.references import References
from untorn.explore.interpose.routes import REPLACEMENTS
from untorn.explore.interpose.session import Session, activate, active
from untorn.storage import simulated
from untorn.storage.simulated import SimulatedStorage

ROOT: Final = "/untorn-explored"
"""The explored directory, which must not exist in reality."""

_HERE: Final = os.path.dirname(os.path.abspath(__file__))
_OURS: Final = (
    os.path.join(_HERE, ""),
    os.path.join(os.path.dirname(os.path.abspath(simulated.__file__)), ""),
    str(_pyio.__file__),
)
"""Where the program's calls are carried out."""

_references = References(REPLACEMENTS)


class Interposer:
    """``with Interposer(storage) as directory:`` what this process does below ``directory`` happens in ``storage``.

    For all threads, until the block is left. One at a time in a process. What the program leaves open is abandoned
    then: nothing more is flushed and no close is recorded, as if the process had been killed when the block ended.
    """

    def __init__(self, storage: SimulatedStorage, root: str = ROOT) -> None:
        if not root.startswith("/") or os.path.normpath(root) != root or root == "/":
            raise ValueError(f"the explored directory must be an absolute, normal path below /, not {root!r}")
        self._storage = storage
        self._root = root
        self._chance = Chance()
        self._collecting = False

    def __enter__(self) -> Path:
        if active() is not None:
            raise UnseenAccessError("an interposer is active in this process already")
        if os.path.lexists(self._root):
            raise UnseenAccessError(f"{self._root} exists in reality; the explored directory must not")
        audit.install()
        self._make_root()
        umask = posix.umask(0o022)
        posix.umask(umask)
        session = Session(self._storage, self._root, umask)
        self._collecting = gc.isenabled()
        try:
            gc.disable()  # a collector that closes and flushes at chance would make each run another
            _references.replace()
            activate(session)
            self._chance.__enter__()
        except BaseException:
            self._leave(session)
            raise
        return Path(self._root)

    def _leave(self, session: Session) -> None:
        try:
            for raw in list(opening.opened):
                raw.abandon()
            opening.opened.clear()
            self._chance.__exit__()
        finally:
            activate(None)
            _references.restore()
            session.descriptors.abandon()
            if self._collecting:
                gc.enable()

    def _make_root(self) -> None:
        missing = []
        place = self._root
        while not self._exists(place):
            missing.append(place)
            place = os.path.dirname(place)
        for place in reversed(missing):
            self._storage.make_directory(place)

    def _exists(self, place: str) -> bool:
        try:
            self._storage.stat(place)
        except FileNotFoundError:
            return False
        return True

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        session = active()
        assert session is not None
        stolen = session.descriptors.check()
        self._leave(session)
        if error is not None:
            _annotate(session, error)
            _trim(error)
        if error is None or (isinstance(error, Exception) and not isinstance(error, UnseenAccessError)):
            self._refuse_late(session, stolen)

    def _refuse_late(self, session: Session, stolen: list[int]) -> None:
        """Raises what the program swallowed, and what is seen only now."""
        if session.refused:
            raise session.refused[0]
        if os.path.lexists(self._root):
            raise UnseenAccessError(f"something that the explorer cannot see made {self._root} in reality; remove it")
        if stolen:
            raise UnseenAccessError(f"something that the explorer cannot see closed descriptors {stolen}")


def _annotate(session: Session, error: BaseException) -> None:
    """Says of an error that comes from past the interposer what it may be."""
    seen = set()
    at: BaseException | None = error
    while at is not None and id(at) not in seen:
        seen.add(id(at))
        if isinstance(at, Exception) and not isinstance(at, UnseenAccessError) and not session.was_told(at):
            text = str(at)
            missing = getattr(at, "errno", None) == errno.ENOENT or os.strerror(errno.ENOENT) in text
            if session.places.names(text) and missing:
                at.add_note(
                    f"untorn: nothing is at {session.places.root} in reality. If code in C opened this path, the "
                    "explorer cannot see it: hand that code a file object."
                )
            elif getattr(at, "errno", None) == errno.EBADF:
                at.add_note("untorn: the descriptor of an explored file means nothing to code in C.")
        at = at.__cause__ or at.__context__


def _trim(error: BaseException) -> None:
    """Ends the traceback where the program called us, as it ends where a program calls a function in C."""
    last = None
    at = error.__traceback__
    while at is not None:
        if not at.tb_frame.f_code.co_filename.startswith(_OURS):
            last = at
        at = at.tb_next
    if last is not None:
        last.tb_next = None
