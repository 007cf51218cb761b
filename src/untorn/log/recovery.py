"""What to do with a log that is found beside a file.

===========  ====================================  ==================================================
the file is  the log is                            then
===========  ====================================  ==================================================
unmarked     absent                                PLAIN: an ordinary file
unmarked     blank, or without a valid record      EMPTY: a start or an end that was cut off; removed
unmarked     anything else                         STRAY: not this file's; set aside under a new name
marked       absent                                MissingLogError
marked       not a regular file of an owner we     UntrustedLogError
             trust (the file's, ourselves, root)
marked       without a valid slot                  CorruptLogError: slots are durable before the mark
marked       another file's                        LogError
marked       its own, damaged                      CorruptLogError
marked       its own, home changed meanwhile       ForeignEditError
marked       its own                               HOT: installed, restarted, removed
===========  ====================================  ==================================================

A file system without extended attributes has no marks: there a log is the file's own if inode and birth time
are as its slot says, and a file that was copied, renamed or replaced while hot cannot be told from a plain one.
"""

from __future__ import annotations

import errno
import os
import shlex
import stat
import warnings
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from untorn.errors import (
    CorruptLogError,
    ForeignEditError,
    LogError,
    MissingLogError,
    UntornError,
    UntornWarning,
    UntrustedLogError,
)
from untorn.log.install import install, read_extent
from untorn.log.log import MARK, SUFFIX, Log, log_path
from untorn.log.ondisk import Extent, Identity, Slot, SlotKind
from untorn.log.scan import Replay, damaged_slot, is_blank, read_slots, replay_log
from untorn.log.space import NO_SPACE
from untorn.storage.api import Buffer, FileStat, Storage, StorageFile

_NAME_MAX: Final = 255
"""Most bytes in a name, as limits.h of Linux has it."""

_WAYS_OUT: Final = (
    "Nothing was changed. 'untorn check' explains; 'untorn recover --force' applies what can be proved, "
    "'untorn recover --discard' keeps the file as it is; both keep the log under another name"
)


class State(StrEnum):
    """What stands beside a file, as the module's table has it."""

    PLAIN = "plain"
    EMPTY = "empty log"
    STRAY = "stray log"
    HOT = "hot log"


@dataclass
class Found:
    """The log beside a file, examined. Holds the log open until closed."""

    state: State
    log_path: str
    log: StorageFile | None = None
    marked: bool = False
    slot: Slot | None = None
    replay: Replay | None = None
    problem: UntornError | None = None

    def close(self) -> None:
        """Lets go of the log."""
        if self.log is not None:
            self.log.close()
            self.log = None


def examine(storage: Storage, home: StorageFile, *, writable: bool) -> Found:
    """Looks at the log beside ``home``, which the caller has locked, and writes nothing.

    What is wrong is told in ``problem``, not raised. OSError if the storage fails.
    """
    path = log_path(home.path)
    mark = _read_mark(home)
    found = Found(State.PLAIN, path, marked=mark is not None)
    try:
        found.log = _open_trusted(storage, path, home.stat(), writable=writable)
    except FileNotFoundError:
        found.log = None
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            found.log = None
        elif isinstance(error, UntrustedLogError):
            found.state = State.STRAY
            found.problem = error
            return found
        else:
            raise
    if found.log is None:
        if mark is not None:
            found.problem = MissingLogError(_missing(home.path, path), home.path)
        return found
    try:
        _identify(found, home, mark)
    except BaseException:
        found.close()
        raise
    return found


def _identify(found: Found, home: StorageFile, mark: bytes | None) -> None:
    """Whose log it is and what it holds."""
    log = found.log
    assert log is not None
    found.slot = slot = read_slots(log)
    if slot is None:
        if mark is not None:
            found.state = State.HOT
            found.problem = _corrupt("neither slot of its log is valid", log.path, 0)
        else:
            found.state = State.EMPTY if is_blank(log) else State.STRAY
        return
    info = home.stat()
    same_inode = (slot.home_inode, slot.home_birth_ns) == (info.inode, info.birth_ns or 0)
    if mark is not None and mark != slot.file_id:
        found.state = State.STRAY
        message = f"the log {log.path!r} belongs to another file. {_WAYS_OUT}"
        found.problem = LogError(message, home.path)
        return
    found.replay = replay = replay_log(log, slot)
    if mark is None and not (slot.identity is Identity.INODE and same_inode):
        found.state = State.STRAY if replay.sequence or replay.stop.damaged else State.EMPTY
        return
    found.state = State.HOT
    if replay.stop.damaged:
        found.problem = _corrupt(replay.stop.reason, log.path, replay.stop.position)
    elif replay.commits and _edited(slot, info):
        message = (
            "another program changed this file after untorn last wrote it, and commits to it wait in "
            f"{log.path!r}. {_WAYS_OUT}"
        )
        found.problem = ForeignEditError(message, home.path)
    elif _edited(slot, info) and (offset := damaged_slot(log)) is not None:
        # The lost slot may have been that of a checkpoint, which left the file half rewritten.
        found.problem = _corrupt("a slot of its log is lost and the file was changed", log.path, offset)


def _edited(slot: Slot, home: FileStat) -> bool:
    """Whether home is not as untorn left it. Within a checkpoint only a time that went back can tell."""
    if slot.kind is SlotKind.CHECKPOINT:
        return home.mtime_ns < slot.home_mtime_ns
    return (home.size, home.mtime_ns) != (slot.home_size, slot.home_mtime_ns)


