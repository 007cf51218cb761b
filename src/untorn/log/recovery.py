"""What to do with a log that is found beside a file.

===========  ====================================  ==================================================
the file is  the log is                            then
===========  ====================================  ==================================================
untagged     absent                                PLAIN: an ordinary file
untagged     blank, or without a valid record      UNSTARTED: a start or an end that was cut off; removed
untagged     anything else                         FOREIGN: not this file's; set aside under a new name
tagged       absent                                MissingLogError, which says where in the directory it is
any          not a regular file of an owner we     UntrustedLogError
             trust (the file's, ourselves, root)
tagged       a file with several names             UntrustedLogError
tagged       without a valid slot                  CorruptLogError: slots are durable before the tag
tagged       another file's                        LogError
tagged       its own, damaged                      CorruptLogError
tagged       its own, home changed meanwhile       ForeignEditError
tagged       its own                               HOT: made durable, installed, restarted, removed
===========  ====================================  ==================================================

The tag is an extended attribute of the file with the log's id. Without such attributes on the file system a log is the
file's own if inode and birth time are as its slot says, and a file that was copied, renamed or replaced while commits
to it were waiting cannot be told from a plain one.
"""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from untorn.errors import (
    CorruptLogError,
    ForeignEditError,
    LogError,
    MissingLogError,
    UntornError,
    UntrustedLogError,
    warn,
)
from untorn.log import messages
from untorn.log.checkpoint import cut_home, install, read_extents
from untorn.log.format import Extent, Identity, Slot, SlotKind
from untorn.log.misplaced import find_log
from untorn.log.scan import Replay, damaged_slot, is_blank, read_slots, replay_log
from untorn.log.trust import open_trusted, untrusted
from untorn.log.unproved import put_back, settle
from untorn.log.writer import MARK, NO_ATTRIBUTES, SUFFIX, Log, log_path
from untorn.storage.interface import NO_SPACE, Buffer, FileStat, Storage, StorageFile

_NAME_MAX: Final = 255
"""Most bytes in a name, as limits.h of Linux has it."""

_LOG: Final = logging.getLogger("untorn")


class LogState(StrEnum):
    """What stands beside a file, as the module's table has it."""

    PLAIN = "plain"
    UNSTARTED = "empty log"
    FOREIGN = "foreign log"
    HOT = "waiting commits"


@dataclass
class FoundLog:
    """The log beside a file, examined. Holds the log open until closed."""

    state: LogState
    log_path: str
    log: StorageFile | None = None
    marked: bool = False
    slot: Slot | None = None
    replay: Replay | None = None
    problem: UntornError | None = None

    @property
    def shown_state(self) -> LogState:
        """The state for users, to whom a log of the file's own without a commit is an empty one."""
        holds_nothing = self.problem is None and self.replay is not None and not self.replay.commits
        return LogState.UNSTARTED if self.state is LogState.HOT and holds_nothing else self.state

    def close(self) -> None:
        """Lets go of the log."""
        if self.log is not None:
            self.log.close()
            self.log = None


def examine(storage: Storage, home: StorageFile, *, writable: bool) -> FoundLog:
    """Looks at the log beside ``home``, which the caller has locked, and writes nothing.

    What is wrong is told in ``problem``, not raised. OSError if the storage fails.
    """
    path = log_path(home.path)
    mark = _read_mark(home)
    found = FoundLog(LogState.PLAIN, path, marked=mark is not None)
    try:
        owners = (home.stat().uid, storage.user(), 0)
        found.log = open_trusted(storage, path, owners, writable=writable)
    except FileNotFoundError:
        found.log = None
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            found.log = None
        elif isinstance(error, UntrustedLogError):
            found.state = LogState.FOREIGN
            found.problem = error
            return found
        else:
            raise
    if found.log is None:
        if mark is not None:
            elsewhere = find_log(storage, home.path, mark)
            found.problem = MissingLogError(messages.missing(home.path, path, elsewhere), home.shown)
        return found
    try:
        _identify(found, home, mark)
        if found.log.stat().links != 1 and (mark is not None or found.state is LogState.HOT):
            found.close()
            found.state, found.slot, found.replay = LogState.FOREIGN, None, None
            found.problem = untrusted(path, "has several names (hard links)")
        elif found.state is LogState.FOREIGN and mark is not None:
            message = messages.anothers(home.path, path, find_log(storage, home.path, mark))
            found.problem = LogError(message, home.shown)
    except BaseException:
        found.close()
        raise
    return found


