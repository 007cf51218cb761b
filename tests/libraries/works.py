"""What people do with files through each library: one write, one read, on any ``open``.

A work is called with ``builtins.open`` and with ``untorn.open``, so that the results can be compared. What it
writes is the same every time: times and names that a library would put into the file are fixed.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import pickle
import shutil
import tarfile
import zipfile
from collections.abc import Callable
from typing import Any, Final, NamedTuple

import h5py
import joblib
import numpy
import pandas
import pyarrow
import tifffile
from pyarrow import parquet

from tests.libraries.sessions import timeless_group

Open = Callable[..., Any]


class Work(NamedTuple):
    """``write`` makes or changes the file at a path, ``read`` gives its content as values that compare."""

    write: Callable[[Open, str], object]
    read: Callable[[Open, str], object]
    before: Callable[[Open, str], object] | None = None
    """What made the file that ``write`` changes, None if it makes a new one."""


def noise(length: int, seed: int) -> bytes:
    """Bytes that do not compress, the same every time."""
    return numpy.random.default_rng(seed).bytes(length)


def grid(seed: int, rows: int = 64, columns: int = 64) -> numpy.ndarray[Any, numpy.dtype[numpy.int32]]:
    """A picture or table of numbers, the same every time."""
    return numpy.random.default_rng(seed).integers(0, 1 << 30, (rows, columns), dtype=numpy.int32)


# h5py


def _h5py_create(open_: Open, path: str, libver: str | None = None) -> None:
    with open_(path, "w+b") as file, h5py.File(file, "w", libver=libver) as archive:
        archive.attrs["title"] = "first"
        for index in range(3):
            timeless_group(archive, f"run{index}")
            archive[f"run{index}/values"] = grid(index)
        archive.create_dataset("log", data=grid(9), maxshape=(None, 64), chunks=(16, 64), compression="gzip")


def _h5py_edit(open_: Open, path: str) -> None:
    with open_(path, "r+b") as file, h5py.File(file, "r+") as archive:
        archive["run0/values"][5:9] = 7
        del archive["run1"]
        archive["run3/values"] = grid(3)
        archive.flush()
        archive["run2"].attrs["note"] = "edited"


def _h5py_append(open_: Open, path: str, libver: str | None = None) -> None:
    with open_(path, "r+b") as file, h5py.File(file, "a", libver=libver) as archive:
        log = archive["log"]
        log.resize(96, axis=0)
        log[64:] = 11


def h5py_content(archive: h5py.File) -> dict[str, object]:
    """Every dataset and attribute by name."""
    content: dict[str, object] = {f"@{key}": str(value) for key, value in archive.attrs.items()}

    def visit(name: str, found: h5py.Group | h5py.Dataset) -> None:
        content[name] = found[...].tolist() if isinstance(found, h5py.Dataset) else "group"
        content.update({f"{name}@{key}": str(value) for key, value in found.attrs.items()})

    archive.visititems(visit)
    return content


def _h5py_read(open_: Open, path: str) -> object:
    with open_(path, "rb") as file, h5py.File(file, "r") as archive:
        return h5py_content(archive)


# Archives and compressed files


def _zip_member(name: str) -> zipfile.ZipInfo:
    return zipfile.ZipInfo(name, (2026, 1, 2, 3, 4, 6))


def _zip_write(open_: Open, path: str, mode: str = "w+b", action: Any = "w") -> None:
    with open_(path, mode) as file, zipfile.ZipFile(file, action) as archive:
        archive.writestr(_zip_member(f"{action}/text"), b"untorn " * 500, zipfile.ZIP_DEFLATED)
        with archive.open(_zip_member(f"{action}/noise"), "w") as member:
            member.write(noise(20_000, 1))
            member.write(noise(3_000, 2))


def _zip_read(open_: Open, path: str) -> object:
    with open_(path, "rb") as file, zipfile.ZipFile(file) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def _tar_write(open_: Open, path: str, mode: str = "w+b", action: Any = "w") -> None:
    with open_(path, mode) as file, tarfile.open(fileobj=file, mode=action) as archive:
        for index in range(2):
            member = tarfile.TarInfo(f"{action}/{index}")
            member.size = 7_000
            archive.addfile(member, io.BytesIO(noise(7_000, index)))


def _tar_read(open_: Open, path: str) -> object:
    with open_(path, "rb") as file, tarfile.open(fileobj=file) as archive:
        return {member.name: _extracted(archive, member) for member in archive.getmembers()}


def _extracted(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = archive.extractfile(member)
    assert file is not None
    return file.read()


def _gzip_write(open_: Open, path: str, mode: str = "wb") -> None:
    with open_(path, mode) as file, gzip.GzipFile(filename="", mode=mode, fileobj=file, mtime=0) as stream:
        stream.write(b"first " * 3_000)
        stream.write(noise(5_000, 3))


def _gzip_read(open_: Open, path: str) -> object:
    with open_(path, "rb") as file, gzip.GzipFile(fileobj=file) as stream:
        return stream.read()


# Pictures and tables


def _tiff_write(open_: Open, path: str) -> None:
    with open_(path, "w+b") as file, tifffile.TiffWriter(file) as writer:
        writer.write(grid(1), description="first")


def _tiff_append(open_: Open, path: str) -> None:
    with open_(path, "r+b") as file, tifffile.TiffWriter(file, append=True) as writer:
        for index in range(3):
            writer.write(grid(index, 40, 50))


def _tiff_read(open_: Open, path: str) -> object:
    with open_(path, "rb") as file, tifffile.TiffFile(file) as picture:
        return [page.asarray().tolist() for page in picture.pages]


def _frame() -> pandas.DataFrame:
    return pandas.DataFrame({"number": grid(4, 500, 1)[:, 0], "name": [f"row {i} ü" for i in range(500)]})


def _parquet_write(open_: Open, path: str) -> None:
    with open_(path, "wb") as file:
        parquet.write_table(pyarrow.Table.from_pandas(_frame()), file, row_group_size=200)


def _parquet_stream(open_: Open, path: str) -> None:
    table = pyarrow.Table.from_pandas(_frame())
    with open_(path, "wb") as file, parquet.ParquetWriter(file, table.schema) as writer:
        for start in range(0, 500, 100):
            writer.write_table(table.slice(start, 100))


def _parquet_read(open_: Open, path: str) -> object:
    with open_(path, "rb") as file:
        return parquet.read_table(file).to_pydict()


def _csv_of_pandas(open_: Open, path: str) -> None:
    with open_(path, "w", encoding="utf-8", newline="") as file:
        _frame().to_csv(file, index=False)


def _csv_of_pandas_binary(open_: Open, path: str) -> None:
    with open_(path, "wb") as file:
        _frame().to_csv(file, index=False)


def _csv_read_by_pandas(open_: Open, path: str) -> object:
    with open_(path, "rb") as file:
        return pandas.read_csv(file).to_dict("list")


# Values


def _numpy_save(open_: Open, path: str) -> None:
    with open_(path, "wb") as file:
        numpy.save(file, grid(5))
        numpy.save(file, numpy.asfortranarray(grid(6)))


def _numpy_load(open_: Open, path: str) -> object:
    with open_(path, "rb") as file:
        return [numpy.load(file).tolist() for _ in range(2)]


def _numpy_savez(open_: Open, path: str) -> None:
    with open_(path, "wb") as file:
        numpy.savez(file, first=grid(5), second=grid(6))


def _numpy_savez_compressed(open_: Open, path: str) -> None:
    with open_(path, "wb") as file:
        numpy.savez_compressed(file, first=grid(5), second=grid(6))


def _numpy_loadz(open_: Open, path: str) -> object:
    with open_(path, "rb") as file, numpy.load(file) as archive:
        return {name: archive[name].tolist() for name in archive.files}


VALUES: Final = {"noise": noise(9_000, 7), "numbers": list(range(2_000)), "nested": {"a": [1.5, None, "ü"]}}


def _pickle_dump(open_: Open, path: str) -> None:
    with open_(path, "wb") as file:
        pickle.dump(VALUES, file)


def _pickle_buffers(open_: Open, path: str) -> None:
    with open_(path, "wb") as file:
        pickle.dump([grid(8, 200, 200), grid(9)], file, protocol=5)


def _pickle_load(open_: Open, path: str) -> object:
    with open_(path, "rb") as file:
        value = pickle.load(file)
    return [array.tolist() for array in value] if isinstance(value, list) else value


def _joblib_dump(open_: Open, path: str) -> None:
    with open_(path, "wb") as file:
        joblib.dump({"array": grid(8), "values": VALUES}, file)


def _joblib_load(open_: Open, path: str) -> object:
    with open_(path, "rb") as file:
        value = joblib.load(file)
    return value["array"].tolist(), value["values"]


def _copy(open_: Open, path: str) -> None:
    with open_(path, "wb") as file:
        shutil.copyfileobj(io.BytesIO(noise(150_000, 10)), file, 10_000)


def _read_all(open_: Open, path: str) -> object:
    with open_(path, "rb") as file:
        target = io.BytesIO()
        shutil.copyfileobj(file, target, 7_000)
        return target.getvalue()


def _json_dump(open_: Open, path: str) -> None:
    with open_(path, "w", encoding="utf-8") as file:
        json.dump({"numbers": VALUES["numbers"], "text": "zwölf\n" * 300}, file, ensure_ascii=False, indent=1)


def _json_load(open_: Open, path: str) -> object:
    with open_(path, encoding="utf-8") as file:
        return json.load(file)


def _csv_write(open_: Open, path: str) -> None:
    with open_(path, "w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([index, f'said "{index}"', "two\nlines"] for index in range(400))


def _csv_append(open_: Open, path: str) -> None:
    with open_(path, "a", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([index, "later", ""] for index in range(50))


def _csv_read(open_: Open, path: str) -> object:
    with open_(path, encoding="utf-8", newline="") as file:
        return list(csv.reader(file))


def _h5py_create_latest(open_: Open, path: str) -> None:
    _h5py_create(open_, path, "latest")


def _h5py_append_latest(open_: Open, path: str) -> None:
    _h5py_append(open_, path, "latest")


def _zip_append(open_: Open, path: str) -> None:
    _zip_write(open_, path, "r+b", "a")


def _tar_append(open_: Open, path: str) -> None:
    _tar_write(open_, path, "r+b", "a")


def _gzip_append(open_: Open, path: str) -> None:
    _gzip_write(open_, path, "ab")


WORKS: Final = {
    "h5py create": Work(_h5py_create, _h5py_read),
    "h5py r+": Work(_h5py_edit, _h5py_read, _h5py_create),
    "h5py append": Work(_h5py_append, _h5py_read, _h5py_create),
    "h5py create libver=latest": Work(_h5py_create_latest, _h5py_read),
    "h5py append libver=latest": Work(_h5py_append_latest, _h5py_read, _h5py_create_latest),
    "zipfile w": Work(_zip_write, _zip_read),
    "zipfile w over an old one": Work(_zip_write, _zip_read, _copy),
    "zipfile a": Work(_zip_append, _zip_read, _zip_write),
    "tarfile w": Work(_tar_write, _tar_read),
    "tarfile a": Work(_tar_append, _tar_read, _tar_write),
    "gzip w": Work(_gzip_write, _gzip_read),
    "gzip a": Work(_gzip_append, _gzip_read, _gzip_write),
    "tifffile w": Work(_tiff_write, _tiff_read),
    "tifffile append": Work(_tiff_append, _tiff_read, _tiff_write),
    "pyarrow parquet": Work(_parquet_write, _parquet_read),
    "pyarrow ParquetWriter": Work(_parquet_stream, _parquet_read),
    "pandas to_csv text": Work(_csv_of_pandas, _csv_read_by_pandas),
    "pandas to_csv binary": Work(_csv_of_pandas_binary, _csv_read_by_pandas),
    "numpy save": Work(_numpy_save, _numpy_load),
    "numpy savez": Work(_numpy_savez, _numpy_loadz),
    "numpy savez_compressed": Work(_numpy_savez_compressed, _numpy_loadz),
    "pickle": Work(_pickle_dump, _pickle_load),
    "pickle of arrays": Work(_pickle_buffers, _pickle_load),
    "joblib": Work(_joblib_dump, _joblib_load),
    "shutil.copyfileobj": Work(_copy, _read_all),
    "json": Work(_json_dump, _json_load),
    "csv w": Work(_csv_write, _csv_read),
    "csv a": Work(_csv_append, _csv_read, _csv_write),
}
