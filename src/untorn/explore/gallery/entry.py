"""What the gallery shows: programs that are explored, and what is known of them."""

from __future__ import annotations

import importlib
import importlib.metadata
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from untorn.errors import UntornError
from untorn.explore.module import ModuleTarget
from untorn.explore.target import Acknowledged
from untorn.storage.simulated import SimulatedStorage

PROGRAMS: Final = "untorn.explore.gallery.programs"


@dataclass
class Program:
    """A target of the gallery: a module of ``programs`` by its name, with dashes."""

    name: str
    needs: tuple[str, ...] = ()
    """Distributions that it runs."""
    machine: dict[str, Any] = field(default_factory=dict)
    """Options of the simulated machine."""
    kept: Sequence[int] | None = None
    """Which steps to run, all if None."""

    def record(self) -> SimulatedStorage:
        return self._module().record()

    def recover(self, storage: SimulatedStorage) -> None:
        self._module().recover(storage)

    def check(self, storage: SimulatedStorage, acknowledged: Acknowledged) -> None:
        self._module().check(storage, acknowledged)

    @property
    def steps(self) -> int:
        """How many steps can be left out."""
        return self._module().steps

    def limited(self, kept: Sequence[int]) -> Program:
        """The same with only these steps."""
        return replace(self, kept=list(kept))

    @property
    def spec(self) -> dict[str, Any]:
        """What makes the same target again."""
        return {"builtin": self.name, "machine": self.machine}

    def missing(self) -> list[str]:
        """The distributions that are not installed."""
        return [need for need in self.needs if version(need) is None]

    def summary(self) -> str:
        """The first paragraph of its module."""
        self._module()  # says what is missing
        return " ".join((importlib.import_module(self._where).__doc__ or "").split("\n\n")[0].split())

    @property
    def _where(self) -> str:
        return f"{PROGRAMS}.{self.name.replace('-', '_')}"

    def _module(self) -> ModuleTarget:
        missing = self.missing()
        if missing:
            raise UntornError(
                f"{self.name} needs {' and '.join(missing)}: pip install '.[gallery]' in a checkout of untorn"
            )
        return ModuleTarget(self._where, self.machine, self.kept)


def version(distribution: str) -> str | None:
    """The version that is installed, None if none is."""
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


@dataclass(frozen=True)
class Entry:
    """A program with a known defect, and programs beside it that do not have it."""

    program: Program
    package: str
    """What is run, unmodified: a module of the standard library, or of the program's first distribution."""
    defect: str
    source: str
    """Where the defect is known from: a URL."""
    kinds: tuple[str, ...]
    """The kinds of stories that are expected."""
    safe: tuple[Program, ...] = ()
    """What comes out clean: the missing sync added, or the same done another way."""
    note: str = ""
    """What is to be said of the safe programs, or why there is none."""

    @property
    def name(self) -> str:
        return self.program.name
