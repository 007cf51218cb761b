"""What docs/libraries.md says of each library is what happens."""

from __future__ import annotations

import ast
import csv
import gzip
import io
import json
import pickle
import re
import shutil
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import h5py
import joblib
import numpy
import pandas
import pyarrow
import pytest
import tifffile
from pyarrow import parquet

import untorn
from tests.libraries.works import grid, noise

DOCUMENT: Final = Path(__file__).parents[2] / "docs" / "libraries.md"

Stop = Callable[[], object]
"""Called in mid-work; it may raise."""


class Stopped(Exception):
    """What goes wrong in mid-work."""


class Stopping:
    """A value that calls ``stop`` when a library turns it into bytes or text."""

    def __init__(self, stop: Stop) -> None:
        self._stop = stop

    def __reduce__(self) -> tuple[Any, ...]:
        self._stop()
        return int, (7,)

    def __str__(self) -> str:
        self._stop()
        return "7"


def _h5py(file: Any, stop: Stop) -> None:
    with h5py.File(file, "w") as archive:
        archive["first"] = grid(1)
        stop()
        archive["second"] = grid(2)


def _zipfile(file: Any, stop: Stop) -> None:
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("first", noise(9_000, 1))
        stop()
        archive.writestr("second", noise(9_000, 2))


def _tarfile(file: Any, stop: Stop) -> None:
    with tarfile.open(fileobj=file, mode="w") as archive:
        for name in ("first", "second"):
            member = tarfile.TarInfo(name)
            member.size = 9_000
            archive.addfile(member, io.BytesIO(noise(9_000, 1)))
            stop()


def _gzip(file: Any, stop: Stop) -> None:
    with gzip.GzipFile(fileobj=file, mode="wb") as stream:
        stream.write(noise(90_000, 1))
        stop()
        stream.write(noise(90_000, 2))


def _tifffile(file: Any, stop: Stop) -> None:
    with tifffile.TiffWriter(file) as writer:
        writer.write(grid(1))
        stop()
        writer.write(grid(2))


def _parquet(file: Any, stop: Stop) -> None:
    table = pyarrow.table({"number": grid(1)[0]})
    with parquet.ParquetWriter(file, table.schema) as writer:
        writer.write_table(table)
        stop()
        writer.write_table(table)


def _save(file: Any, stop: Stop) -> None:
    numpy.save(file, grid(1))
    stop()
    numpy.save(file, grid(2))


def _savez(file: Any, stop: Stop) -> None:
    numpy.savez(file, first=grid(1), second=numpy.array([Stopping(stop)], dtype=object))


def _pickle(file: Any, stop: Stop) -> None:
    pickle.dump([noise(200_000, 1), Stopping(stop), noise(200_000, 2)], file)


def _joblib(file: Any, stop: Stop) -> None:
    joblib.dump([grid(1), Stopping(stop), grid(2)], file)


def _to_csv(file: Any, stop: Stop) -> None:
    frame = pandas.DataFrame({"number": [1, 2, 3, 4], "value": [5, 6, Stopping(stop), 8]}, dtype=object)
    frame.to_csv(file, chunksize=1)


def _json(file: Any, stop: Stop) -> None:
    def default(value: object) -> str:
        return str(value)

    json.dump([list(range(30_000)), Stopping(stop), 1], file, default=default)


def _csv(file: Any, stop: Stop) -> None:
    csv.writer(file).writerows([index, Stopping(stop) if index == 2_000 else index] for index in range(3_000))


