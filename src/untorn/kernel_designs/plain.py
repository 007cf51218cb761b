"""Today's buffered write, the control: the page cache remembers what is dirty and nothing else. It tears."""

from __future__ import annotations

from typing import ClassVar

from untorn.kernel_designs.in_place import InPlace


class Plain(InPlace):
    """Dirty ranges in large bios, through the kernel's page cache; RWF_ATOMIC is EOPNOTSUPP, as in Linux today."""

    name: ClassVar[str] = "plain"
    direct: ClassVar[bool] = False

    def state_bits(self) -> tuple[int, int]:
        return 0, 0
