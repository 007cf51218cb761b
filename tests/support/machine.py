"""What the tests need of the machine: the commands of packages.txt, and words for what is missing."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import Final

import pytest

_LIST: Final = Path(__file__).parents[1] / "packages.txt"
_NOTE: Final = Path(sys.prefix) / "missing-packages"
"""Where install-packages told ``make test`` what it could not install."""

_FOLDERS: Final = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/local/sbin", "/usr/sbin", "/sbin"])
"""Where commands are looked for: an ordinary user's PATH lacks some of these."""


def packages() -> dict[str, list[str]]:
    """What each package is there for."""
    lines = [line.split() for line in _LIST.read_text().splitlines() if not line.startswith("#")]
    return {package: things for package, *things in lines}


PACKAGE_OF: Final = {thing: package for package, things in packages().items() for thing in things if ":" not in thing}


def link_commands(folder: Path) -> None:
    """Fills a folder that is to be all of PATH: a test that runs a command that is not in the list fails everywhere."""
    for command in PACKAGE_OF:
        if found := shutil.which(command, path=_FOLDERS):
            (folder / command).symlink_to(os.path.abspath(found))


def why_missing(command: str) -> str | None:
    """Why the command is not there and what to do; None if it is."""
    if shutil.which(command, path=_FOLDERS):
        return None
    package = PACKAGE_OF[command]
    told = _NOTE.read_text() if _NOTE.exists() else ""
    for line in told.splitlines():
        if line.startswith(f"{package} "):
            return line
    return f"{package} ({command}) is missing: install that Debian package"


def require(*commands: str) -> None:
    """Skips the test that runs if one of these commands is missing."""
    for command in commands:
        if reason := why_missing(command):
            pytest.skip(reason)


def needs(*commands: str) -> pytest.MarkDecorator:
    """Marks a test that runs these commands."""
    reasons = [reason for command in commands if (reason := why_missing(command))]
    return pytest.mark.skipif(bool(reasons), reason="; ".join(reasons))
