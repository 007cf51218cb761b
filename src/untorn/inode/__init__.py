"""An open file between the file object and the designs. From the bottom: ``guarded``,
``cached``, ``committing``, ``inode``.

``inplace`` and ``through`` are what changes where a design writes home in place.
"""

from untorn.inode.cached import APPEND, SIZE_MAX
from untorn.inode.handle_state import State
from untorn.inode.inode import Inode

__all__ = ["APPEND", "SIZE_MAX", "Inode", "State"]
