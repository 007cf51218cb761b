"""Programs of what the standard library builds on files."""

from __future__ import annotations

import bz2
import codecs
import configparser
import contextlib
import csv
import dbm.dumb
import filecmp
import fileinput
import gzip
import json
import logging
import lzma
import os
import pickle
import shelve
import shutil
import tarfile
import tempfile
import zipfile
from pathlib import Path
from typing import Any

from tests.explore.interpose.programs import attempts, program


@program
def pathlib_methods(directory: Path) -> Any:
    path = directory / "sub" / "p.txt"
    path.parent.mkdir(parents=True)
    return attempts(
        [
            lambda: path.write_text("hé\n", encoding="utf-8"),
            lambda: path.read_text(encoding="utf-8"),
            lambda: path.write_bytes(b"12345678"),
            path.read_bytes,
            path.exists,
            path.is_file,
            path.is_dir,
            path.is_symlink,
            lambda: path.rename(directory / "moved"),
            lambda: (directory / "moved").replace(path),
            lambda: path.with_name("other").symlink_to("p.txt"),
            lambda: path.with_name("other").readlink(),
            lambda: path.with_name("hard").hardlink_to(path),
            lambda: path.samefile(path.with_name("hard")),
            lambda: path.with_name("other").resolve(),
            lambda: path.resolve(strict=True),
            lambda: (directory / "none").resolve(strict=True),
            lambda: path.chmod(0o600),
            path.touch,
            (directory / "touched").touch,
            lambda: sorted(directory.iterdir()),
            lambda: sorted(directory.rglob("*.txt")),
            path.unlink,
            lambda: path.unlink(missing_ok=True),
            path.unlink,
            path.parent.rmdir,
            path.open,
            lambda: path.open("x").close(),
        ]
    )


@program
def shutil_functions(directory: Path) -> Any:
    tree = directory / "tree"
    (tree / "deep").mkdir(parents=True)
    (tree / "f").write_bytes(os.fsencode("x" * 100_000))
    (tree / "deep" / "g").write_text("g")
    os.chmod(tree / "f", 0o640)
    os.symlink("f", tree / "link")
    os.utime(tree / "f", (1_111_111_111, 1_222_222_222))
    seen = attempts(
        [
            lambda: shutil.copy(tree / "f", directory / "copy"),
            lambda: shutil.copy2(tree / "f", directory / "copy2"),
            lambda: os.stat(directory / "copy2").st_mtime,
            lambda: shutil.copyfile(tree / "f", tree / "f"),
            lambda: shutil.copyfile(tree, directory / "no"),
            lambda: shutil.copytree(tree, directory / "tree2"),
            lambda: shutil.copytree(tree, directory / "tree3", symlinks=True),
            lambda: shutil.copytree(tree, directory / "tree3"),
            lambda: shutil.move(directory / "copy", directory / "tree3"),
            lambda: shutil.move(directory / "tree3", directory / "tree3" / "inside"),
            lambda: shutil.rmtree(directory / "tree2"),
            lambda: shutil.rmtree(directory / "none"),
            lambda: shutil.rmtree(directory / "none", ignore_errors=True),
            lambda: shutil.rmtree(directory / "copy2"),
            lambda: shutil.disk_usage(directory).free > 0,
            lambda: filecmp.cmp(tree / "f", directory / "copy2"),
            lambda: shutil.make_archive(os.fspath(directory / "archive"), "zip", tree),
            lambda: shutil.unpack_archive(directory / "archive.zip", directory / "unpacked"),
            lambda: sorted(str(p.relative_to(directory)) for p in directory.rglob("*")),
        ]
    )
    os.unlink(directory / "archive.zip")  # it holds the present
    return seen


@program
def moves_across_file_systems(directory: Path) -> Any:
    (directory / "f").write_text("moved out and in")
    outside = tempfile.mkdtemp()
    try:
        with contextlib.suppress(OSError):
            shutil.move(directory / "f", os.path.join(outside, "f"))
        shutil.copy(os.path.join(outside, "f"), directory / "copy")
        shutil.move(os.path.join(outside, "f"), directory / "back")
        return sorted(os.listdir(directory)), os.listdir(outside)
    finally:
        shutil.rmtree(outside)


@program
def temporary_files(directory: Path) -> Any:
    seen: list[Any] = []
    with tempfile.NamedTemporaryFile(dir=directory, suffix=".tmp") as named:
        named.write(b"named")
        named.flush()
        seen += [os.path.dirname(named.name), os.path.exists(named.name), oct(os.stat(named.name).st_mode)]
    seen.append(os.path.exists(named.name))
    with tempfile.NamedTemporaryFile("w", dir=directory, delete=False) as kept:
        kept.write("kept")
    os.replace(kept.name, directory / "kept")
    with tempfile.TemporaryFile(dir=directory) as nameless:
        nameless.write(b"nameless")
        nameless.seek(0)
        seen += [nameless.read(), os.listdir(directory)]
    with tempfile.TemporaryDirectory(dir=directory) as inside:
        (Path(inside) / "f").write_text("f")
        seen.append(len(os.listdir(directory)))
    number, name = tempfile.mkstemp(dir=directory, text=True)
    os.write(number, b"mkstemp")
    os.close(number)
    os.rename(name, directory / "made")
    made = tempfile.mkdtemp(dir=os.fsencode(directory))
    seen += [type(made), oct(os.stat(made).st_mode)]
    os.rmdir(made)
    with tempfile.SpooledTemporaryFile(max_size=10, dir=os.fspath(directory)) as spooled:
        spooled.write(b"much more than ten bytes")
        spooled.seek(5)
        seen.append(spooled.read(4))
    return seen


