"""Programs of ``open`` and the buffers below it."""

from __future__ import annotations

import io
import os
import warnings
from pathlib import Path
from typing import Any

from tests.explore.interpose.programs import PROGRAMS, attempt, attempts, program


def _modes(directory: Path, kind: str, *, present: bool) -> Any:
    found = []
    for mode in ("r", "r+", "w", "w+", "a", "a+", "x", "x+"):
        path = directory / f"{mode}{kind}"
        if present:
            path.write_bytes(b"first\r\nsecond\nthird\n")

        def use(path: Path = path, mode: str = mode) -> Any:
            data: Any = b"new\n" if kind == "b" else "new\n"
            seen: list[Any] = []
            with open(path, mode + kind) as file:
                seen += [file.mode, file.readable(), file.writable(), file.seekable(), file.tell()]
                seen.append(attempt(lambda: file.read(3)))
                seen.append(attempt(lambda: file.write(data)))
                seen += [file.tell(), attempt(lambda: file.seek(0)), attempt(file.readlines)]
                seen += [attempt(lambda: file.seek(0, 2)), attempt(lambda: file.truncate(7)), file.tell(), file.name]
            return [*seen, file.closed, attempt(file.read)]

        found.append(attempt(use))
    return found


for kind in ("", "b"):
    for present in (False, True):
        label = f"open_{'binary' if kind else 'text'}_{'present' if present else 'missing'}"
        PROGRAMS[label] = lambda directory, kind=kind, present=present: _modes(directory, kind, present=present)  # type: ignore[misc]


@program
def open_refuses_what_open_refuses(directory: Path) -> Any:
    path = directory / "a"
    return attempts(
        [
            lambda: open(path, "rw"),  # noqa: PLW1501
            lambda: open(path, "b"),  # noqa: PLW1501
            lambda: open(path, "rbt"),  # noqa: PLW1501
            lambda: open(path, "q"),  # noqa: PLW1501
            lambda: open(path, "wb", encoding="utf-8"),
            lambda: open(path, "w", buffering=0),
            lambda: open(path, "rb", newline=""),
            lambda: open(path, closefd=False),
            lambda: open(directory),
            lambda: open(directory, "w"),
            lambda: open(path / "below"),
            lambda: open(directory / ("n" * 300), "w"),
            lambda: open(os.fspath(path) + "\0", "w"),
            lambda: open(os.fspath(directory) + "/"),
        ]
    )


@program
def buffers_hold_back_as_much(directory: Path) -> Any:
    sizes = []
    for buffering in (-1, 0, 1, 2, 100, 5000, 65536):
        path = directory / f"f{buffering}"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            file = open(path, "wb", buffering=buffering)  # noqa: SIM115
        with file:
            for length in (1, 10, 4000, 4096, 4097, 100, 9000, 3, 20000):
                file.write(bytes(length))
                sizes.append(os.path.getsize(path))
            file.flush()
            sizes.append(os.stat(path).st_size)
    return sizes


@program
def text_is_held_back_as_much(directory: Path) -> Any:
    sizes = []
    for buffering in (-1, 1, 100, 9000):
        for newline in (None, "", "\r\n"):
            with open(directory / f"t{buffering}{newline!r}", "w", buffering, "utf-16", newline=newline) as file:
                for length in (1, 5, 3000, 8191, 1, 8192, 20000):
                    file.write("\xe9" * length)
                    sizes.append(os.fstat(file.fileno()).st_size)
                    file.write("\n")
                    sizes.append(os.fstat(file.fileno()).st_size)
    return sizes


@program
def text_positions(directory: Path) -> Any:
    path = directory / "t"
    path.write_text("één\nzwei\nthree\n" * 400, encoding="utf-8")
    seen: list[Any] = []
    with open(path, "r+", encoding="utf-8") as file:
        seen += [file.readline(), file.tell(), file.read(5), file.tell()]
        mark = file.tell()
        seen += [len(file.read()), file.seek(mark), file.readline()]
        file.seek(0, io.SEEK_END)
        file.write("tail")
        seen += [file.tell(), attempt(lambda: file.seek(1, io.SEEK_CUR))]
        file.seek(0)
        seen += [list(file)[-1], file.encoding, file.errors, file.newlines, file.line_buffering, file.isatty()]
    return seen


@program
def reads_and_writes_mixed(directory: Path) -> Any:
    seen: list[Any] = []
    with open(directory / "m", "w+b") as file:
        file.write(bytes(range(256)) * 64)
        file.seek(100)
        seen += [file.read(10), file.peek(4)[:4], file.read1(7), file.tell()]
        file.write(b"----")
        seen.append(file.read(6))
        buffer = bytearray(5000)
        seen += [file.readinto(buffer), bytes(buffer[:8])]
        file.seek(-3, io.SEEK_END)
        seen += [file.read(), file.seek(20000), file.write(b"far"), file.truncate(), file.tell()]
        file.seek(16380)
        seen.append(file.read())
    return seen


@program
def unbuffered(directory: Path) -> Any:
    seen: list[Any] = []
    with open(directory / "r", "w+b", buffering=0) as raw:
        seen += [raw.write(b"0123456789"), raw.seek(2), raw.read(3), raw.readall(), raw.tell(), raw.mode, repr(raw)]
        seen += [raw.truncate(4), raw.seek(0, 2), isinstance(raw, io.RawIOBase), isinstance(raw, io.IOBase)]
        buffer = bytearray(10)
        raw.seek(0)
        seen += [raw.readinto(buffer), bytes(buffer), raw.closefd]
    return [*seen, raw.closed, attempt(lambda: raw.read(1)), attempt(raw.fileno)]


@program
def appends_go_to_the_end(directory: Path) -> Any:
    path = directory / "log"
    with open(path, "ab") as one, open(path, "ab") as other:
        one.write(b"one")
        one.flush()
        other.write(b"other")
        other.flush()
        one.write(b"again")
        one.flush()
        seen = [one.tell(), other.tell()]
    with open(path, "a+b") as file:
        seen += [file.tell(), file.seek(0), file.read(3), file.write(b"!"), file.tell()]  # type: ignore[list-item]
    return seen, path.read_bytes()


@program
def openers(directory: Path) -> Any:
    def opener(path: str, flags: int) -> int:
        return os.open(directory / "opened", flags, 0o600)

    with open("whatever", "w", opener=opener) as file:
        file.write("by an opener")
        name = file.name
    with open(os.devnull, "rb", opener=os.open) as void:
        nothing = void.read()
    return name, nothing, oct((directory / "opened").stat().st_mode)


@program
def by_descriptor(directory: Path) -> Any:
    number = os.open(directory / "f", os.O_RDWR | os.O_CREAT, 0o640)
    with open(number, "w+", closefd=False) as file:
        file.write("text")
    seen: list[Any] = [os.lseek(number, 0, os.SEEK_CUR), os.pread(number, 10, 0)]
    with os.fdopen(number, "rb") as again:
        seen += [again.read(), again.seek(1), again.read(2)]
    seen += [attempt(lambda: os.read(number, 1)), attempt(lambda: os.close(number)), attempt(lambda: open(number))]  # noqa: SIM115
    return seen


@program
def left_to_the_reference_count(directory: Path) -> Any:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        open(directory / "left", "w").write("flushed when it goes")  # noqa: SIM115
    return [type(w.message).__name__ for w in caught], (directory / "left").read_text()
