"""Which writes with RWF_ATOMIC the kernel takes, and with which errno and in which order it refuses the others."""

from __future__ import annotations

import errno
from collections.abc import Sequence

from untorn.storage.interface import AtomicLimits


def refusal(limits: AtomicLimits, offset: int, lengths: Sequence[int]) -> int:
    """The errno of an atomic write of buffers of these lengths at ``offset``; 0 if it is taken.

    kiocb_set_rw_flags (a file without limits), then the file system (size), then generic_atomic_write_valid (one
    buffer, power of two, natural alignment). ``offset`` is where the write lands: Linux 6.18 checks that of an append
    as it was given, and so misplaces it.
    """
    length = sum(lengths)
    if not limits.unit_min:
        return errno.EOPNOTSUPP
    if not limits.unit_min <= length <= limits.unit_max:
        return errno.EINVAL
    if len(lengths) != 1 or length & (length - 1) or offset % length:
        return errno.EINVAL
    return 0
