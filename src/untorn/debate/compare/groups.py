"""Cells that say the same on several devices, as one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from untorn.debate.compare.costs import Costs
from untorn.debate.compare.crash_check import Crashes, Verdict
from untorn.debate.compare.devices import DEVICES
from untorn.debate.compare.matrix import Cell


@dataclass
class Group:
    """One design on one workload, on all devices where it does the same."""

    design: str
    devices: str
    """In words."""
    crashes: Crashes
    costs: Costs

    @property
    def verdict(self) -> str:
        """What the crashes showed, and how sure that is."""
        return verdict(self.crashes)


def verdict(crashes: Crashes) -> str:
    """A verdict in words that claim no more than what was done. A count that was ended early says nothing."""
    words = crashes.verdict.value
    if crashes.verdict in (Verdict.WHOLE, Verdict.REFUSED_WHOLE):
        return f"{words}, certified" if crashes.certified else f"{words}, every state"
    if crashes.counted:
        return f"{words} in {crashes.torn} of {crashes.recoveries}"
    return words


def groups(cells: Sequence[Cell], workload: str) -> list[Group]:
    """The cells of a workload, in order."""
    found: dict[str, list[Cell]] = {}
    for cell in cells:
        if cell.workload == workload:
            key = f"{cell.design} {verdict(cell.crashes)} {cell.costs}"
            found.setdefault(key, []).append(cell)
    asked = list(dict.fromkeys(cell.device for cell in cells))
    return [
        Group(some[0].design, _devices([cell.device for cell in some], asked), some[0].crashes, some[0].costs)
        for some in found.values()
    ]


def _devices(names: Sequence[str], asked: Sequence[str]) -> str:
    if len(names) == len(asked) > 1:
        return "all"
    return ", ".join(_without_boundaries(names))


def _without_boundaries(names: Iterable[str]) -> list[str]:
    """A device whose boundary changes nothing goes without a name of its own."""
    shown: dict[str, bool] = {}
    for name in names:
        twin = next((one for one in shown if DEVICES[one].limits == DEVICES[name].limits), None)
        if twin is None:
            shown[name] = False
        else:
            shown[twin] = True
    return [f"{name}(-b)" if both else name for name, both in shown.items()]
