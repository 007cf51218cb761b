"""mailbox.mbox: one of two messages is removed. The new file is synced, then renamed: the box is the old or the new."""

from __future__ import annotations

import mailbox
from pathlib import Path

MESSAGES = [f"Subject: {number}\n\n".encode() + b"text\n" * 200 for number in range(2)]


def prepare(dir: Path) -> None:
    box = mailbox.mbox(dir / "box", create=True)
    for message in MESSAGES:
        box.add(message)
    box.close()


def workload(dir: Path) -> None:
    box = mailbox.mbox(dir / "box", create=False)
    box.remove(box.keys()[0])
    box.close()


def check(dir: Path) -> None:
    box = mailbox.mbox(dir / "box", create=False)
    found = [box.get_bytes(key) for key in box.iterkeys()]
    assert found in (MESSAGES, MESSAGES[1:]), f"{len(found)} messages, or other ones"
