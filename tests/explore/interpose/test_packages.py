"""Packages that know nothing of us run through the interposer, and their trace says what they do and do not sync."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import diskcache
import pytest
import tinydb
import transaction
import ZODB
import ZODB.FileStorage
from BTrees.OOBTree import OOBTree

import untorn
from tests.explore.interpose.twins import explored, really
from untorn.crashmodel.storage import SimulatedStorage
from untorn.crashmodel.trace import Operation
from untorn.explore.interpose import Interposer


def tiny_database(directory: Path) -> Any:
    with tinydb.TinyDB(directory / "db.json") as database:
        database.insert_multiple([{"name": "a", "size": 1}, {"name": "b", "size": 2}])
        database.update({"size": 3}, tinydb.where("name") == "a")
        database.remove(tinydb.where("size") == 2)
    with tinydb.TinyDB(directory / "db.json") as database:
        return database.all()


def object_database(directory: Path) -> Any:
    path = os.fspath(directory / "Data.fs")
    database = ZODB.DB(ZODB.FileStorage.FileStorage(path))
    connection = database.open()
    connection.root()["tree"] = OOBTree()
    transaction.commit()
    for number in range(3):
        connection.root()["tree"][number] = str(number) * 100
        transaction.commit()
    connection.close()
    database.pack()
    database.close()
    database = ZODB.DB(ZODB.FileStorage.FileStorage(path, read_only=True))
    connection = database.open()
    found = dict(connection.root()["tree"])
    connection.close()
    database.close()
    sizes = {name: os.path.getsize(directory / name) for name in sorted(os.listdir(directory))}
    for name in sizes:  # they hold the present and the process number
        os.unlink(directory / name)
    return found, {name: size for name, size in sizes.items() if name != "Data.fs.lock"}


def cached_values(directory: Path) -> Any:
    disk = diskcache.Disk(os.fspath(directory))
    size, mode, name, value = disk.store(b"x" * 100_000, False)
    fetched = disk.fetch(mode, name, value, False)
    disk.remove(name)
    return size, mode, len(name), value, fetched


PACKAGES = {"TinyDB": tiny_database, "ZODB": object_database, "diskcache": cached_values}


@pytest.mark.parametrize("name", PACKAGES)
def test_a_package_does_the_same_as_in_a_real_directory(name: str, tmp_path: Path) -> None:
    expected = really(PACKAGES[name], tmp_path / "real")
    assert expected.error is None
    assert explored(PACKAGES[name]) == expected


def traced(program: Callable[[Path], Any]) -> list[Operation]:
    storage = SimulatedStorage()
    with Interposer(storage) as directory:
        program(directory)
    return storage.trace.operations


def calls(operations: list[Operation], *names: str) -> list[tuple[str, str]]:
    return [(o.name, os.path.basename(o.path)) for o in operations if o.name in names]


@pytest.mark.parametrize("name", PACKAGES)
def test_a_package_leaves_the_same_trace_every_time(name: str) -> None:
    one, other = traced(PACKAGES[name]), traced(PACKAGES[name])
    assert [(o.name, o.path, o.arguments) for o in one] == [(o.name, o.path, o.arguments) for o in other]


def test_zodb_renames_a_packed_file_that_it_never_synced() -> None:
    """The defect that crash-testing ZODB on real file systems found, as the trace shows it."""
    found = calls(traced(object_database), "pwritev", "fsync", "rename")
    packed = [at for at, call in enumerate(found) if call == ("rename", "Data.fs.pack")]
    assert len(packed) == 1
    assert ("pwritev", "Data.fs.pack") in found
    assert ("fsync", "Data.fs.pack") not in found
    assert found.count(("fsync", "Data.fs")) >= 4


def test_tinydb_writes_in_place_then_syncs_then_truncates() -> None:
    found = calls(traced(tiny_database), "pwritev", "fsync", "truncate")
    assert found[:3] == [("pwritev", "db.json"), ("fsync", "db.json"), ("truncate", "db.json")]


def test_diskcache_syncs_nothing() -> None:
    found = traced(cached_values)
    assert calls(found, "pwritev")
    assert not calls(found, "fsync", "fdatasync", "sync_directory")


def test_untorn_itself_runs_on_the_explored_storage() -> None:
    storage = SimulatedStorage()
    with Interposer(storage) as directory:
        path = directory / "safe"
        with untorn.open(path, "wb") as file:
            file.write(b"whole")
        assert path.read_bytes() == b"whole"
        assert untorn.status(path).state == "plain"
        assert os.listdir(directory) == ["safe"]
    assert calls(storage.trace.operations, "fdatasync", "fsync")
