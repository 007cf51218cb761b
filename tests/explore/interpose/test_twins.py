"""What programs do with files comes out the same through the interposer as on a real file system."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.explore.interpose import programs_moves, programs_open, programs_os, programs_stdlib
from tests.explore.interpose.programs import PROGRAMS
from tests.explore.interpose.twins import explored, really

SOURCES = (programs_moves, programs_open, programs_os, programs_stdlib)
"""What fills PROGRAMS."""


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_sees_the_same_as_in_a_real_directory(name: str, tmp_path: Path) -> None:
    expected = really(PROGRAMS[name], tmp_path / "real")
    assert explored(PROGRAMS[name]) == expected
