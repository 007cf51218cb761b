"""Finds every place that holds a real function, also under another name, and puts the replacement there.

Looked through are, in each module that is imported: its globals (``from os import rename``), the attributes of its
classes, and the default arguments of its functions and methods; then whatever else Python can list (:mod:`.holders`).
What is missed is caught by the audit hook if it opens, renames or removes, and by the watch over the explored
directory if it takes a path.
"""

from __future__ import annotations

import sys
import types
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import chain
from typing import Any, NamedTuple

from untorn.explore.interpose.function_holders import Holders, Put

_OURS = ("untorn.storage", "untorn.crashmodel", "untorn.explore.interpose")


class Slot(NamedTuple):
    """A name in a namespace, or a default argument by name."""

    owner: dict[str, Any]
    name: str
    real: Any
    replacement: Any


class Members(NamedTuple):
    """Functions in a set such as ``os.supports_dir_fd``."""

    owner: set[Any]
    real: frozenset[Any]
    replacements: frozenset[Any]


class Places:
    """Where the functions of one module, or of all, are held."""

    def __init__(self) -> None:
        self.slots: list[Slot] = []
        self.members: list[Members] = []
        self.puts: list[Put] = []

    def extend(self, other: Places) -> None:
        self.slots += other.slots
        self.members += other.members
        self.puts += other.puts


class References:
    """All references to some functions; modules imported since the last time are looked through at each ``replace``."""

    def __init__(self, replacements: dict[int, tuple[Any, Any]]) -> None:
        self._replacements = replacements
        self._modules: list[Any] = []
        self._found: dict[int, Places] = {}
        """By id of a module of ``_modules``."""
        self._all = Places()
        self._holders = Holders(replacements, _OURS)
        self._elsewhere: list[Put] = []
        self._replaced = False
        self._keepers = 0

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Replacements stay until the end of the block: for many runs one after the other."""
        self._keepers += 1
        try:
            yield
        finally:
            self._keepers -= 1
            self.restore()

    def replace(self, *, thoroughly: bool) -> None:
        """``thoroughly``: also look for holders that no new module made."""
        modules = list(sys.modules.values())
        new = modules != self._modules  # compares by identity first
        if self._replaced:
            if not new and not thoroughly:
                return
            self._restore()
        if new:
            self._look_through(modules)
        if new or (thoroughly and self._holders.has_changed()):
            self._elsewhere = []
            self._elsewhere = self._holders.find(self._known())
            self._holders.has_changed()  # what was found holds them, too
        self._replaced = True
        for put in self._elsewhere:
            put(True)
        for owner, name, real, replacement in self._all.slots:
            if owner.get(name) is real:  # the program may have changed it itself
                owner[name] = replacement
        for members, reals, replacements in self._all.members:
            members.difference_update(reals)
            members.update(replacements)
        for put in self._all.puts:
            put(True)

    def restore(self) -> None:
        if self._replaced and not self._keepers:
            self._restore()

    def _restore(self) -> None:
        self._replaced = False
        for owner, name, real, replacement in self._all.slots:
            if owner.get(name) is replacement:
                owner[name] = real
        for members, reals, replacements in self._all.members:
            members.difference_update(replacements)
            members.update(reals)
        for put in (*self._all.puts, *self._elsewhere):
            put(False)

    def _known(self) -> set[int]:
        """The ids of the namespaces and sets that are dealt with, and of what deals with them."""
        slots = (id(slot.owner) for slot in self._all.slots)
        ours: Iterable[Any] = (getattr(put, "__closure__", ()) for put in self._all.puts)
        return {*slots, *(id(found.owner) for found in self._all.members), *map(id, chain.from_iterable(ours))}

    def _look_through(self, modules: list[Any]) -> None:
        found: dict[int, Places] = {}
        self._all = Places()
        for name, module in list(sys.modules.items()):
            places = self._found.get(id(module))
            if places is None:
                places = Places()
                if hasattr(module, "__dict__") and not name.startswith(_OURS):
                    self._collect(module, places)
            found[id(module)] = places
            self._all.extend(places)
        self._modules, self._found = modules, found

    def _collect(self, module: types.ModuleType, places: Places) -> None:
        names, title = vars(module), getattr(module, "__name__", None)
        for name, value in list(names.items()):
            pair = self._replacements.get(id(value))
            if pair is not None:
                places.slots.append(Slot(names, name, *pair))
            elif isinstance(value, types.FunctionType) and value.__module__ == title:
                self._defaults(value, places)
            elif isinstance(value, type) and value.__module__ == title:
                self._attributes(value, places)
            elif type(value) is set:
                pairs = [self._replacements[id(member)] for member in value if id(member) in self._replacements]
                if pairs:
                    reals, replacements = (frozenset(kind) for kind in zip(*pairs, strict=True))
                    places.members.append(Members(value, reals, replacements))

    def _attributes(self, owner: type, places: Places) -> None:
        for name, value in list(vars(owner).items()):
            inner = value.__func__ if isinstance(value, staticmethod | classmethod) else value
            pair = self._replacements.get(id(inner))
            if pair is not None:
                changed = type(value)(pair[1]) if inner is not value else pair[1]
                places.puts.append(_in_class(owner, name, value, changed))
            elif isinstance(inner, types.FunctionType):
                self._defaults(inner, places)

    def _defaults(self, function: types.FunctionType, places: Places) -> None:
        real = function.__defaults__ or ()
        if any(id(value) in self._replacements for value in real):
            changed = tuple(self._replacements.get(id(value), (None, value))[1] for value in real)
            places.puts.append(_in_defaults(function, real, changed))
        named = function.__kwdefaults__ or {}
        places.slots += [
            Slot(named, name, *self._replacements[id(value)])
            for name, value in named.items()
            if id(value) in self._replacements
        ]


def _in_class(owner: type, name: str, real: Any, replacement: Any) -> Put:
    def put(replaced: bool) -> None:
        setattr(owner, name, replacement if replaced else real)

    return put


def _in_defaults(function: types.FunctionType, real: tuple[Any, ...], changed: tuple[Any, ...]) -> Put:
    def put(replaced: bool) -> None:
        function.__defaults__ = changed if replaced else real

    return put
