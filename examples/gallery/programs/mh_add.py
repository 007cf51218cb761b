"""mailbox.MH: a message is added. The list of sequences is cut off before it is written again."""

from __future__ import annotations

import mailbox
from pathlib import Path

FLAGGED = {"flagged": [1], "replied": [1]}


def box(dir: Path, kind: type[mailbox.MH] = mailbox.MH) -> mailbox.MH:
    return kind(str(dir / "mail"))


def add(mail: mailbox.MH) -> None:
    message = mailbox.MHMessage(b"Subject: new\n\ntext\n")
    message.add_sequence("unseen")
    mail.add(message)


def prepare(dir: Path) -> None:
    mail = box(dir)
    mail.add(b"Subject: old\n\ntext\n")
    mail.set_sequences(FLAGGED)


def workload(dir: Path) -> None:
    add(box(dir))


def check(dir: Path) -> None:
    found = box(dir).get_sequences()
    assert {name: keys for name, keys in found.items() if name != "unseen"} == FLAGGED, "flags of the old message"
