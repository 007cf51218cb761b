"""Finds what holds a real function outside the globals, classes and defaults of modules: whatever Python can list.

A dict, list or set, an instance, a closure, a ``functools.partial``, the defaults of any function. What cannot be
changed, such as a tuple, keeps its reference: a call through it is noticed where it looks below the explored
directory (:mod:`.watch`), and fails where it has an explored descriptor.
"""

from __future__ import annotations

import functools
import gc
import sys
import types
from collections.abc import Callable, Iterator
from typing import Any, Final

Put = Callable[[bool], None]
"""Puts the replacement in place if True, the real function back if False."""

_ATOMS: Final = (tuple, frozenset, types.FrameType, types.BuiltinFunctionType, types.ModuleType)


class Holders:
    """All that hold one of some real functions; ``pairs`` by id of the real one: it, and its replacement."""

    def __init__(self, pairs: dict[int, tuple[Any, Any]], ours: tuple[str, ...]) -> None:
        self._pairs = pairs
        self._ours = ours
        self._skipped = {id(pairs), *map(id, pairs.values())}
        for _, replacement in pairs.values():
            inner = getattr(replacement, "_replacement", replacement)
            self._skipped |= {id(replacement), id(vars(replacement)), id(vars(inner))}
            self._skipped.update(map(id, getattr(inner, "__closure__", None) or ()))
        self._count = -1

    def has_changed(self) -> bool:
        """Whether there may be another holder than the last time that this was asked."""
        before, self._count = self._count, sum(sys.getrefcount(real) for real, _ in self._pairs.values())
        return self._count != before

    def find(self, known: set[int]) -> list[Put]:
        """What puts the replacements into all holders but those with the ids in ``known``."""
        reals = [real for real, _ in self._pairs.values()]
        holders = gc.get_referrers(*reals)
        skipped = {*self._skipped, *known, id(reals), id(sys._getframe())}
        tuples = [one for one in holders if type(one) is tuple and id(one) not in skipped]
        chosen = [one for one in holders if id(one) not in skipped and not isinstance(one, _ATOMS)]
        owners = _classes_of([one for one in chosen if isinstance(one, dict)])
        puts: list[Put] = []
        for holder in chosen:
            puts += self._in_dict(holder, owners) if isinstance(holder, dict) else self._puts(holder)
        if tuples:
            for function in gc.get_referrers(*tuples):
                if isinstance(function, types.FunctionType) and any(function.__defaults__ is one for one in tuples):
                    puts += self._defaults(function)
        return puts

    def _puts(self, holder: Any) -> Iterator[Put]:
        if isinstance(holder, list):
            yield from (_in_items(holder, at, *pair) for at, pair in self._held(enumerate(holder)))
        elif isinstance(holder, set):
            yield from (_in_set(holder, *pair) for _, pair in self._held(enumerate(list(holder))))
        elif isinstance(holder, types.CellType):
            yield from (_in_attribute(holder, "cell_contents", *pair) for pair in self._pair(holder.cell_contents))
        elif isinstance(holder, functools.partial):
            yield from (_in_partial(holder, *pair) for pair in self._pair(holder.func))
        elif not isinstance(holder, type) and not type(holder).__module__.startswith(self._ours):
            names = [*getattr(holder, "__dict__", ()), *_slots(type(holder))]
            for name in names:
                for pair in self._pair(_peek(holder, name)):
                    yield _in_attribute(holder, name, *pair)

    def _in_dict(self, holder: dict[Any, Any], owners: dict[int, type]) -> Iterator[Put]:
        if str(holder.get("__name__", "")).startswith(self._ours):
            return
        owner = owners.get(id(holder))
        for key, pair in self._held(list(holder.items())):
            yield _in_items(holder, key, *pair) if owner is None else _in_attribute(owner, key, *pair)

    def _held(self, items: Any) -> Iterator[tuple[Any, tuple[Any, Any]]]:
        for key, value in items:
            for pair in self._pair(value):
                yield key, pair

    def _pair(self, value: Any) -> list[tuple[Any, Any]]:
        found = self._pairs.get(id(value))
        return [found] if found is not None and found[0] is value else []

    def _defaults(self, function: types.FunctionType) -> Iterator[Put]:
        if not function.__module__.startswith(self._ours):
            real = function.__defaults__ or ()
            changed = tuple(self._pairs.get(id(value), (None, value))[1] for value in real)
            yield _put(functools.partial(setattr, function, "__defaults__"), real, changed)


def _classes_of(namespaces: list[dict[Any, Any]]) -> dict[int, type]:
    """The classes whose namespaces some of these are, by id of the dict. Each look for referrers goes over the heap."""
    ids = set(map(id, namespaces))
    classes = [one for one in gc.get_referrers(*namespaces) if isinstance(one, type)] if namespaces else []
    return {id(part): one for one in classes for part in gc.get_referents(one) if id(part) in ids}


def _slots(kind: type) -> Iterator[str]:
    for base in kind.__mro__:
        slots = base.__dict__.get("__slots__", ())
        yield from (slots,) if isinstance(slots, str) else slots


def _peek(holder: Any, name: str) -> Any:
    try:
        return object.__getattribute__(holder, name)
    except AttributeError:
        return None


def _put(store: Callable[[Any], object], real: Any, replacement: Any) -> Put:
    def put(replaced: bool) -> None:
        store(replacement if replaced else real)

    return put


def _in_items(holder: Any, key: Any, real: Any, replacement: Any) -> Put:
    def put(replaced: bool) -> None:
        try:
            if holder[key] is (real if replaced else replacement):  # the program may have changed it itself
                holder[key] = replacement if replaced else real
        except LookupError:
            pass

    return put


def _in_set(holder: set[Any], real: Any, replacement: Any) -> Put:
    def put(replaced: bool) -> None:
        old, new = (real, replacement) if replaced else (replacement, real)
        if old in holder:
            holder.remove(old)
            holder.add(new)

    return put


def _in_attribute(holder: Any, name: str, real: Any, replacement: Any) -> Put:
    def put(replaced: bool) -> None:
        if _peek(holder, name) is (real if replaced else replacement) or isinstance(holder, type):
            try:
                setattr(holder, name, replacement if replaced else real)
            except (AttributeError, TypeError):
                pass  # cannot be changed, as a tuple

    return put


def _in_partial(holder: Any, real: Any, replacement: Any) -> Put:
    def put(replaced: bool) -> None:
        holder.__setstate__((replacement if replaced else real, holder.args, holder.keywords, vars(holder)))

    return put