def _identify(found: FoundLog, home: StorageFile, mark: bytes | None) -> None:
    """Whose log it is and what it holds."""
    log = found.log
    assert log is not None
    found.slot = slot = read_slots(log)
    if slot is None:
        if mark is not None:
            found.state = LogState.HOT
            found.problem = messages.corrupt("none of its header slots is valid", log.path, 0)
        else:
            found.state = LogState.UNSTARTED if is_blank(log) else LogState.FOREIGN
        return
    info = home.stat()
    if mark is not None and mark != slot.file_id:
        found.state = LogState.FOREIGN
        return
    found.replay = replay = replay_log(log, slot)
    if mark is None and not (slot.identity is Identity.INODE and _same_inode(slot, info)):
        found.state = LogState.FOREIGN if replay.sequence or replay.stop.damaged else LogState.UNSTARTED
        return
    found.state = LogState.HOT
    if replay.stop.damaged:
        found.problem = messages.corrupt(replay.stop.reason, log.path, replay.stop.position)
    elif replay.commits and _edited(slot, info):
        different = messages.differences(slot.home_size, slot.home_mtime_ns, info)
        found.problem = ForeignEditError(messages.edited(home.path, log.path, different), home.shown)
    elif _edited(slot, info) and (offset := damaged_slot(log)) is not None:
        # The lost slot may have been that of a checkpoint, which left the file half rewritten.
        different = messages.differences(slot.home_size, slot.home_mtime_ns, info)
        found.problem = messages.lost_slot(log.path, offset, different)


def _same_inode(slot: Slot, home: FileStat) -> bool:
    return (slot.home_inode, slot.home_birth_ns) == (home.inode, home.birth_ns or 0)


def _edited(slot: Slot, home: FileStat) -> bool:
    """Whether home is not as untorn left it. Within a checkpoint only a time that went back can tell."""
    if slot.kind is SlotKind.CHECKPOINT:
        return home.older_than(slot.home_mtime_ns)
    return (home.size, home.mtime_ns) != (slot.home_size, slot.home_mtime_ns)


def recover(storage: Storage, home: StorageFile, found: FoundLog, *, apply: bool = False) -> int:
    """Brings ``home`` to its last commit and takes the log away; returns the number of commits installed.

    With ``apply`` also where the log is damaged, the file was changed, or is not tagged but the log is shown to be its
    own: the valid records are installed and the log is kept under another name. Raises ``found.problem``
    otherwise. OSError leaves log and file such that it can be done again.
    """
    if found.problem is not None and not (apply and isinstance(found.problem, (CorruptLogError, ForeignEditError))):
        raise found.problem
    if found.state is LogState.FOREIGN and not apply:
        quarantine(storage, found)
        return 0
    slot, replay = found.slot, found.replay
    keep = found.problem is not None or found.state is LogState.FOREIGN
    if found.log is None or slot is None or replay is None:
        _detach(storage, home, found, keep=keep)
        return 0
    if found.state is LogState.FOREIGN and replay.commits and not _shown_to_be_of(slot, home.stat()):
        different = messages.other_file(slot, home.stat())
        raise LogError(messages.not_its_own(home.path, found.log_path, different), home.shown)
    if replay.size > home.stat().size:
        home.check_size(replay.size)
    log = Log(storage, home, slot.folio_size)
    copy = settle(found.log, slot, replay)
    slot = slot._replace(copy_after=copy.after, copy_start=copy.start, copy_end=copy.end)
    if replay.stop.damaged:
        # A death in what follows must not hide the damage, and so the log.
        slot = slot._replace(synced_through=max(slot.synced_through, replay.sequence + 1))
    log.take_over(found.log, slot, max(replay.tail, copy.end), replay.committed)
    if replay.commits:
        info = home.stat()
        log.begin_checkpoint(info)
        if slot.kind is SlotKind.CHECKPOINT and info.size < slot.home_size:
            # If the first try's sync failed, what it cut may still be on disk; longer again, it is cut anew.
            home.truncate(slot.home_size)
        _bring_home(home, log, found.log, replay, release_unused=not keep)
        home.fsync()
        _LOG.info("%r: %d commits were moved into the file, which has %d bytes", home.path, replay.commits, replay.size)
    if keep:
        _detach(storage, home, found, keep=True)
    else:
        # The first slot without a record says what the next one would, and is durable if the mark came behind it.
        first = slot.generation == 1 and (found.marked or slot.identity is Identity.INODE)
        if replay.sequence or slot.kind is SlotKind.CHECKPOINT or not first:
            log.restart(home.stat())
        log.remove()
        found.log = None
        _LOG.info("%r: its log of %d bytes was removed", home.path, replay.tail)
    return replay.commits


