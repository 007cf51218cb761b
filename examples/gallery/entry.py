"""What the gallery shows: programs that are explored, and what is known of them."""

from __future__ import annotations

import ast
import importlib.metadata
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from untorn.crashmodel.storage import SimulatedStorage
from untorn.errors import UntornError
from untorn.explore.targets.protocol import Acknowledged
from untorn.explore.targets.python_module import ModuleTarget

PROGRAMS: Final = Path(__file__).parent / "programs"


@dataclass
class Program:
    """A target of the gallery: a file of ``programs`` by its name, with dashes."""

    name: str
    needs: tuple[str, ...] = ()
    """Distributions that it runs."""
    machine: dict[str, Any] = field(default_factory=dict)
    """Options of the simulated machine."""
    enabled_steps: Sequence[int] | None = None
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

    def with_steps(self, enabled_steps: Sequence[int]) -> Program:
        """The same with only these steps."""
        return replace(self, enabled_steps=list(enabled_steps))

    @property
    def spec(self) -> dict[str, Any]:
        """What makes the same target again."""
        return self._module().spec

    def missing(self) -> list[str]:
        """The distributions that are not installed."""
        return [need for need in self.needs if version(need) is None]

    def summary(self) -> str:
        """The first paragraph of its file."""
        text = ast.get_docstring(ast.parse(self._path.read_text(encoding="utf-8"))) or ""
        return " ".join(text.split("\n\n")[0].split())

    @property
    def _path(self) -> Path:
        return PROGRAMS / f"{self.name.replace('-', '_')}.py"

    def _module(self) -> ModuleTarget:
        missing = self.missing()
        if missing:
            raise UntornError(f"{self.name} needs {' and '.join(missing)}: pip install --group gallery, in a checkout")
        return ModuleTarget(str(self._path), self.machine, self.enabled_steps)


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
