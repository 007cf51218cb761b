"""The profiles of the persistence rules; what they mean stands in :mod:`untorn.crashmodel.rules`."""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class Profile(StrEnum):
    """A set of rules, by the name that people give it."""

    STRICT = "strict"
    LINUX = "linux"


STRICT: Final = Profile.STRICT
LINUX: Final = Profile.LINUX
