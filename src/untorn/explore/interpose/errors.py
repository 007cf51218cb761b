"""What the interposer refuses."""

from __future__ import annotations

from untorn.errors import UntornError


class UnseenAccessError(UntornError):
    """The program does something below the explored directory that the explorer could not see or could not replay.

    Nothing was done. Not an ``OSError``, so that a program which tries one way after another does not go on unseen.
    """
