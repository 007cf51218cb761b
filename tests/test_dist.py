"""What is built to be given away: its lists, and the settings that decide what comes along. ``make dist`` tries it."""

from __future__ import annotations

import tomllib
from typing import Final

from tests.dist import IN_SOURCES, IN_WHEEL, NAME, QUICK, ROOT, lacking, too_much

SETTINGS: Final = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def test_all_that_is_to_come_along_exists() -> None:
    targets = SETTINGS["tool"]["hatch"]["build"]["targets"]
    sources = [name.strip("/") for name in targets["sdist"]["include"]]

    assert [name for name in [*sources, *targets["wheel"]["shared-data"], *QUICK] if not (ROOT / name).exists()] == []
    made = {"PKG-INFO"}
    expected = {name.removeprefix(f"{NAME}/") for name in IN_SOURCES} - made
    assert [name for name in expected if not (ROOT / name).exists()] == []


def test_control_what_is_lacking_and_what_is_too_much_is_told() -> None:
    assert lacking([*IN_WHEEL, "untorn/more.py"], IN_WHEEL) == []
    assert lacking([name for name in IN_WHEEL if "py.typed" not in name], IN_WHEEL) == ["untorn/py.typed"]
    allowed = ("untorn/",)
    assert too_much(["untorn/a.py", "tests/b.py", "untorn/__pycache__/a.pyc"], allowed) == [
        "tests/b.py",
        "untorn/__pycache__/a.pyc",
    ]


def test_no_address_is_invented() -> None:
    """The project has no address yet."""
    assert "urls" not in SETTINGS["project"]
