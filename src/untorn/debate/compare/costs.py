"""What a design costs: a longer run of a workload on simulated storage, counted in the trace of what reached it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from untorn.crashmodel.storage import SimulatedStorage
from untorn.crashmodel.trace import Trace
from untorn.debate.compare.devices import Device
from untorn.debate.compare.runner import PATH, Played, filled, open_file, play
from untorn.debate.compare.workloads import Workload
from untorn.storage.interface import RWF_ATOMIC

_SYNCS: Final = ("fsync", "fdatasync", "sync_directory")


@dataclass
class Costs:
    """Counted, not estimated; closing the file is part of it."""

    user_bytes: int
    calls: int
    """Write calls that the program made, as few as the design let it."""
    asked: int
    """Writes with pages that must not tear."""
    taken: int
    """Of those, how many the design took as atomic."""
    bios: int
    """Writes to storage: of home, and of the log where there is one."""
    atomic_bios: int
    """Of those, with REQ_ATOMIC."""
    bytes: int
    syncs: int
    """fsync and fdatasync, of files and directories."""
    forced: int
    """Bios that went out because a write of the other kind came."""
    folio_bits: int
    """What the page cache must remember for the design: bits for each folio."""
    file_bits: int
    """Likewise for each file."""

    @property
    def mean_bio(self) -> float:
        return self.bytes / self.bios if self.bios else 0.0

    @property
    def bytes_per_byte(self) -> float:
        return self.bytes / self.user_bytes

    def fields(self) -> dict[str, Any]:
        """For JSON."""
        return {**self.__dict__, "mean_bio": self.mean_bio, "bytes_per_byte": self.bytes_per_byte}


def costs(workload: Workload, design: str, device: Device) -> Costs:
    """The costs of the long form of a workload."""
    machine = SimulatedStorage(**device.options())
    machine.write_file(PATH, filled(0, 0, workload.long_size))
    file = open_file(PATH, design, machine)
    folio_bits, file_bits = file._inode.design.state_bits()  # no front end shows it
    trace = machine.trace
    first = len(trace.operations)
    within: list[bool] = []

    def done(step: Any, call: Any) -> None:
        within.extend([not call.is_sync] * (len(trace.operations) - len(within)))

    played = play(file, workload.long, filled, done)
    file.close()
    found = _count(trace, first, played, folio_bits, file_bits)
    if file_bits:  # then only a write of the other kind sends anything before the sync
        writes = zip(trace.operations, within, strict=False)
        found.forced = sum(inside and one.name == "pwritev" for one, inside in writes)
    return found


def _count(trace: Trace, first: int, played: Played, folio_bits: int, file_bits: int) -> Costs:
    done = [one for one in trace.operations[first:] if one.error is None]
    writes = [one for one in done if one.name == "pwritev" and one.arguments[1]]
    return Costs(
        played.user_bytes, played.calls, played.asked, played.taken, len(writes),
        sum(bool(one.arguments[2] & RWF_ATOMIC) for one in writes), sum(one.result for one in writes),
        sum(one.name in _SYNCS for one in done), 0, folio_bits, file_bits,
    )  # fmt: skip
