"""The profiles of the persistence rules; what they mean stands in :mod:`untorn.storage.persistence`."""

from __future__ import annotations

from typing import Final, NamedTuple


class Profile(NamedTuple):
    """A set of rules: what one has that the other lacks."""

    name: str
    in_order: bool
    """Whether names and metadata survive as a prefix of one order."""
    keeps_new_names: bool
    """Whether fsync of a new file makes its names durable too."""

    def __str__(self) -> str:
        return self.name


STRICT: Final = Profile("strict", in_order=False, keeps_new_names=False)
LINUX: Final = Profile("linux", in_order=True, keeps_new_names=True)
PROFILES: Final = {profile.name: profile for profile in (STRICT, LINUX)}
