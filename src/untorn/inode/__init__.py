"""An open file between the file object and the designs. From the bottom: ``guarded``, ``cached``, ``inode``."""

from untorn.inode.cached import APPEND, SIZE_MAX
from untorn.inode.guarded import State
from untorn.inode.inode import Inode

__all__ = ["APPEND", "SIZE_MAX", "Inode", "State"]
