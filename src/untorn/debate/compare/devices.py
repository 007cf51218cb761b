"""Profiles of simulated devices: what they promise of RWF_ATOMIC. Hardware of this kind is simulated here only."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from untorn.sizes import BLOCK
from untorn.storage.interface import AtomicLimits

_K: Final = 1024


class Device(NamedTuple):
    """A device and the file system on it, as far as atomic writes go."""

    name: str
    limits: AtomicLimits
    boundary: int = 0
    """Bytes, as NVMe's NABSPF; 0 for none."""

    def options(self) -> dict[str, Any]:
        """For a simulated storage."""
        return {"atomic": self.limits, "atomic_boundary": self.boundary}


def _nvme(unit_max: int, boundary: int = 0) -> Device:
    name = f"nvme-{unit_max // _K}k" + (f"-b{boundary // _K}k" if boundary else "")
    return Device(name, AtomicLimits(BLOCK, unit_max, 0, 1), boundary)


# Linux takes a boundary only if no aligned write crosses it: it is a power of two, and not below the unit.
DEVICES: Final = {
    device.name: device
    for device in (
        Device("none", AtomicLimits()),
        _nvme(4 * _K),
        _nvme(4 * _K, 128 * _K),
        _nvme(16 * _K),
        _nvme(16 * _K, 128 * _K),
        _nvme(128 * _K),
        _nvme(128 * _K, 128 * _K),
    )
}
"""By name: ``nvme-16k-b128k`` writes 16 KiB whole, and nothing across a multiple of 128 KiB."""