def _copy(file: Any, stop: Stop) -> None:
    class Source(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            if self.tell() == 40_000:
                stop()
            return super().read(size)

    shutil.copyfileobj(Source(noise(80_000, 1)), file, 10_000)


Use = tuple[str, Callable[[Any, Stop], None]]

USES: Final[dict[str, Use]] = {
    "h5py": ("w+b", _h5py),
    "zipfile": ("w+b", _zipfile),
    "tarfile": ("w+b", _tarfile),
    "gzip": ("wb", _gzip),
    "tifffile": ("w+b", _tifffile),
    "pyarrow.parquet": ("wb", _parquet),
    "numpy.save": ("wb", _save),
    "numpy.savez": ("wb", _savez),
    "pickle": ("wb", _pickle),
    "joblib": ("wb", _joblib),
    "pandas.to_csv, text": ("w", _to_csv),
    "pandas.to_csv, binary": ("wb", _to_csv),
    "json": ("w", _json),
    "csv": ("w", _csv),
    "shutil.copyfileobj": ("wb", _copy),
}

OLD: Final = b"what was there before\n" * 2_000


def rows() -> dict[str, dict[str, str]]:
    """The document's table, by library and heading."""
    lines = [line for line in DOCUMENT.read_text(encoding="utf-8").splitlines() if line.startswith("|")]
    table = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {row[0]: dict(zip(table[0], row, strict=True)) for row in table[2:]}


def commits_at(path: Path, use: Use) -> str:
    """Whether the library flushes in mid-work, at its own end, or never."""
    mode, work = use
    midway: list[int] = []
    with untorn.open(path, mode) as file:
        work(file, lambda: midway.append(file.stats()["commits"]))
        commits = file.stats()["commits"]
    assert midway, "the work was not stopped"
    return "each step" if midway[-1] else "its end" if commits else "`close`"


def after_exception(path: Path, use: Use, commit: Any, *, transaction: bool = False) -> str:
    """What is in the file after an exception left both the library's ``with`` and untorn's."""
    mode, work = use
    path.write_bytes(OLD)

    def stop() -> None:
        raise Stopped

    with pytest.raises(Stopped), untorn.open(path, mode, commit=commit) as file:
        if transaction:
            with file.transaction():
                work(file, stop)
        else:
            work(file, stop)
    return "old" if path.read_bytes() == OLD else "half"


def test_the_table_has_a_row_for_each_library() -> None:
    assert list(rows()) == list(USES)


@pytest.mark.filterwarnings("ignore:.*implicitly cleaning up:ResourceWarning")
@pytest.mark.parametrize("name", USES)
def test_the_row_says_when_the_library_commits_and_what_an_exception_does(tmp_path: Path, name: str) -> None:
    path = tmp_path / "data"
    row = rows()[name]
    assert row["commits at"] == commits_at(path, USES[name])
    assert row["an exception inside leaves"] == after_exception(path, USES[name], "flush")
    best = re.match(r"`(\w+)`", row["choose"])
    assert best is not None
    assert after_exception(path, USES[name], best[1]) == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", USES)
def test_an_exception_leaves_the_old_file_in_the_other_modes_and_in_a_transaction(tmp_path: Path, name: str) -> None:
    path = tmp_path / "data"
    for commit in ("close", "explicit"):
        assert after_exception(path, USES[name], commit) == "old"
    assert after_exception(path, USES[name], "flush", transaction=True) == "old"


@pytest.mark.parametrize("name", USES)
def test_control_an_exception_leaves_half_a_plain_file(tmp_path: Path, name: str) -> None:
    path = tmp_path / "data"
    path.write_bytes(OLD)
    mode, work = USES[name]

    def stop() -> None:
        raise Stopped

    with pytest.raises(Stopped), open(path, mode) as file:
        work(file, stop)
    assert path.read_bytes() != OLD


def test_transactions_around_a_library_are_commits_of_their_own(tmp_path: Path) -> None:
    path = tmp_path / "data"
    commits = []
    with pytest.raises(Stopped), untorn.open(path, "w+b") as file:
        for step in range(3):
            with file.transaction(), h5py.File(file, "a" if step else "w") as archive:
                archive[f"step{step}"] = grid(step)
                archive.flush()
                if step == 2:
                    raise Stopped
            commits.append(file.stats()["commits"])
    assert commits == [1, 2]
    with h5py.File(path) as archive:
        assert sorted(archive) == ["step0", "step1"]
        assert (archive["step1"][...] == grid(1)).all()


def _tests() -> Iterator[str]:
    for path in Path(__file__).parent.glob("test_*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                yield node.name


def test_every_test_that_the_document_names_is_there() -> None:
    named = set(re.findall(r"\btest_\w+", DOCUMENT.read_text(encoding="utf-8")))
    modules = {path.stem for path in Path(__file__).parent.glob("test_*.py")}
    assert named
    assert named <= set(_tests()) | modules
    for name, row in rows().items():
        assert "test_" in row["tests"], name