# What builds on files


@program
def zip_files(directory: Path) -> Any:
    path = directory / "z.zip"
    when = (2020, 1, 2, 3, 4, 6)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(zipfile.ZipInfo("one", when), "1" * 10_000)
        with archive.open(zipfile.ZipInfo("two", when), "w") as member:
            member.write(bytes(20_000))
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(zipfile.ZipInfo("three", when), b"3")
    with zipfile.ZipFile(path) as archive:
        archive.extractall(directory / "out")
        return archive.namelist(), archive.testzip(), zipfile.is_zipfile(path)


@program
def tar_files(directory: Path) -> Any:
    (directory / "in").mkdir()
    (directory / "in" / "f").write_text("content")
    os.utime(directory / "in" / "f", (1, 1_600_000_000))
    path = directory / "t.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        archive.add(directory / "in", "in")
    with tarfile.open(path) as archive:
        archive.extractall(directory / "out", filter="data")
        names = archive.getnames()
    os.unlink(path)  # owners and the present are in it
    return names, (directory / "out" / "in" / "f").stat().st_mtime


@program
def compressed_files(directory: Path) -> Any:
    seen = []
    for module in (gzip, bz2, lzma):
        path = directory / module.__name__
        with module.open(path, "wt") as file:
            file.writelines(f"line {n}\n" for n in range(2000))
        with module.open(path, "rt") as file:
            seen += [file.readline(), len(file.read())]
        os.unlink(path)
    return seen


@program
def data_formats(directory: Path) -> Any:
    value = {"a": [1, 2.5, None], "b": "é"}
    with open(directory / "j", "w") as file:
        json.dump(value, file)
    with open(directory / "p", "wb") as binary:
        pickle.dump(value, binary)
        pickle.dump(list(range(10_000)), binary)
    with open(directory / "c", "w", newline="") as file:
        csv.writer(file).writerows([[1, "two"], ["three", 'f"our']])
    config = configparser.ConfigParser()
    config["section"] = {"key": "value"}
    with open(directory / "i", "w") as file:
        config.write(file)
    with open(directory / "p", "rb") as binary:
        seen: list[Any] = [pickle.load(binary), len(pickle.load(binary))]
    with open(directory / "j") as file:
        seen.append(json.load(file))
    with open(directory / "c", newline="") as file:
        seen.append(list(csv.reader(file)))
    again = configparser.ConfigParser()
    seen += [again.read([directory / "i", directory / "none"]), again["section"]["key"]]
    with codecs.open(os.fspath(directory / "u"), "w", "utf-16") as coded:
        coded.write("coded")
    with fileinput.input([directory / "c"], inplace=True) as lines:
        for line in lines:
            print(line.upper(), end="")
    return seen


@program
def dumb_databases(directory: Path) -> Any:
    with dbm.dumb.open(os.fspath(directory / "d"), "c") as database:
        database[b"key"] = b"value" * 200
        database[b"other"] = b"x"
        del database[b"other"]
    with dbm.dumb.open(os.fspath(directory / "d"), "w") as database:
        database[b"third"] = b"3"
        seen: list[Any] = [sorted(database.keys()), database[b"key"][:5]]
    dumb: Any = dbm.dumb.open(os.fspath(directory / "s"), "n")  # noqa: SIM115
    with shelve.Shelf[Any](dumb) as shelf:
        shelf["a"] = [1, 2, 3]
        seen.append(shelf["a"])
    return seen


@program
def logging_handlers(directory: Path) -> Any:
    handler = logging.FileHandler(directory / "log.txt")
    logger = logging.Logger("twin")
    logger.addHandler(handler)
    logger.warning("one")
    logger.error("two %s", 2)
    handler.close()
    return (directory / "log.txt").read_text()


def _content(path: str) -> str:
    with open(path) as file:
        return file.read()


@program
def a_relative_path_from_the_directory_next_to_it(directory: Path) -> Any:
    (directory / "f").write_text("f")
    before = os.getcwd()
    with tempfile.TemporaryDirectory(dir=directory.parent.parent) as beside:
        os.chdir(beside)
        try:
            way = os.path.relpath(directory)
            return _content(f"{way}/f"), os.path.exists(f"{way}/none/../f")
        finally:
            os.chdir(before)


@program
def paths_said_otherwise(directory: Path) -> Any:
    (directory / "d").mkdir()
    (directory / "f").write_text("f")
    name = os.fspath(directory)
    return attempts(
        [
            lambda: _content(f"{name}/./f"),
            lambda: _content(f"{name}//f"),
            lambda: _content(f"/.{name}/f"),
            lambda: _content(f"/usr/..{name}/d/../f"),
            lambda: _content(f"{name}/none/../f"),
            lambda: _content(os.path.relpath(f"{name}/f")),
            lambda: _content(f"{name}/f/"),
            lambda: os.unlink(f"{name}/f/"),
            lambda: os.stat(""),
            lambda: os.listdir(f"{name}/d/."),
            lambda: open(os.fsencode(f"{name}/\udcff"), "w").close(),
            lambda: sorted(os.listdir(os.fsencode(name))),
        ]
    )
