"""An open file between the file object and the designs. From the bottom: ``handle_state``, ``cached``, ``committing``,
``inode``. Where a design writes home in place, ``untorn.kernel_designs`` has what is different.
"""

from untorn.inode.cached import APPEND, SIZE_MAX
from untorn.inode.handle_state import State
from untorn.inode.inode import Inode

__all__ = ["APPEND", "SIZE_MAX", "Inode", "State"]
