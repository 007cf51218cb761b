"""Unmodified packages with known defects; the explorer finds each. ``docs/gallery.md`` shows what it finds."""

from examples.gallery.entries import ENTRIES
from examples.gallery.entry import Entry, Program

__all__ = ["ENTRIES", "Entry", "Program"]
