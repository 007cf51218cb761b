"""What is explored: a run that is cut off, what recovers from that, and what must hold afterwards."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar, overload

from untorn.crashmodel.storage import SimulatedStorage

T = TypeVar("T")


class Acknowledged(Protocol):
    """What had been told to the world before the crash; asking it may decide when the crash was.

    ``classify`` says what of it matters: one run for each answer, instead of one for each thing told.
    """

    @overload
    def __call__(self) -> Sequence[Any]: ...

    @overload
    def __call__(self, classify: Callable[[Sequence[Any]], T]) -> T: ...


class Target(Protocol):
    """A thing to explore. ``recover`` and ``check`` run many times and must do the same every time."""

    @property
    def name(self) -> str:
        """Names it in results."""

    def record(self) -> SimulatedStorage:
        """Runs the workload; the trace of the storage that it returns is what is cut off."""

    def recover(self, storage: SimulatedStorage) -> None:
        """What happens after a crash before anybody looks; may itself be cut off."""

    def check(self, storage: SimulatedStorage, acknowledged: Acknowledged) -> None:
        """Raises any Exception if what it finds is bad."""
