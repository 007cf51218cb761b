"""Buffered writes that a crash cannot tear, for any program on Linux."""

import logging

from untorn.errors import (
    CheckpointError,
    CorruptLogError,
    FailedError,
    ForeignEditError,
    LockedError,
    LogError,
    MissingLogError,
    ReentrantError,
    TransactionError,
    UntornError,
    UntornWarning,
    UntrustedLogError,
)
from untorn.frontends.api import Status, check, open, recover, status
from untorn.frontends.file import (
    RWF_APPEND,
    RWF_ATOMIC,
    RWF_DSYNC,
    RWF_SYNC,
    AtomicLimits,
    File,
    Transaction,
)
from untorn.frontends.text import TextFile

__all__ = [
    "RWF_APPEND",
    "RWF_ATOMIC",
    "RWF_DSYNC",
    "RWF_SYNC",
    "AtomicLimits",
    "CheckpointError",
    "CorruptLogError",
    "FailedError",
    "File",
    "ForeignEditError",
    "LockedError",
    "LogError",
    "MissingLogError",
    "ReentrantError",
    "Status",
    "TextFile",
    "Transaction",
    "TransactionError",
    "UntornError",
    "UntornWarning",
    "UntrustedLogError",
    "check",
    "open",
    "recover",
    "status",
]

logging.getLogger("untorn").addHandler(logging.NullHandler())
