"""The designs without a log, by the name that ``untorn.open`` knows, each with the kind of inode that it needs."""

from __future__ import annotations

from typing import Final, NamedTuple

from untorn.kernel_designs.folio_flag import FolioFlag
from untorn.kernel_designs.in_place import InPlace
from untorn.kernel_designs.in_place_inode import InPlaceInode
from untorn.kernel_designs.mapping_flag import MappingFlag
from untorn.kernel_designs.plain import Plain
from untorn.kernel_designs.writethrough import WriteThrough
from untorn.kernel_designs.writethrough_inode import ThroughInode


class KernelDesign(NamedTuple):
    """A design, and what a file is that has it."""

    design: type[InPlace]
    inode: type[InPlaceInode]


KERNEL_DESIGNS: Final = {
    one.design.name: one
    for one in (
        KernelDesign(FolioFlag, InPlaceInode),
        KernelDesign(MappingFlag, InPlaceInode),
        KernelDesign(WriteThrough, ThroughInode),
        KernelDesign(Plain, InPlaceInode),
    )
}
"""By name."""
