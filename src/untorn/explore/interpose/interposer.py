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

from untorn.crashmodel import storage as simulated
from untorn.crashmodel.storage import SimulatedStorage
from untorn.explore.interpose import audit_hook, bypass_line, bypass_watch, opening
from untorn.explore.interpose.bypass_watch import ROOT
from untorn.explore.interpose.call_table import REPLACEMENTS
from untorn.explore.interpose.determinism import Chance
from untorn.explore.interpose.errors import RefusalError, UnlocatedError, UnseenAccessError
from untorn.explore.interpose.fd_calls import NUMPY
from untorn.explore.interpose.patching import References
from untorn.explore.interpose.session import Session, activate, active
from untorn.explore.time_limit import OutOfTime, protect, uninterrupted
from untorn.storage import interface

_HERE: Final = os.path.dirname(os.path.abspath(__file__))
_OURS: Final = (
    os.path.join(_HERE, ""),
    os.path.join(os.path.dirname(os.path.abspath(simulated.__file__)), ""),
    os.path.join(os.path.dirname(os.path.abspath(interface.__file__)), ""),
    str(_pyio.__file__),
)
"""Where the program's calls are carried out."""

protect(__file__)
_real_umask: Final = posix.umask
_references = References(REPLACEMENTS)

many_runs: Final = _references.kept
"""``with many_runs():`` interposers that are entered in here, one after the other, cost less."""


class Interposer:
    """``with Interposer(storage) as directory:`` what this process does below ``directory`` happens in ``storage``.

    For all threads, until the block is left. One at a time in a process. What the program leaves open is abandoned
    then: nothing more is flushed and no close is recorded, as if the process had been killed when the block ended.
    """

    def __init__(self, storage: SimulatedStorage, *, thoroughly: bool = True) -> None:
        """``thoroughly``: look again for all that hold a function of ``os``, which takes a tenth of a second."""
        self._storage = storage
        self._thoroughly = thoroughly
        self._chance = Chance()
        self._pinpoint: bypass_line.Pinpoint | None = None
        self._collecting = False

    def __enter__(self) -> Path:
        if active() is not None:
            raise UnseenAccessError("an interposer is active in this process already")
        with uninterrupted():
            return self._enter()

    def _enter(self) -> Path:
        root = bypass_watch.root()
        if self._thoroughly and bypass_watch.was_touched():  # by somebody who looks through temporary directories
            bypass_watch.rearm()
        audit_hook.install()
        self._make_root()
        umask = _real_umask(0o022)
        _real_umask(umask)
        session = Session(self._storage, root, umask)
        self._collecting = gc.isenabled()
        try:
            gc.disable()  # a collector that closes and flushes at chance would make each run another
            _references.replace(thoroughly=self._thoroughly)
            activate(session)
            self._chance.__enter__()
        except BaseException:
            self._leave(session)
            raise
        if bypass_line.is_pinpointing():
            self._pinpoint = bypass_line.Pinpoint()
            self._pinpoint.start()
        return Path(root)

    def _leave(self, session: Session) -> None:
        if self._pinpoint is not None:
            self._pinpoint.stop()
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
        place = ROOT
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
        with uninterrupted():
            stolen = session.descriptors.check()
            self._leave(session)
            touched = bypass_watch.was_touched()
            if touched:
                bypass_watch.rearm()
        if error is not None:
            _annotate(error, session)
            _trim(error)
        if error is None or not isinstance(error, (KeyboardInterrupt, OutOfTime, RefusalError)):
            self._refuse_late(session, stolen, touched=touched)

    def _refuse_late(self, session: Session, stolen: list[int], *, touched: bool) -> None:
        """Raises what the program swallowed, and what is seen only now."""
        if session.refused:
            raise session.refused[0]
        if touched:
            words = self._pinpoint.words if self._pinpoint is not None else ""
            raise UnseenAccessError(words) if words else UnlocatedError(_TOUCHED)
        if session.owed:
            raise UnseenAccessError(NUMPY)
        if stolen:
            raise UnseenAccessError(_STOLEN)


_TOUCHED: Final = (
    "code in C, or a function of os kept where the explorer does not look, reached below the explored directory past "
    "the explorer; hand it a file object, open(path, 'rb')"
)
_STOLEN: Final = (
    "code in C took the descriptor of an explored file and closed it: what it did with it could not be seen. Hand it "
    "bytes, or a file object that it reads and writes by its methods"
)


def _annotate(error: BaseException, session: Session) -> None:
    """Says of an error that comes from past the interposer what it may be."""
    seen = set()
    at: BaseException | None = error
    while at is not None and id(at) not in seen:
        seen.add(id(at))
        if isinstance(at, OSError) and at.errno == errno.EBADF and not session.was_told(at):
            at.add_note(
                "untorn: the descriptor of an explored file means nothing to code in C, nor to a later process."
            )
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
