"""A file format of one's own: a table of accounts, in which money moves from one row to another.

    python own_format.py

The format has no journal and no checksum, for it needs none: two rows that change together are one transaction.
"""

import struct

import untorn

ROW = struct.Struct("<16sq")  # a name, and cents


def read(file: untorn.File, row: int) -> tuple[str, int]:
    """The name and the cents of an account."""
    name, cents = ROW.unpack(file.pread(ROW.size, row * ROW.size))
    return name.rstrip(b"\0").decode(), cents


def write(file: untorn.File, row: int, name: str, cents: int) -> None:
    """Changes an account in place, or adds one."""
    file.pwrite(ROW.pack(name.encode(), cents), row * ROW.size)


def move(file: untorn.File, source: int, target: int, cents: int) -> None:
    """Moves money, whatever happens: after a crash it is in one of the two accounts, and there once."""
    with file.transaction():
        name, before = read(file, source)
        write(file, source, name, before - cents)
        if before < cents:
            raise ValueError(f"{name} has only {before} cents")  # takes the row back that was written above
        name, before = read(file, target)
        write(file, target, name, before + cents)


with untorn.open("accounts.db", "w+b") as accounts:
    write(accounts, 0, "Ada", 1000)
    write(accounts, 1, "Grace", 0)

with untorn.open("accounts.db", "r+b") as accounts:
    move(accounts, 0, 1, 300)
    try:
        move(accounts, 0, 1, 5000)
    except ValueError as error:
        print("refused:", error)
    print(dict(read(accounts, row) for row in range(2)))
