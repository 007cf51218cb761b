"""Explores one target: record, search lazily, cut recovery off too, certify."""

from __future__ import annotations

from collections.abc import Iterator

from untorn.explore.lazy import Ground
from untorn.explore.search import Field, Run
from untorn.explore.space import build_layer, rules
from untorn.explore.target import Target
from untorn.storage.persistence import History
from untorn.storage.simulated import SimulatedStorage


def field_of(target: Target, machine: SimulatedStorage, first: int = 0) -> Field:
    """The search over every power failure of a recorded machine, from event ``first`` on."""
    disk = machine.disk
    history = History(machine.trace, **rules(disk.options))
    history.advance(machine.trace.now)
    layer = build_layer(machine.trace, history, first, machine.trace.now, nested=False)
    return Field(target, Ground(layer, disk.options, disk.time_ns))


def deeper(search: Field, run: Run) -> Iterator[Field]:
    """The searches for the ways in which this run's recovery can be cut off."""
    ground = search.ground
    for cut in run.cuts:
        yield Field(search.target, Ground(cut.layer, ground.options, ground.time_ns, ground), cut.start)
