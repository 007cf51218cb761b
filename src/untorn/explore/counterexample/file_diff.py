"""What a crash left of each file, sector by sector, beside what the program had written: for pictures."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Final

from untorn.crashmodel.variables import GARBAGE
from untorn.explore.lazy.crash_state import CrashState
from untorn.explore.lazy.storage import LazyStorage
from untorn.explore.result import Fate, Survival
from untorn.explore.search.engine import Search
from untorn.explore.search.pinned_state import Baseline, PinnedState, Steering
from untorn.explore.search_record import Layer, Snapshot

_FILES_MAX: Final = 24
_BYTES_MAX: Final = 1 << 24
"""Of a larger file only so much is looked at."""


def survivals(search: Search, state: PinnedState) -> list[Survival]:
    """The files that the state, the cache, or what was durable then do not agree on; most differences first."""
    paths = _paths(search.shared.layers, state)
    newest = _contents(search, PinnedState(state.classes, Baseline.NEWEST), paths)
    oldest = _contents(search, PinnedState(state.classes, Baseline.OLDEST), paths)
    actual = _contents(search, state, paths)
    unit = search.shared.options.sector
    found = []
    for path in paths:
        contents = actual[path], newest[path], oldest[path]
        if len(set(contents)) > 1:
            size, newest_size, oldest_size = map(_size, contents)
            found.append(Survival(path, unit, size, newest_size, oldest_size, _runs(contents, unit)))
    return sorted(found, key=_differences, reverse=True)[:_FILES_MAX]


def _paths(layers: Sequence[Layer], state: PinnedState) -> list[str]:
    """Every path that a layer knows of before its crash, in order."""
    paths: dict[str, None] = {}
    for layer, at in zip(layers, state.classes, strict=True):
        paths |= dict.fromkeys(layer.trace.image.paths())
        for operation in layer.trace.operations:
            if operation.issued <= layer.class_starts[at] and operation.path:
                paths[operation.path] = None
                if operation.name in ("rename", "link"):
                    paths[operation.arguments[0]] = None
                if operation.name == "rename":  # of a directory with all that is in it
                    source, target = operation.path, operation.arguments[0]
                    below = [path for path in paths if path.startswith(f"{source}/")]
                    paths |= dict.fromkeys(target + path[len(source) :] for path in below)
    return list(paths)


def _contents(search: Search, state: PinnedState, paths: Sequence[str]) -> dict[str, bytes | None]:
    """What each path gives in a state: None if it is not there, or is no file."""
    masks = tuple(1 << at for at in state.classes)
    world = CrashState(search.shared.layers, Steering(search.shared.layers, state), Snapshot(masks, {}, ()))
    storage = LazyStorage(search.shared, world)
    return {path: _content(storage, path) for path in paths}


def _content(storage: LazyStorage, path: str) -> bytes | None:
    try:
        inode = storage.disk.walk(path, follow=False).inode
    except OSError:  # its directory is not there
        return None
    if inode is None or inode.is_directory or inode.is_link:
        return None
    return inode.content.read(0, min(inode.content.size, _BYTES_MAX))


def _size(content: bytes | None) -> int | None:
    return None if content is None else len(content)


def _runs(contents: tuple[bytes | None, bytes | None, bytes | None], unit: int) -> list[tuple[Fate, int]]:
    """Runs of sectors with the same fate."""
    actual, newest, oldest = (content or b"" for content in contents)
    if contents[0] is None:
        return []
    end = max(map(len, (actual, newest, oldest)))
    fates = [
        _fate(actual[at : at + unit], newest[at : at + unit], oldest[at : at + unit]) for at in range(0, end, unit)
    ]
    return [(fate, len(list(run))) for fate, run in groupby(fates)]


def _fate(actual: bytes, newest: bytes, oldest: bytes) -> Fate:
    if actual == newest:
        return Fate.SAME if actual == oldest else Fate.NEW
    if actual == oldest:
        return Fate.OLD
    if not actual:
        return Fate.GONE
    if actual == (GARBAGE * (len(actual) // len(GARBAGE) + 1))[: len(actual)]:
        return Fate.GARBAGE
    return Fate.ZEROS if not any(actual) else Fate.OTHER


def _differences(survival: Survival) -> int:
    return sum(count for fate, count in survival.sectors if fate not in (Fate.SAME, Fate.NEW)) or -1
