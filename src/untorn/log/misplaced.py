"""Logs that are not where they belong: beside a file under another name, or without their file."""

from __future__ import annotations

import logging
import os
import stat
from contextlib import suppress
from typing import Final

from untorn.errors import LogError, UntornError, warn
from untorn.log import messages
from untorn.log.format import Slot
from untorn.log.scan import is_blank, read_slots, replay_log
from untorn.log.trust import open_trusted
from untorn.log.writer import MARK, SUFFIX, log_path
from untorn.storage.interface import Storage

_CANDIDATES_MAX: Final = 100
"""Most files that are looked into for a log."""

_LOG: Final = logging.getLogger("untorn")


def find_log(storage: Storage, path: str, file_id: bytes) -> messages.Elsewhere | None:
    """Where in the directory of the file at ``path`` the log with this id is, if its name says that it is a log."""
    folder = os.path.dirname(path)
    own = os.path.basename(log_path(path))
    try:
        names = sorted(name for name in storage.listdir(folder) if SUFFIX in name and name != own)
    except OSError:
        return None
    for name in names[:_CANDIDATES_MAX]:
        candidate = os.path.join(folder, name)
        with suppress(OSError, UntornError):
            slot = _slot(storage, candidate)
            if slot is not None and slot.file_id == file_id:
                return messages.Elsewhere(candidate, _owner(storage, candidate, file_id))
    return None


def _owner(storage: Storage, log: str, file_id: bytes) -> str | None:
    """The file in whose place the log is, if it has the log's tag."""
    path = log.removesuffix(SUFFIX)
    if path == log:
        return None
    with suppress(OSError):
        if stat.S_ISREG(storage.stat(path).mode):
            file = storage.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
            try:
                return path if file.getxattr(MARK) == file_id else None
            finally:
                file.close()
    return None


def _slot(storage: Storage, path: str) -> Slot | None:
    if not stat.S_ISREG(storage.stat(path).mode):
        return None
    log = storage.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        return read_slots(log)
    finally:
        log.close()


def remove_orphan(storage: Storage, path: str) -> bool:
    """Removes the log of a file that is not there, if it holds no commit; whether there was one.

    Such a file was never acknowledged: a crash has taken its name, or has left the log alone of the two. LogError if
    there are commits in it.
    """
    place = log_path(path)
    try:
        log = open_trusted(storage, place, (storage.user(), 0), writable=False)
    except (FileNotFoundError, UntornError):
        return False
    try:
        slot = read_slots(log)
        if slot is None and not is_blank(log):
            return False
        replay = replay_log(log, slot) if slot is not None else None
        if replay is not None and (replay.commits or replay.stop.damaged):
            raise LogError(messages.orphan(place, replay.commits), path)
        length = log.stat().size
        if storage.stat(place).inode != log.stat().inode or _exists(storage, path):
            return False
    finally:
        log.close()
    storage.unlink(place)
    storage.sync_directory(os.path.dirname(place))
    _LOG.info("%r: its log of %d bytes was removed; it held no commit, and the file is not there", path, length)
    message = f"there is no file {path!r}; its log, which held no commit, was removed"
    warn(message)
    return True


def _exists(storage: Storage, path: str) -> bool:
    try:
        storage.stat(path)
    except FileNotFoundError:
        return False
    return True
