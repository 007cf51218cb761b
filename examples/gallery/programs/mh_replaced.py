"""The same with sequences that are written beside, synced and renamed."""

from __future__ import annotations

import mailbox
from collections.abc import Mapping, Sequence
from pathlib import Path

from durably import replace
from mh_add import add, box, check, prepare

__all__ = ["check", "prepare", "workload"]


class Replaced(mailbox.MH):
    def set_sequences(self, sequences: Mapping[str, Sequence[int]]) -> None:
        lines = [f"{name}: {' '.join(map(str, keys))}\n" for name, keys in sequences.items() if keys]
        replace(Path(str(self._path)) / ".mh_sequences", "".join(lines).encode())


def workload(dir: Path) -> None:
    add(box(dir, Replaced))
