"""What ends an exploration because nothing was, or could be, seen."""

from __future__ import annotations

from untorn.errors import UntornError


class RefusalError(UntornError):
    """No verdict about a state: it ends the exploration, wherever it is raised."""


class UnseenAccessError(RefusalError):
    """The program does something below the explored directory that the explorer could not see or could not replay.

    Nothing was done. Not an ``OSError``, so that a program which tries one way after another does not go on unseen.
    """


class UnlocatedError(UnseenAccessError):
    """Something went past the explorer, and where is not known: the same run again tells (:mod:`.pinpoint`)."""


class NotMeasuredError(RefusalError):
    """The program ran, and it says nothing: the workload did not work, or the check did not check."""


class ProcessEnd(BaseException):
    """The program ended its process, by ``os._exit`` or a signal to itself: nothing of it runs any more."""
