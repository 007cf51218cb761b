"""Which operation gave or took which name: for counterexamples, for a variable knows its directory by number only."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, NamedTuple

from untorn.crashmodel.cached_names import Tree
from untorn.crashmodel.trace import Trace
from untorn.crashmodel.variables import Variable


class Naming(NamedTuple):
    """A name that an operation gave to an inode, or took away."""

    at: int
    """The operation's index."""
    variable: Variable
    path: str
    inode: int | None


def namings(trace: Trace) -> list[Naming]:
    """All that the operations of a trace did to names, in their order."""
    tree, found = Tree(trace.image), list[Naming]()
    for index, operation in enumerate(trace.operations):
        if operation.error is not None:
            continue
        number, path = operation.inode, operation.path
        match operation.name:
            case "open" if not operation.arguments[2]:
                changes: list[tuple[str, int | None]] = []
            case "open" | "mkdir" | "symlink":
                changes = [(path, number)]
            case "unlink" | "rmdir":
                changes = [(path, None)]
            case "link":
                changes = [(operation.arguments[0], number)]
            case "rename" if tree.bound.get(tree.place(operation.arguments[0])) != number:
                changes = [(operation.arguments[0], number), (path, None)]
            case _:
                changes = []
        names = [(tree.place(one), one, inode) for one, inode in changes]
        for name, one, inode in names:
            tree.bind(name, inode)
            found.append(Naming(index, Variable("name", *name), one, inode))
    return found


def missing(history: Collection[Naming], left: dict[Variable, Any]) -> list[Naming]:
    """Of what was done to some names, what is not to be seen in the values that are ``left`` of them."""
    result = []
    for variable, value in left.items():
        done = [one for one in history if one.variable == variable]
        seen = max((at for at, one in enumerate(done) if one.inode == value), default=-1)
        result += done[seen + 1 :]
    return sorted(result)


def showing(history: Collection[Naming], left: dict[Variable, Any]) -> list[Naming]:
    """Of what was done to some names, what the values that are ``left`` of them show."""
    result = []
    for variable, value in left.items():
        result += [one for one in history if one.variable == variable and one.inode == value][-1:]
    return sorted(result)
