"""The process that is killed: ``python -m untorn.demo.writer PATH KIND SEED PAGES PAGES_EACH FIRST``.

Writes transaction FIRST and those after it, and tells the number of each one that is durable on a line of its
output. It goes on until somebody stops it or nobody listens any more.
"""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import Iterable

from untorn.api.functions import open as untorn_open
from untorn.demo.cuts import Kind
from untorn.demo.pattern import Pattern


def write_plainly(path: str, pattern: Pattern, transactions: Iterable[int]) -> None:
    """In place: pwrite for each page, fdatasync for each transaction."""
    descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        for transaction in transactions:
            for data, offset in pattern.writes(transaction):
                os.pwrite(descriptor, data, offset)
            os.fdatasync(descriptor)
            tell(transaction)
    finally:
        os.close(descriptor)


def write_untorn(path: str, pattern: Pattern, transactions: Iterable[int]) -> None:
    """The same pages through untorn, a commit for each transaction."""
    # A small log, so that some of the kills fall into a checkpoint.
    with untorn_open(path, "r+b", commit="explicit", checkpoint_bytes=8 << 20) as file:
        for transaction in transactions:
            for data, offset in pattern.writes(transaction):
                file.pwrite(data, offset)
            file.commit()
            tell(transaction)


def tell(transaction: int) -> None:
    """Acknowledges a transaction; the write to the pipe is whole, for it is short."""
    os.write(sys.stdout.fileno(), b"%d\n" % transaction)


def main(arguments: list[str]) -> int:
    path, kind, *numbers = arguments
    seed, pages, pages_each, first = map(int, numbers)
    write = write_untorn if kind == Kind.UNTORN else write_plainly
    try:
        write(path, Pattern(seed, pages, pages_each), itertools.count(first))
    except BrokenPipeError:
        return 0
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
