"""From an error to words and an exit code.

====  =====================================================================
0     fine
1     a bad state was found
2     the command was used wrongly: no such file, not a file, a bad option
3     the environment lacks something, and the message says what
4     another handle has the file
5     nothing was measured: what was explored says nothing about crashes
70    untorn itself is at fault
130   interrupted
141   nobody reads the output any more
====  =====================================================================
"""

from __future__ import annotations

import errno
import os
import traceback
from typing import Final

from untorn.cli.output import printable, quoted
from untorn.errors import ForeignEditError, LockedError, LogError

FINE: Final = 0
BAD: Final = 1
USAGE: Final = 2
ENVIRONMENT: Final = 3
LOCKED: Final = 4
UNMEASURED: Final = 5
FAULT: Final = 70
INTERRUPTED: Final = 130
NO_READER: Final = 141

_WRONG_USE: Final = {errno.ENOENT, errno.EISDIR, errno.ENOTDIR, errno.EINVAL, errno.ENAMETOOLONG, errno.ELOOP}
_REMEDY: Final = {
    errno.EACCES: "run it as a user who is allowed to do that",
    errno.EPERM: "run it as a user who is allowed to do that",
    errno.EROFS: "mount the file system writable",
    errno.ENOSPC: "free some space and run it again",
    errno.EDQUOT: "free some space or raise the quota, and run it again",
    errno.EFBIG: "raise the limit (ulimit -f) or take another file system",
    errno.EMFILE: "raise the limit of open files (ulimit -n)",
    errno.EIO: "the device or the file system failed; see the kernel's log",
}


def code_of(error: Exception) -> int:
    """The exit code that tells of ``error``."""
    if isinstance(error, LockedError):
        return LOCKED
    if isinstance(error, (LogError, ForeignEditError)):
        return BAD
    if isinstance(error, OSError) and error.errno in _WRONG_USE:
        return USAGE
    return ENVIRONMENT


def worst(codes: list[int]) -> int:
    """One exit code for several files: a bad state weighs most."""
    order = (BAD, FAULT, ENVIRONMENT, LOCKED, USAGE, UNMEASURED)
    return next((code for code in order if code in codes), FINE)


def words_of(error: Exception) -> str:
    """The error in one line, with the file it is about and what to do."""
    if not isinstance(error, OSError):
        text = str(error)
    else:
        text = error.strerror or str(error)
        # The message of our own errors says what to do; the system's does not.
        if error.errno in _REMEDY and text == os.strerror(error.errno):
            text = f"{text}: {_REMEDY[error.errno]}"
    notes = [note.removeprefix("untorn: ") for note in getattr(error, "__notes__", ())]
    line = "; ".join(printable(part).rstrip(".") for part in (text, *notes))
    name = getattr(error, "filename", None)
    return f"{quoted(os.fsdecode(name))}: {line}" if isinstance(name, (str, bytes)) else line


def fault(error: Exception) -> str:
    """A fault of ours, with what a report of it needs."""
    place = traceback.extract_tb(error.__traceback__)[-1]
    where = f"{os.path.basename(place.filename)}:{place.lineno}"
    return (
        f"this is a fault of untorn: {type(error).__name__} in {where}: {printable(str(error))}. Every file is as of "
        "its last commit; open it again to go on. Please report this line"
    )
