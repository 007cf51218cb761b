"""Unmodified packages with known defects; the explorer finds each. ``docs/design/gallery.md`` shows what it finds.

A program is a file in ``programs``: plain Python that knows nothing of the explorer but ``ack`` and ``acknowledged``.
Each has ``workload(dir)`` and ``check(dir)``; see ``untorn.explore.targets.python_module``. A check is honest: it asks
for what the program may believe, that is the old content or the new one, whole, and whatever was acknowledged.
``untorn explore examples/gallery/programs/FILE`` explores one, as any other module.
"""

from examples.gallery.entries import ENTRIES
from examples.gallery.entry import Entry, Program

__all__ = ["ENTRIES", "Entry", "Program"]
