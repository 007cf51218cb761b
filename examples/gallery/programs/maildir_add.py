"""mailbox.Maildir: a message is delivered. Its data are synced, its name is not."""

from __future__ import annotations

import mailbox
from pathlib import Path

from untorn.explore.interpose import ack, acknowledged

MESSAGE = b"Subject: new\n\n" + b"text\n" * 200


def prepare(dir: Path) -> None:
    mailbox.Maildir(dir / "mail", create=True)


def workload(dir: Path) -> None:
    mailbox.Maildir(dir / "mail", create=False).add(MESSAGE)
    ack("delivered")


def check(dir: Path) -> None:
    box = mailbox.Maildir(dir / "mail", create=False)
    found = [box.get_bytes(key) for key in box.iterkeys()]
    assert found in ([[MESSAGE]] if acknowledged() else [[], [MESSAGE]]), f"{len(found)} messages, one was delivered"
