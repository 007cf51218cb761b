"""Buffered writes that a crash cannot tear, for any program on Linux."""

import logging

from untorn.api.file import File, Transaction
from untorn.api.functions import Status, open, recover, status, verify
from untorn.api.stream import STATX_WRITE_ATOMIC_BUF, STATX_WRITE_ATOMIC_DIO
from untorn.api.text import TextFile
from untorn.errors import (
    CheckpointError,
    CorruptLogError,
    ForeignEditError,
    HandleFailedError,
    LockedError,
    LogError,
    MissingLogError,
    ReentrantError,
    TransactionError,
    UntornError,
    UntornWarning,
    UntrustedLogError,
)
from untorn.storage.interface import RWF_APPEND, RWF_ATOMIC, RWF_DSYNC, RWF_SYNC, AtomicLimits, FileSystem
from untorn.trace_event import TraceEvent

__version__ = "0.1.0"

__all__ = [
    "RWF_APPEND",
    "RWF_ATOMIC",
    "RWF_DSYNC",
    "RWF_SYNC",
    "STATX_WRITE_ATOMIC_BUF",
    "STATX_WRITE_ATOMIC_DIO",
    "AtomicLimits",
    "CheckpointError",
    "CorruptLogError",
    "File",
    "FileSystem",
    "ForeignEditError",
    "HandleFailedError",
    "LockedError",
    "LogError",
    "MissingLogError",
    "ReentrantError",
    "Status",
    "TextFile",
    "TraceEvent",
    "Transaction",
    "TransactionError",
    "UntornError",
    "UntornWarning",
    "UntrustedLogError",
    "__version__",
    "open",
    "recover",
    "status",
    "verify",
]

logging.getLogger("untorn").addHandler(logging.NullHandler())
