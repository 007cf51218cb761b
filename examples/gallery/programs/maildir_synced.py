"""The same with the missing sync: of the directory that the message came into."""

from __future__ import annotations

import mailbox
from pathlib import Path

from durably import sync
from maildir_add import MESSAGE, check, prepare
from untorn.explore.interpose import ack

__all__ = ["check", "prepare", "workload"]


def workload(dir: Path) -> None:
    mailbox.Maildir(dir / "mail", create=False).add(MESSAGE)
    sync(dir / "mail" / "new")
    ack("delivered")
