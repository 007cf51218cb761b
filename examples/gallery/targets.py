"""The gallery's programs as built-in targets."""

from __future__ import annotations

from typing import Final

from examples.gallery.entries import ENTRIES

TARGETS: Final = tuple({program.name: program for one in ENTRIES for program in (one.program, *one.safe)}.values())
"""Those with a defect and, behind each, those without it."""
