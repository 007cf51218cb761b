"""An open file between the file object and the designs. From the bottom: ``guarded``,
``cached``, ``committing``, ``inode``.

``inplace`` and ``through`` are what changes where a design writes home in place.
"""

from untorn.inode.cached import APPEND, SIZE_MAX
from untorn.inode.guarded import State
from untorn.inode.inode import Inode
from untorn.inode.inplace import InPlaceInode
from untorn.inode.through import ThroughInode

__all__ = ["APPEND", "SIZE_MAX", "InPlaceInode", "Inode", "State", "ThroughInode"]
