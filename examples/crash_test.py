"""Does a settings file survive a power failure? The explorer tries every one.

    untorn explore crash_test.py

says that it does. Take out one of the two fsyncs, or both, and it shows a crash after which it does not.
"""

import json
import os
from pathlib import Path

from untorn.explore import ack, acknowledged


def save(path: Path, settings: dict[str, int]) -> None:
    """What is tested: the new content goes to another file, which then takes the name."""
    new = path.with_suffix(".new")
    with open(new, "w", encoding="utf-8") as file:
        json.dump(settings, file)
        file.flush()
        os.fsync(file.fileno())  # the content is on disk before the name is
    os.replace(new, path)
    directory = os.open(path.parent, os.O_RDONLY)
    os.fsync(directory)  # the name is on disk before anybody is told
    os.close(directory)


def prepare(directory: Path) -> None:
    """What is there at the start."""
    save(directory / "settings.json", {"volume": 1})


def workload(directory: Path) -> None:
    """What the power failures cut off."""
    save(directory / "settings.json", {"volume": 2})
    ack(2)  # "Your settings are saved."


def check(directory: Path) -> None:
    """Raises an exception if what a power failure left is bad."""
    volume = json.loads((directory / "settings.json").read_text(encoding="utf-8"))["volume"]
    assert volume in (1, 2)
    assert volume >= max(acknowledged(), default=1), "settings that were saved are gone"
