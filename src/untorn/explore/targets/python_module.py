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
from collections.abc import Sequence
from copy import copy
from pathlib import Path
from types import ModuleType
from typing import Any

from untorn.crashmodel.storage import SimulatedStorage
from untorn.errors import UntornError
from untorn.explore.interpose.errors import NotMeasuredError
from untorn.explore.targets.calls import Function, copied, run, without_asserts
from untorn.explore.targets.protocol import Acknowledged


class _Recording:
    """What ``ack`` is about while the workload runs."""

    def __init__(self, storage: SimulatedStorage) -> None:
        self._storage = storage

    def ack(self, value: object) -> None:
        self._storage.acknowledge(copied(value))

    def acknowledged(self) -> Sequence[Any]:
        return [o.arguments[0] for o in self._storage.trace.operations if o.name == "acknowledge"]


class _Checking:
    """What ``acknowledged`` is about after a crash."""

    def __init__(self, acknowledged: Acknowledged) -> None:
        self._acknowledged = acknowledged

    def ack(self, value: object) -> None:
        raise UntornError("call ack() in the workload only: recover and check promise nothing to anybody")

    def acknowledged(self) -> Sequence[Any]:
        return [copied(value) for value in self._acknowledged()]


class FunctionTarget:
    """Functions of a directory; travels to other processes if they can be pickled."""

    def __init__(
        self, name: str, *, workload: Function | None = None, check: Function, recover: Function | None = None,
        prepare: Function | None = None, steps: Sequence[Function] = (), enabled_steps: Sequence[int] | None = None,
        options: dict[str, Any] | None = None,
    ) -> None:  # fmt: skip
        """``steps`` in place of ``workload``, ``enabled_steps`` the indices of those to run (None: all); ``options`` of
        the machine."""
        if (workload is None) == (not steps):
            raise UntornError(f"{name}: define either workload(dir) or steps, a list of functions of dir")
        self.name = name
        self.options = dict(options or {})
        self.enabled_steps = enabled_steps
        self._functions = prepare, [workload] if workload else list(steps), recover, check

    @property
    def steps(self) -> int:
        """How many steps can be left out."""
        steps = self._functions[1]
        return len(steps) if len(steps) > 1 else 0

    def with_steps(self, enabled_steps: Sequence[int]) -> FunctionTarget:
        """The same with only these steps."""
        other = copy(self)
        other.enabled_steps = list(enabled_steps)
        return other

    def record(self) -> SimulatedStorage:
        prepare, steps, recover, check = self._functions
        if why := without_asserts(function for function in (prepare, *steps, recover, check) if function):
            raise NotMeasuredError(why)
        storage = SimulatedStorage(**{"sites": True, **self.options})
        run(storage, [prepare] if prepare else [], "prepare", first=True)
        storage.kill_process()
        storage.settle()
        chosen = [step for index, step in enumerate(steps) if self.enabled_steps is None or index in self.enabled_steps]
        run(storage, chosen, "the workload", _Recording(storage), first=True)
        storage.kill_process()
        return storage

    def recover(self, storage: SimulatedStorage) -> None:
        recover = self._functions[2]
        if recover is not None:
            run(storage, [recover], "recover")

    def check(self, storage: SimulatedStorage, acknowledged: Acknowledged) -> None:
        run(storage, [self._functions[3]], "check", _Checking(acknowledged))


class ModuleTarget(FunctionTarget):
    """A module by its path or its dotted name; travels to other processes by that."""

    def __init__(
        self, where: str, options: dict[str, Any] | None = None, enabled_steps: Sequence[int] | None = None
    ) -> None:
        """ImportError or FileNotFoundError if there is no such module, UntornError if it cannot be explored."""
        module = _import(where)
        if not callable(getattr(module, "check", None)):
            raise UntornError(f"{where} does not define check(dir), which says whether a state is good")
        super().__init__(
            Path(where).stem if where.endswith(".py") else where.rpartition(".")[2],
            workload=getattr(module, "workload", None), check=module.check, steps=getattr(module, "steps", ()),
            recover=getattr(module, "recover", None), prepare=getattr(module, "prepare", None),
            enabled_steps=enabled_steps, options=options,
        )  # fmt: skip
        self.where = os.path.abspath(where) if where.endswith(".py") else where

    def __reduce__(self) -> tuple[Any, ...]:
        return ModuleTarget, (self.where, self.options, self.enabled_steps)

    @property
    def spec(self) -> dict[str, Any]:
        """What makes the same target again."""
        return {"module": self.where, "options": self.options, "kept": self.enabled_steps}


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
