"""A target that is a Python module of plain functions, run on a simulated disk by the interposer.

``workload(dir)`` is what is cut off, ``check(dir)`` raises if what it finds is bad, ``recover(dir)``, if there is
one, is what happens before that, and ``prepare(dir)``, if there is one, makes what is there, durably, at the start.
In place of ``workload`` a module may have ``steps``, a list of functions of ``dir`` called in turn: then a story
names the fewest of them.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from untorn.errors import UntornError
from untorn.explore.interpose import Interposer, set_current
from untorn.explore.target import Acknowledged
from untorn.storage.simulated import SimulatedStorage


class _Recording:
    """What ``ack`` is about while the workload runs."""

    def __init__(self, storage: SimulatedStorage) -> None:
        self._storage = storage

    def ack(self, value: object) -> None:
        self._storage.acknowledge(value)

    def acknowledged(self) -> Sequence[Any]:
        return [o.arguments[0] for o in self._storage.trace.operations if o.name == "acknowledge"]


class _Checking:
    """What ``acknowledged`` is about after a crash."""

    def __init__(self, acknowledged: Acknowledged) -> None:
        self._acknowledged = acknowledged

    def ack(self, value: object) -> None:
        raise UntornError("ack() belongs into the workload: a check promises nothing")

    def acknowledged(self) -> Sequence[Any]:
        return self._acknowledged()


class ModuleTarget:
    """A module by its path or its dotted name; travels to other processes by that."""

    def __init__(self, where: str, options: dict[str, Any] | None = None, kept: Sequence[int] | None = None) -> None:
        """``options`` of the simulated machine; ``kept``: the steps to run, all if None."""
        self.where = where
        self.name = Path(where).stem if where.endswith(".py") else where
        self.options = dict(options or {})
        self.kept = kept
        self._module: ModuleType | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_module": None}

    @property
    def module(self) -> ModuleType:
        """The module, imported when first needed; UntornError if it cannot be explored."""
        if self._module is None:
            module = _import(self.where)
            missing = [name for name in ("check",) if not callable(getattr(module, name, None))]
            if not callable(getattr(module, "workload", None)) and not hasattr(module, "steps"):
                missing.append("workload")
            if missing:
                raise UntornError(f"{self.where} does not define {' and '.join(missing)}(dir)")
            self._module = module
        return self._module

    @property
    def spec(self) -> dict[str, Any]:
        """What makes the same target again."""
        return {
            "module": os.path.abspath(self.where) if self.where.endswith(".py") else self.where,
            "options": self.options,
            "kept": self.kept,
        }

    @property
    def steps(self) -> int:
        """How many steps the workload has, 0 if it is one function."""
        return len(getattr(self.module, "steps", ()))

    def limited(self, kept: Sequence[int]) -> ModuleTarget:
        """The same with only these steps."""
        return ModuleTarget(self.where, self.options, list(kept))

    def record(self) -> SimulatedStorage:
        storage = SimulatedStorage(**{"sites": True, **self.options})
        _run(storage, getattr(self.module, "prepare", None), None)
        storage.kill_process()
        storage.settle()
        recording = _Recording(storage)
        steps = getattr(self.module, "steps", None) or [self.module.workload]
        for index, step in enumerate(steps):
            if self.kept is None or index in self.kept:
                _run(storage, step, recording)
        storage.kill_process()
        return storage

    def recover(self, storage: SimulatedStorage) -> None:
        _run(storage, getattr(self.module, "recover", None), None)

    def check(self, storage: SimulatedStorage, acknowledged: Acknowledged) -> None:
        _run(storage, self.module.check, _Checking(acknowledged))


def _run(storage: SimulatedStorage, function: Callable[[Path], object] | None, current: Any) -> None:
    with Interposer(storage) as directory:
        if function is None:
            return
        before = set_current(current)
        try:
            function(directory)
        finally:
            set_current(before)


def _import(where: str) -> ModuleType:
    if not where.endswith(".py"):
        return importlib.import_module(where)
    path = os.path.abspath(where)
    name = f"untorn_explored_{Path(path).stem}"
    found = sys.modules.get(name)
    if found is not None and getattr(found, "__file__", None) == path:
        return found
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None or not os.path.isfile(path):
        raise FileNotFoundError(2, os.strerror(2), where)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    directory = os.path.dirname(path)
    if directory not in sys.path:
        sys.path.insert(0, directory)
    spec.loader.exec_module(module)
    return module


def load(where: str, options: dict[str, Any] | None = None) -> ModuleTarget:
    """The target that a module is; ImportError or FileNotFoundError if it is not found."""
    target = ModuleTarget(where, options)
    assert target.module is not None
    return target
