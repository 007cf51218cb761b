"""Unmodified packages with known defects; the explorer finds each. ``docs/design/gallery.md`` shows what it finds."""

from untorn.explore.gallery.entries import ENTRIES
from untorn.explore.gallery.entry import Entry, Program

__all__ = ["ENTRIES", "Entry", "Program"]
