"""The interposer: plain Python code that knows nothing of us works on a simulated storage.

``with Interposer(storage) as directory:`` what this process does with files below ``directory`` happens in
``storage``, call by call as the kernel would see it, and is in its trace. Everything else is the real machine.

How it works
    The functions of ``os``, ``fcntl`` and ``open`` are replaced (:mod:`.call_table`) wherever modules hold them
    (:mod:`.patching`, :mod:`.function_holders`). A path below the root, or a descriptor that such a path gave
    (:mod:`.descriptors`), goes to the storage (:mod:`.path_calls`, :mod:`.fd_calls`). Above that, CPython's own
    ``open`` and buffers run (:mod:`.opening`), so bytes reach the storage when and in the pieces in which they reach a
    kernel; ``pathlib``, ``shutil``, ``tempfile`` and all other modules in Python run as they are. No more is read than
    the program reads (:mod:`.directory_entries`), for after a crash each look may be a branch of the search. Clock,
    random numbers and process number come from the storage, so that a run can be repeated (:mod:`.determinism`).

What it refuses
    What cannot be seen raises :class:`UnseenAccessError`, again at the end if the program swallows it: subprocesses,
    mmap, sqlite3, ``io.FileIO``, and any reference to a real function that was missed, as far as Python audits it
    (:mod:`.audit_hook`). What has no model: O_PATH, ``os.sync``, SEEK_HOLE, a link that leads out. ``os.chdir`` below
    the root, for code in C would not follow. An extension in C that opens a path itself finds nothing there, for in
    reality the root leads nowhere, and each look through it is noticed (:mod:`.bypass_watch`), also one that the
    program expects to fail; the same run once more names the line (:mod:`.bypass_line`). numpy, which would hand a
    descriptor to C, is told that there is none and takes its other way, in Python. Not noticed is code in C that is
    handed a descriptor, gets its EBADF, and a program that expects that.

What is not like a real machine
    Names in a directory come in no order to hope for. ``os._exit`` and a fatal signal to itself end the program alone
    (:mod:`.process_end`). Nobody else is there: no other process, so a lock that would wait is refused. Permission bits
    are kept but not enforced. The time of last access is not kept. A program that is left by ``workload()`` ends
    there: what it left open is neither flushed nor closed. Temporary files without ``dir=`` are real, outside the
    explored directory. Garbage is not collected while the interposer is active, for a file that is closed by chance
    is no repeatable run.

Why not pyfakefs
    pyfakefs 6.3 was read for this. It is a good stand-in for what files hold, not for how they come to hold it. An
    open file works on its own copy of the whole content, and each flush puts the whole content back; there are no
    write calls with an offset to record. The buffer size is ignored in text mode. ``fsync`` does nothing. Descriptors
    are small numbers that real files have too, so C code that is handed one works on a stranger's file. It replaces
    the whole file system and ``pathlib`` with classes of its own, and what goes past it is not noticed. To put our
    storage under it, its file objects, its files and its ``os`` would have to be written again, and that is the work.
    Its idea to look through all modules for references to the real functions is used here.
"""

from untorn.explore.interpose.acknowledgements import ack, acknowledged, set_current
from untorn.explore.interpose.bypass_watch import ROOT
from untorn.explore.interpose.errors import UnseenAccessError
from untorn.explore.interpose.interposer import Interposer, many_runs

__all__ = ["ROOT", "Interposer", "UnseenAccessError", "ack", "acknowledged", "many_runs", "set_current"]
