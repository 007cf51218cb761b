"""python-dotenv: a key is set. The file is written beside and put in place of the old one, without a sync."""

from __future__ import annotations

from pathlib import Path

from dotenv import dotenv_values, set_key

from quietly import quietly

OLD = {"TOKEN": "old", "OTHER": "x" * 600}
NEW = {**OLD, "TOKEN": "new"}


def prepare(dir: Path) -> None:
    (dir / ".env").write_text("".join(f"{key}='{value}'\n" for key, value in OLD.items()))


def workload(dir: Path) -> None:
    set_key(str(dir / ".env"), "TOKEN", "new")


def check(dir: Path) -> None:
    with quietly():
        found = dotenv_values(dir / ".env")
    assert found in (OLD, NEW), "keys are gone"
