"""Targets by name: modules, and what comes with untorn."""

from __future__ import annotations

import importlib
import os
from dataclasses import replace
from typing import Any, Final

from untorn.errors import UntornError
from untorn.explore.targets.protocol import Target
from untorn.explore.targets.python_module import ModuleTarget

GROUPS: Final = {
    "library": "untorn.explore.selftest.targets",
    "matrix": "untorn.explore.selftest.matrix",
}
"""Modules of built-in targets: each has ``TARGETS``, dataclasses with options of their machine in ``machine``."""


def builtin(group: str, machine: dict[str, Any] | None = None) -> list[Target]:
    """The built-in targets of a group, on such a machine but for what they say of it themselves."""
    targets: list[Any] = importlib.import_module(GROUPS[group]).TARGETS
    return [replace(target, machine={**(machine or {}), **target.machine}) for target in targets]


def find(name: str, machine: dict[str, Any] | None = None) -> Target:
    """A built-in target, or the module of this path or dotted name; ImportError or FileNotFoundError if none is."""
    if not name.endswith(".py") and os.sep not in name:
        for group in GROUPS:
            for target in builtin(group, machine):
                if target.name == name:
                    return target
    return ModuleTarget(name, machine)


def from_spec(spec: dict[str, Any]) -> Target:
    """The target that ``Target.spec`` described; UntornError if there is none."""
    if "module" in spec:
        return ModuleTarget(spec["module"], spec["options"], spec["kept"])
    for group in GROUPS:
        for target in builtin(group, spec.get("machine")):
            if target.name == spec.get("builtin"):
                return target
    raise UntornError(f"there is no such target: {spec}")
