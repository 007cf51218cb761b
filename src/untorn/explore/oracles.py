"""What must hold after a crash, in pieces: each raises if it does not.

They say why in words, for the message is the headline of the story that is told about it.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from typing import Any

from untorn.crashmodel.storage import SimulatedStorage
from untorn.explore.targets.protocol import Acknowledged

Content = bytes | None
"""Of a file; None where there is none."""


def state_is_a_commit(found: Content, states: Sequence[Content], acknowledged: Acknowledged) -> None:
    """``found`` is one of the committed ``states`` (I2), no older than acknowledged and no younger than begun (I3, I4).

    The program acknowledged ``("begin", k)`` before it committed state k, ``("durable", k)`` when it was told that this
    state stays, and ``("ordered", k)`` when it was told that it stays if only the process dies.
    """
    same = [at for at, state in enumerate(states) if state == found]
    if not same:
        raise AssertionError(f"no commit: {_shape(found, states)}")
    commit_is_in_time(same, acknowledged)


def commit_is_in_time(same: Sequence[int], acknowledged: Acknowledged) -> None:
    """One of the commits ``same`` is no older than acknowledged and no younger than begun (I3, I4)."""
    verdict = acknowledged(lambda told: _verdict(same, told))
    if verdict:
        raise AssertionError(verdict)


def _verdict(same: Sequence[int], told: Sequence[Any]) -> str:
    """What is wrong with having one of the states ``same`` when so much was acknowledged; empty if nothing is."""
    oldest = youngest = ordered = 0
    for word, k in told:
        match word:
            case "begin":
                youngest = max(youngest, k)
            case "ordered":
                ordered = k
            case "survived":
                oldest = max(oldest, ordered)
            case "durable":
                oldest, youngest = max(oldest, k), max(youngest, k)
    if any(oldest <= at <= youngest for at in same):
        return ""
    if max(same) < oldest:
        return f"lost: the file holds commit {max(same)}, and commit {oldest} was acknowledged as durable"
    return f"early: the file holds commit {min(same)}, and no later one than {youngest} had begun"


def _shape(found: Content, states: Sequence[Content]) -> str:
    """What a file holds that is no commit, by the commit that it resembles most."""
    if found is None:
        return "there is no file"
    others = [(_differing(found, state), at) for at, state in enumerate(states) if state is not None]
    if not others:
        return f"{len(found)} bytes where there was never a file"
    count, at = min(others)
    return f"{len(found)} bytes, of which {count} differ from commit {at}"


def _differing(one: bytes, other: bytes) -> int:
    return sum(a != b for a, b in zip(one, other, strict=False)) + abs(len(one) - len(other))


def plain(storage: SimulatedStorage, path: str, *, quarantined: bool = False) -> Content:
    """The file as any program reads it, if it stands alone; None if there is no file."""
    return storage.read_file(path) if stands_alone(storage, path, quarantined=quarantined) else None


def stands_alone(storage: SimulatedStorage, path: str, *, quarantined: bool = False) -> bool:
    """The file has nothing beside it and no mark on it (I6); False if there is no file.

    With ``quarantined``, what was set aside under another name may stand beside it.
    """
    folder, _, name = path.rpartition("/")
    beside = [one for one in storage.names(folder or "/") if one.startswith(name)]
    if name not in beside:
        return False
    others = [one for one in beside if one != name and not (quarantined and ".aside-" in one)]
    if others:
        raise AssertionError(f"not plain: beside the file there is {', '.join(others)}")
    if storage.attributes(path):
        raise AssertionError(f"not plain: the file has the attribute {', '.join(storage.attributes(path))}")
    return True


def old_or_new(found: bytes, offset: int, old: bytes, new: bytes) -> None:
    """A write of ``new`` over ``old`` at ``offset`` happened whole or not at all (I1)."""
    length = max(len(old), len(new))
    there = found[offset : offset + length]
    if there not in (old, new):
        count = min(_differing(there, old), _differing(there, new))
        raise AssertionError(f"torn: {count} of {length} bytes at {offset} are neither as before nor as written")


def opens_with(storage: SimulatedStorage, path: str, opener: Callable[[io.BytesIO], object]) -> None:
    """``opener`` takes the file's content without an exception."""
    opener(io.BytesIO(storage.read_file(path)))