def _bring_home(home: StorageFile, log: Log, file: StorageFile, replay: Replay, *, release_unused: bool) -> None:
    """Installs what the log holds; on a full disk home gets the log's blocks, if ``release_unused``."""
    assert log.slot is not None
    salt = log.slot.salt

    def fetch(extents: Sequence[Extent]) -> Sequence[Buffer]:
        return read_extents(file, salt, extents)

    def try_it() -> OSError | None:
        try:
            cut_home(home, replay.extent_map)
            install(home, replay.extent_map, replay.size, fetch)
        except OSError as error:
            if error.errno not in NO_SPACE:
                raise
            return error
        return None

    error = try_it()
    if error is not None and release_unused:
        # The blocks for home's growth are where the writer had reserved them: at the end of the log.
        log.release_unused()
        error = try_it()
        if error is not None and log.slot.copy_start:
            # The copy stands there.
            log.forget_copy(put_back(file, log.slot))
            replay = replay_log(file, log.slot)
            log.release_unused()
            error = try_it()
    if error is not None:
        raise error


def _shown_to_be_of(slot: Slot, home: FileStat) -> bool:
    """Whether an unmarked file's log is its own: the same inode, or a faithful copy of what the slot recorded."""
    return _same_inode(slot, home) or (home.size, home.mtime_ns) == (slot.home_size, slot.home_mtime_ns)


def discard(storage: Storage, home: StorageFile, found: FoundLog) -> None:
    """Keeps ``home`` as it is and puts the log aside under another name."""
    _detach(storage, home, found, keep=True)


def quarantine(storage: Storage, found: FoundLog) -> str:
    """Renames a log that is not this file's out of the way; returns its new path."""
    suffix = f"{SUFFIX}.aside-{storage.random_bytes(4).hex()}"
    folder, name = os.path.split(found.log_path.removesuffix(SUFFIX))
    # A name that only just leaves room for that of its log leaves none for this one.
    aside = os.path.join(folder, os.fsdecode(os.fsencode(name)[: _NAME_MAX - len(suffix)]) + suffix)
    found.close()
    storage.rename(found.log_path, aside)
    storage.sync_directory(os.path.dirname(aside))
    what = "a log that is not this file's" if found.state is LogState.FOREIGN else "the log"
    _LOG.warning("%r: %r was set aside as %r", found.log_path.removesuffix(SUFFIX), what, aside)
    warn(f"{what} was set aside as {aside!r}")
    return aside


def _detach(storage: Storage, home: StorageFile, found: FoundLog, *, keep: bool) -> None:
    """Takes mark and log away without installing anything more."""
    _remove_mark(home, found)
    if found.log is None and found.state is not LogState.FOREIGN:
        return
    if keep:
        quarantine(storage, found)
    elif found.log is not None:
        # Its writer may have committed in home, and been killed before its sync: what is shown now must stay.
        home.fsync()
        found.close()
        storage.unlink(found.log_path)
        storage.sync_directory(os.path.dirname(found.log_path))
        _LOG.info("%r: its log, which held no commit, was removed", home.shown)


def _remove_mark(home: StorageFile, found: FoundLog) -> None:
    if found.marked:
        home.removexattr(MARK)
        home.fsync()
        found.marked = False


def _read_mark(home: StorageFile) -> bytes | None:
    try:
        return home.getxattr(MARK)
    except OSError as error:
        if error.errno in NO_ATTRIBUTES:
            return None
        raise
