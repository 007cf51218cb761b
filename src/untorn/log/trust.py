"""Which files may be taken for a log at all: regular ones of the file's owner, of ourselves or of root."""

from __future__ import annotations

import os
import stat
from collections.abc import Collection

from untorn.errors import UntrustedLogError
from untorn.storage.interface import FileStat, Storage, StorageFile


def open_trusted(storage: Storage, path: str, owners: Collection[int], *, writable: bool) -> StorageFile:
    """Opens it; UntrustedLogError if it may not be a log."""
    _check(path, storage.stat(path), owners)
    # O_NONBLOCK: should a pipe have taken its place just now, opening must not wait for a writer.
    flags = (os.O_RDWR if writable else os.O_RDONLY) | os.O_NOFOLLOW | os.O_NONBLOCK
    log = storage.open(path, flags)
    try:
        _check(path, log.stat(), owners)
    except BaseException:
        log.close()
        raise
    return log


def _check(path: str, log: FileStat, owners: Collection[int]) -> None:
    if not stat.S_ISREG(log.mode):
        raise untrusted(path, "is not a regular file")
    if log.uid not in owners:
        raise untrusted(path, f"belongs to user {log.uid}")


def untrusted(path: str, reason: str) -> UntrustedLogError:
    """What stands in the log's place is not used, and why."""
    message = (
        f"what stands in the place of this file's log {reason}. Nothing was changed. Move it away and reopen the file"
    )
    return UntrustedLogError(message, path)
