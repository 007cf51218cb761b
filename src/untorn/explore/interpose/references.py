"""Finds every place that holds a real function, also under another name, and puts the replacement there.

Looked through are, in each module that is imported: its globals (``from os import rename``), the attributes of its
classes, and the default arguments of its functions and methods. What a program keeps elsewhere, such as in a list
or an instance that it made before, is caught by the audit hook if it opens, renames or removes; ``stat`` and what
takes a descriptor is not audited by Python, and finds nothing under an explored path, EBADF at an explored number.
"""

from __future__ import annotations

import sys
import types
from collections.abc import Callable, Iterator
from typing import Any

Put = Callable[[bool], None]
"""Puts the replacement in place if True, the real function back if False."""

_OURS = ("untorn.storage", "untorn.explore.interpose")


class References:
    """All references to some functions; modules imported since the last time are looked through at each ``replace``."""

    def __init__(self, replacements: dict[int, tuple[Any, Any]]) -> None:
        self._replacements = replacements
        self._modules: list[Any] = []
        self._found: dict[int, list[Put]] = {}
        """By id of a module of ``_modules``."""
        self._puts: list[Put] = []

    def replace(self) -> None:
        modules = list(sys.modules.values())
        if modules != self._modules:  # compares by identity first
            self._look_through(modules)
        for put in self._puts:
            put(True)

    def restore(self) -> None:
        for put in self._puts:
            put(False)

    def _look_through(self, modules: list[Any]) -> None:
        found: dict[int, list[Put]] = {}
        for name, module in list(sys.modules.items()):
            puts = self._found.get(id(module))
            if puts is None and hasattr(module, "__dict__") and not name.startswith(_OURS):
                puts = list(self._places(module))
            found[id(module)] = puts or []
        self._modules, self._found = modules, found
        self._puts = [put for puts in found.values() for put in puts]

    def _places(self, module: types.ModuleType) -> Iterator[Put]:
        for name, value in list(vars(module).items()):
            pair = self._replacements.get(id(value))
            if pair is not None:
                yield _in_dict(vars(module), name, *pair)
            elif isinstance(value, types.FunctionType) and value.__module__ == module.__name__:
                yield from self._defaults(value)
            elif isinstance(value, type) and value.__module__ == module.__name__:
                yield from self._attributes(value)
            elif type(value) is set:
                yield from self._members(value)

    def _members(self, owner: set[Any]) -> Iterator[Put]:
        """Of sets such as ``os.supports_dir_fd``."""
        for value in list(owner):
            if id(value) in self._replacements:
                yield _in_set(owner, *self._replacements[id(value)])

    def _attributes(self, owner: type) -> Iterator[Put]:
        for name, value in list(vars(owner).items()):
            inner = value.__func__ if isinstance(value, staticmethod | classmethod) else value
            pair = self._replacements.get(id(inner))
            if pair is not None:
                yield _in_class(owner, name, value, type(value)(pair[1]) if inner is not value else pair[1])
            elif isinstance(inner, types.FunctionType):
                yield from self._defaults(inner)

    def _defaults(self, function: types.FunctionType) -> Iterator[Put]:
        real = function.__defaults__ or ()
        if any(id(value) in self._replacements for value in real):
            changed = tuple(self._replacements.get(id(value), (None, value))[1] for value in real)
            yield _in_defaults(function, real, changed)
        for name, value in (function.__kwdefaults__ or {}).items():
            if id(value) in self._replacements:
                yield _in_dict(function.__kwdefaults__ or {}, name, *self._replacements[id(value)])


def _in_dict(owner: dict[str, Any], name: str, real: Any, replacement: Any) -> Put:
    def put(replaced: bool) -> None:
        old, new = (real, replacement) if replaced else (replacement, real)
        if owner.get(name) is old:  # the program may have changed it itself
            owner[name] = new

    return put


def _in_class(owner: type, name: str, real: Any, replacement: Any) -> Put:
    def put(replaced: bool) -> None:
        setattr(owner, name, replacement if replaced else real)

    return put


def _in_set(owner: set[Any], real: Any, replacement: Any) -> Put:
    def put(replaced: bool) -> None:
        old, new = (real, replacement) if replaced else (replacement, real)
        if old in owner:
            owner.remove(old)
            owner.add(new)

    return put


def _in_defaults(function: types.FunctionType, real: tuple[Any, ...], changed: tuple[Any, ...]) -> Put:
    def put(replaced: bool) -> None:
        function.__defaults__ = changed if replaced else real

    return put
