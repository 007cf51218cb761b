"""What recovery tells the user: what is on disk now, and what to do that destroys nothing."""

from __future__ import annotations

import shlex
from typing import Final, NamedTuple

from untorn.errors import CorruptLogError
from untorn.log.format import Slot
from untorn.log.writer import SUFFIX
from untorn.storage.interface import FileStat

WAYS_OUT: Final = (
    "Nothing was changed. 'untorn check' explains; 'untorn recover --force' applies what can be proved, "
    "'untorn recover --discard' keeps the file as it is; both keep the log under another name"
)


def corrupt(reason: str, path: str, offset: int) -> CorruptLogError:
    """What was durable in the log is damaged."""
    message = f"the log is damaged at byte {offset} ({reason}), where it was known to be durable. {WAYS_OUT}"
    return CorruptLogError(message, path, offset, reason)


def lost_slot(path: str, offset: int, differences: str) -> CorruptLogError:
    """A slot is neither there nor zero, and the file is not as the newest slot that is left recorded it."""
    reason = f"a slot of its log is lost and the file was changed: {differences}"
    message = (
        f"a slot of the log cannot be read (byte {offset}), and the file is not as the newest one that can be read "
        f"says ({differences}). Either a recovery was cut off as it wrote that slot, and another program has changed "
        "the file since: then the file is right as it is. Or the slot was that of a checkpoint, which has left the "
        "file half rewritten: then compare it with a backup. Nothing was changed. 'untorn recover --discard' keeps "
        "the file as it is, and the log under another name"
    )
    return CorruptLogError(message, path, offset, reason)


def missing(path: str, log: str, found: Elsewhere | None) -> str:
    """The file is marked, and its log is not in its place."""
    if found is None:
        return (
            f"commits to this file wait in a log that is not at {log!r}: was the file renamed, copied or linked after "
            "a crash? Put its log back there. Nothing was changed; "
            f"'untorn recover --discard {shlex.quote(path)}' takes the file as it is, without those commits"
        )
    return (
        f"commits to this file wait in its log, which is not at {log!r} but at {found.path!r}. Nothing was changed. "
        + found.cure(path, log)
    )


def anothers(path: str, log: str, found: Elsewhere | None) -> str:
    """The file is marked, and another file's log is in the place of its own."""
    if found is None:
        return (
            f"the log {log!r} belongs to another file, and this file's own log is not beside it. Nothing was changed. "
            "Move that log to its own file and put this file's log in its place; 'untorn recover --discard "
            f"{shlex.quote(path)}' takes the file as it is, and keeps the log under another name"
        )
    return (
        f"the log {log!r} belongs to another file; this file's own is {found.path!r}. Nothing was changed. First move "
        f"that of the other one away. {found.cure(path, log)}"
    )


class Elsewhere(NamedTuple):
    """A log that was found in another place than its file's name says."""

    path: str
    beside: str | None
    """The file in whose place it is, if that is marked alike: a link or a copy, or what was copied."""

    def cure(self, path: str, log: str) -> str:
        """What to do."""
        if self.beside is not None:
            return (
                f"There it is that of {self.beside!r}: this file is a link to that one or a copy of it. Run 'untorn "
                f"recover {shlex.quote(self.beside)}', and if this is a copy, copy again"
            )
        move = f"mv -n {shlex.quote(self.path)} {shlex.quote(log)}"
        return f"Put it back with: {move}; then 'untorn recover {shlex.quote(path)}' brings the commits in"


def differences(size: int, mtime_ns: int, home: FileStat) -> str:
    """Which of the file's size (bytes) and time are not as they were recorded, with both values."""
    found = []
    if size != home.size:
        found.append(f"its size is {home.size}, {size} was recorded")
    if mtime_ns != home.mtime_ns:
        found.append(f"its time is {_time(home.mtime_ns)}, {_time(mtime_ns)} was recorded")
    return ", ".join(found)


def other_file(slot: Slot, home: FileStat) -> str:
    """As differences, with what shows that it is another file than that of the slot."""
    if slot.home_inode != home.inode:
        inode = f"its inode is {home.inode}, {slot.home_inode} was recorded"
    else:
        inode = f"it was made at {_time(home.birth_ns or 0)}, {_time(slot.home_birth_ns)} was recorded"
    return ", ".join(filter(None, (inode, differences(slot.home_size, slot.home_mtime_ns, home))))


def not_its_own(path: str, log: str, different: str) -> str:
    """Nothing shows that a log beside an unmarked file is that file's."""
    return (
        f"the log {log!r} holds commits, and nothing shows that they are this file's: {different}. Nothing was "
        "changed. If it is the log of a file that had this name before, give both another name, the log's with "
        f"{SUFFIX!r} at its end; 'untorn recover {shlex.quote(path)}' sets the log aside under another name"
    )


def orphan(log: str, commits: int) -> str:
    """A log without its file."""
    return (
        f"there is no such file, but a log with {commits} commits to it, {log!r}; it was left as it is. If the file "
        f"was renamed, rename its log with it: the file's new name and {SUFFIX!r}. If the file was removed on "
        "purpose, its log may be removed too"
    )


def _time(ns: int) -> str:
    """Seconds since 1970 and all nine digits, as ``stat -c %.9Y`` has it: edits may follow one another closely."""
    seconds, rest = divmod(ns, 10**9)
    return f"{seconds}.{rest:09d}"
