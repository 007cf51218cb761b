"""Targets by name: modules, and what comes with untorn."""

from __future__ import annotations

from typing import Any

from untorn.errors import UntornError
from untorn.explore.target import Target


def from_spec(spec: dict[str, Any]) -> Target:
    """The target that ``Target.spec`` described; UntornError if there is none."""
    from untorn.explore.module import ModuleTarget  # noqa: PLC0415

    if "module" in spec:
        return ModuleTarget(spec["module"], spec["options"], spec["kept"])
    raise UntornError(f"no such target: {spec}")
