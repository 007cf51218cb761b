"""A settings file that is written beside the old one and renamed over it, without a sync."""

from __future__ import annotations

import json
import os
from pathlib import Path

OLD = {"theme": "light"}
NEW = {"theme": "dark", "recent": list(range(300))}


def prepare(dir: Path) -> None:
    (dir / "settings.json").write_text(json.dumps(OLD))


def workload(dir: Path) -> None:
    with open(dir / "settings.json.new", "w") as file:
        json.dump(NEW, file)
    os.replace(dir / "settings.json.new", dir / "settings.json")


def check(dir: Path) -> None:
    found = json.loads((dir / "settings.json").read_text())
    assert found in (OLD, NEW), "neither the old settings nor the new ones"