def recover(storage: Storage, home: StorageFile, found: Found, *, force: bool = False) -> int:
    """Brings ``home`` to its last commit and takes the log away; returns the number of commits installed.

    With ``force`` also where something is wrong: the valid records are installed and the log is kept under
    another name. Raises ``found.problem`` otherwise. OSError leaves log and file such that it can be done again.
    """
    if found.problem is not None and not force:
        raise found.problem
    if found.state is State.STRAY and not force:
        set_aside(storage, found)
        return 0
    slot, replay = found.slot, found.replay
    keep = found.problem is not None or found.state is State.STRAY
    if found.log is None or slot is None or replay is None:
        # Nothing here can be proved to be this file's: a log with another mark is not applied by force either.
        _drop(storage, home, found, keep=keep)
        return 0
    if replay.size > home.stat().size:
        home.check_size(replay.size)
    log = Log(storage, home, slot.folio_size)
    log.adopt(found.log, slot, replay.tail, replay.sequence)
    if replay.commits:
        info = home.stat()
        log.begin_checkpoint(info)
        if slot.kind is SlotKind.CHECKPOINT and info.size < slot.home_size:
            # If the first try's sync failed, what it cut may still be on disk; longer again, it is cut anew.
            home.truncate(slot.home_size)
        source = found.log

        def fetch(extent: Extent) -> Buffer:
            return read_extent(source, slot.salt, extent)

        try:
            install(home, replay.mapping, replay.size, fetch)
        except OSError as error:
            if keep or error.errno not in NO_SPACE:
                raise
            # The blocks for home's growth are where the writer had reserved them: at the end of the log.
            log.give_back()
            install(home, replay.mapping, replay.size, fetch)
        home.fsync()
    if keep:
        _drop(storage, home, found, keep=True)
    else:
        log.restart(home.stat())
        log.remove()
        found.log = None
    return replay.commits


def discard(storage: Storage, home: StorageFile, found: Found) -> None:
    """Keeps ``home`` as it is and puts the log aside under another name."""
    _drop(storage, home, found, keep=True)


def set_aside(storage: Storage, found: Found) -> str:
    """Renames a log that is not this file's out of the way; returns its new path."""
    suffix = f"{SUFFIX}.aside-{storage.random_bytes(4).hex()}"
    folder, name = os.path.split(found.log_path.removesuffix(SUFFIX))
    # A name that only just leaves room for that of its log leaves none for this one.
    aside = os.path.join(folder, os.fsdecode(os.fsencode(name)[: _NAME_MAX - len(suffix)]) + suffix)
    found.close()
    storage.rename(found.log_path, aside)
    storage.sync_directory(os.path.dirname(aside))
    what = "a log that is not this file's" if found.state is State.STRAY else "the log"
    warnings.warn(f"{what} was set aside as {aside!r}", UntornWarning, stacklevel=2)
    return aside


def _drop(storage: Storage, home: StorageFile, found: Found, *, keep: bool) -> None:
    """Takes mark and log away without installing anything more."""
    _remove_mark(home, found)
    if found.log is None and found.state is not State.STRAY:
        return
    if keep:
        set_aside(storage, found)
    elif found.log is not None:
        # Its writer may have committed in home, and been killed before its sync: what is shown now must stay.
        home.fsync()
        found.close()
        storage.unlink(found.log_path)
        storage.sync_directory(os.path.dirname(found.log_path))


def _remove_mark(home: StorageFile, found: Found) -> None:
    if found.marked:
        home.removexattr(MARK)
        home.fsync()
        found.marked = False


def _read_mark(home: StorageFile) -> bytes | None:
    try:
        return home.getxattr(MARK)
    except OSError as error:
        if error.errno in (errno.ENOTSUP, errno.EOPNOTSUPP, errno.EPERM):
            return None
        raise


def _open_trusted(storage: Storage, path: str, home: FileStat, *, writable: bool) -> StorageFile:
    """The log, if it is a regular file of the file's owner, ourselves or root; UntrustedLogError if not."""
    _check_trusted(storage, path, home, storage.stat(path))
    # O_NONBLOCK: should a pipe have taken its place just now, opening must not wait for a writer.
    flags = (os.O_RDWR if writable else os.O_RDONLY) | os.O_NOFOLLOW | os.O_NONBLOCK
    log = storage.open(path, flags)
    try:
        _check_trusted(storage, path, home, log.stat())
    except BaseException:
        log.close()
        raise
    return log


def _check_trusted(storage: Storage, path: str, home: FileStat, log: FileStat) -> None:
    if not stat.S_ISREG(log.mode):
        reason = "is not a regular file"
    elif log.uid not in (home.uid, storage.user(), 0):
        reason = f"belongs to user {log.uid}"
    elif log.links != 1:
        reason = "has several names"
    else:
        return
    message = f"what stands in the place of this file's log {reason}; nothing was changed. Move it away and reopen"
    raise UntrustedLogError(message, path)


def _corrupt(reason: str, path: str, offset: int) -> CorruptLogError:
    message = f"the log is damaged at byte {offset} ({reason}), where it was known to be durable. {_WAYS_OUT}"
    return CorruptLogError(message, path, offset, reason)


def _missing(path: str, log: str) -> str:
    return (
        f"commits to this file wait in a log that is not at {log!r}: was the file renamed, copied or linked after "
        "a crash? Put its log back there. Nothing was changed; "
        f"'untorn recover --discard {shlex.quote(path)}' takes the file as it is, without those commits"
    )
