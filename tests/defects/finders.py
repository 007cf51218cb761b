"""The planted defects that random sessions, stories and failing calls find, each by what finds it soonest."""

from __future__ import annotations

from typing import Final

BY_STORY: Final = {
    "digests are not checked": "a torn record",
    "the salt stays": "a log used again",
    "rolled-back spills are applied": "a rolled-back spill",
    "recovery does not copy what it cannot prove": "a failed sync and a cut recovery",
    "recovery does not cut anew": "a cut whose sync failed",
    "a mark is removed from the cache once": "a cut and growth whose sync failed",
    "a second try records home's time anew": "a kill in a checkpoint and a cut recovery",
    "home's time is taken at the first commit": "an edit before the first commit",
}
"""What the state machine finds seldom, and the story of test_directed_crashes that shows it."""

BY_CALL: Final = {
    "a failed sync is tried again": ("update", "EIO"),
    "a failed commit passes for one": ("commits", "EIO"),
    "a short write passes for a whole one": ("many folios", "half a transfer"),
    "a short read passes for a whole one": ("transactions", "half a transfer"),
}
"""What a failing call shows, and the session of test_every_call_fails and its fault."""

BY_MACHINE: Final = (
    "a failed handle goes on",
    "a spill commits",
    "an edit is overlooked at checkpoint",
    "an edit is overlooked at open",
    "home is not synced",
    "no fdatasync at all",
    "no fsync of the log at all",
    "no slot before a checkpoint",
    "no sync and no slot before a checkpoint",
    "size_min is ignored",
    "the directory is not synced",
    "the log is not synced",
    "the mark comes before the log",
    "the mark stays",
)
"""What the state machine finds."""
