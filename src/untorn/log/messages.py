"""What users are told of logs and files that are not as they should be: what is on disk, and what destroys nothing."""

from __future__ import annotations

import shlex
from typing import Final, NamedTuple

from untorn.errors import CorruptLogError
from untorn.log.format import Slot
from untorn.log.writer import SUFFIX
from untorn.storage.interface import FileStat

_BOTH_KEEP: Final = "both keep the log under another name"


def on_damage(way: str, path: str) -> str:
    """The command for one of the ways out of a problem with the file at ``path``."""
    return f"'untorn recover --on-damage {way} {shlex.quote(path)}'"


def ways_out(path: str) -> str:
    """What to do about a log that is damaged, or is that of a file which was changed."""
    return (
        f"Nothing was changed. Run 'untorn check {shlex.quote(path)}' to see what is wrong and what each way out does. "
        f"{on_damage('apply', path)} applies the commits that can be proved, {on_damage('discard', path)} keeps the "
        f"file as it is; {_BOTH_KEEP}"
    )


def corrupt(reason: str, log: str, offset: int) -> CorruptLogError:
    """What was durable in the log is damaged."""
    way_out = ways_out(log.removesuffix(SUFFIX))
    message = f"the log is damaged at byte {offset} ({reason}), where it was known to be durable. {way_out}"
    return CorruptLogError(message, log, offset, reason)


def edited(path: str, log: str, different: str) -> str:
    """The file is not as untorn left it, and commits to it wait in its log."""
    return (
        f"another program changed this file after untorn last wrote it ({different}), and commits to it are waiting in "
        f"{log!r}. {ways_out(path)}"
    )


def lost_slot(log: str, offset: int, different: str) -> CorruptLogError:
    """A slot is neither there nor zero, and the file is not as the newest slot that is left recorded it."""
    reason = f"a header slot of the log is lost, and the file was changed: {different}"
    message = (
        f"a header slot of the log cannot be read (byte {offset}), and the file is not as the newest slot that can be "
        f"read says ({different}). There are two explanations. Either a recovery was cut off as it wrote that slot, "
        "and another program has changed the file since: then the file is right as it is. Or the slot was that of a "
        "checkpoint, which has left the file half rewritten: then compare the file with a backup. Nothing was changed. "
        f"{on_damage('discard', log.removesuffix(SUFFIX))} keeps the file as it is, and the log under another name"
    )
    return CorruptLogError(message, log, offset, reason)


def missing(path: str, log: str, found: Elsewhere | None) -> str:
    """The file is tagged, and its log is not in its place."""
    if found is None:
        return (
            f"commits to this file are waiting in its log, which is not at {log!r}. Was the file renamed, copied or "
            "linked after a crash? Then put its log back there. Nothing was changed. "
            f"{on_damage('discard', path)} takes the file as it is, without those commits"
        )
    return (
        f"commits to this file are waiting in its log, which is not at {log!r} but at {found.path!r}. Nothing was "
        f"changed. {found.cure(path, log)}"
    )


def anothers(path: str, log: str, found: Elsewhere | None) -> str:
    """The file is tagged, and another file's log is in the place of its own."""
    if found is None:
        return (
            f"the log {log!r} belongs to another file, and this file's own log is not beside it. Nothing was changed. "
            f"Move that log to its own file, and put this file's log in its place. {on_damage('discard', path)} takes "
            "the file as it is, and keeps the log under another name"
        )
    return (
        f"the log {log!r} belongs to another file; this file's own log is {found.path!r}. Nothing was changed. First "
        f"move the other file's log away. {found.cure(path, log)}"
    )


class Elsewhere(NamedTuple):
    """A log that was found in another place than its file's name says."""

    path: str
    beside: str | None
    """The file beside which it is, if that has the same tag: a link or a copy, or what was copied."""

    def cure(self, path: str, log: str) -> str:
        """What to do."""
        if self.beside is not None:
            return (
                f"There it is the log of {self.beside!r}, and this file is a link to that one or a copy of it. Run "
                f"'untorn recover {shlex.quote(self.beside)}'. If this file is a copy, then copy it again"
            )
        move = f"mv -n {shlex.quote(self.path)} {shlex.quote(log)}"
        return f"Put it back with: {move}; then 'untorn recover {shlex.quote(path)}' moves the commits into the file"


def differences(size: int, mtime_ns: int, home: FileStat) -> str:
    """Which of the file's size (bytes) and time are not as they were recorded, with both values."""
    found = []
    if size != home.size:
        found.append(f"its size is {home.size}, {size} was recorded")
    if mtime_ns != home.mtime_ns:
        found.append(f"its time is {_time(home.mtime_ns)}, {_time(mtime_ns)} was recorded")
    return ", ".join(found)


def edited_while_open(path: str, log: str, different: str) -> str:
    """Another program changed a file that is open here."""
    return (
        f"another program changed the file while it was open here ({different}). It was not overwritten, and the "
        f"commits to it are waiting in {log!r}. If only its time was changed, or if you want the commits rather than "
        f"what that program wrote, run {on_damage('apply', path)}. {on_damage('discard', path)} keeps the file as it "
        "is, and the log under another name"
    )


def removed(what: str, log: str | None) -> str:
    """A file that is open here has lost its name, as ``what`` says; None if its log has, too."""
    if log is None:
        return f"{what}. The log with the commits to it was removed, too"
    return (
        f"{what}. The commits to it are kept in {log!r}, which is of use only together with the file. Remove that log "
        "if you do not want the file back"
    )


def other_file(slot: Slot, home: FileStat) -> str:
    """As differences, with what shows that it is another file than that of the slot."""
    if slot.home_inode != home.inode:
        inode = f"its inode is {home.inode}, {slot.home_inode} was recorded"
    else:
        inode = f"it was created at {_time(home.birth_ns or 0)}, {_time(slot.home_birth_ns)} was recorded"
    return ", ".join(filter(None, (inode, differences(slot.home_size, slot.home_mtime_ns, home))))


def not_its_own(path: str, log: str, different: str) -> str:
    """Nothing shows that a log beside an untagged file is that file's."""
    return (
        f"the log {log!r} holds commits, and nothing shows that they are this file's: {different}. Nothing was "
        "changed. If it is the log of a file that had this name before, give that file and the log another name, the "
        f"log's with {SUFFIX!r} at its end. 'untorn recover {shlex.quote(path)}' keeps the log under another name"
    )


def orphan(log: str, commits: int) -> str:
    """A log without its file."""
    return (
        f"there is no such file, but a log with {commits} commits to it, {log!r}. It was left as it is. If the file "
        f"was renamed, rename its log with it, to the file's new name followed by {SUFFIX!r}. If the file was removed "
        "on purpose, its log may be removed too"
    )


def _time(ns: int) -> str:
    """Seconds since 1970 and all nine digits, as ``stat -c %.9Y`` has it: edits may follow one another closely."""
    seconds, rest = divmod(ns, 10**9)
    return f"{seconds}.{rest:09d}"
