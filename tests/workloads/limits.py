"""What the library does not hold under yet. The tests see to it that each of these is really found."""

from __future__ import annotations

from typing import Final

BAD_DEVICES: Final = frozenset(["trash-512", "trash-4096"])
"""Recovery writes over the log that it found, and a checkpoint over parts of sectors: both may become garbage."""

RESERVES_TOO_MUCH: Final = frozenset(["commit", "cut", "order", "refused", "rollback", "savepoint"])
"""Operations after which blocks stay reserved that nobody needs."""
