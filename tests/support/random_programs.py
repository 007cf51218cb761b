"""Small random programs over the storage seam, and readers that recover from their crashes."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Hashable
from typing import Any, Final

from hypothesis import strategies as st
from xxhash import xxh3_64_intdigest

from tests.support.every_state import Case, See
from untorn.crashmodel.file import SimulatedFile
from untorn.crashmodel.storage import SimulatedStorage
from untorn.storage.interface import RWF_ATOMIC, RWF_DSYNC, RWF_SYNC, Piece

Step = tuple[Any, ...]
Digest = tuple[str, int, int, int]
"""Name, offset, length and digest of something that once was in the cache."""

NAMES: Final = ("/a", "/b", "/d/a")
DIRECTORIES: Final = ("/d", "/e", "/d/e", "/e/d")
_SEED: Final = 7

_names = st.sampled_from(NAMES)
_offsets = st.sampled_from([0, 1, 100, 400, 512, 700, 1024, 1500])
_lengths = st.sampled_from([1, 50, 112, 512, 600, 1024])
_fills = st.sampled_from(b"AXYZ")
_write = st.tuples(
    st.just("write"), _names, _offsets, _lengths, _fills, st.sampled_from([0, 0, 0, RWF_DSYNC, RWF_SYNC])
)
_truncate = st.tuples(st.just("truncate"), _names, _offsets)
_atomic = st.tuples(st.just("atomic"), _names, st.sampled_from([0, 512, 1024]), st.sampled_from([512, 1024]), _fills)
_change = st.one_of(
    _write, _write, _truncate, _atomic,
    st.tuples(st.just("append"), _names, _lengths, _fills),
    st.tuples(st.just("allocate"), _names, _offsets, _lengths, st.booleans()),
    st.tuples(st.just("rename"), _names, _names),
    st.tuples(st.just("link"), _names, _names),
    st.tuples(st.just("nameless"), st.sampled_from(["/", "/d"]), _fills, st.booleans(), _names),
    st.tuples(st.just("unlink"), _names),
    st.tuples(st.just("mkdir"), st.sampled_from(["/e", "/d/e"])),
    st.tuples(st.just("rmdir"), st.sampled_from(["/e", "/d/e"])),
    st.tuples(st.just("symlink"), st.sampled_from(["/a", "/d"]), st.just("/e/link")),
    st.tuples(st.just("write"), st.just("/e/f"), st.just(0), st.just(10), _fills, st.just(0)),
    st.tuples(st.just("rename"), st.sampled_from(["/a", "/e"]), st.sampled_from(["/e", "/e/f", "/g"])),
    st.tuples(st.just("rename"), st.sampled_from(DIRECTORIES), st.sampled_from(DIRECTORIES)),
    st.tuples(st.just("setxattr"), _names, st.sampled_from([b"1", b"2"])),
    st.tuples(st.just("removexattr"), _names),
    st.tuples(st.just("owner"), _names, st.sampled_from([0o600, 0o644])),
)  # fmt: skip
_sync = st.one_of(
    st.tuples(st.just("fsync"), _names),
    st.tuples(st.just("fdatasync"), _names),
    st.tuples(st.just("directory"), st.sampled_from(["/", "/d", "/e"])),
)
_failure = st.one_of(
    st.tuples(st.just("fail"), _names, st.booleans()),
    st.tuples(st.just("fail directory"), st.sampled_from(["/", "/d"])),
)
_question = st.one_of(
    st.tuples(st.just("read"), _names, _offsets, _lengths),
    st.tuples(st.just("verify"), st.integers(0, 20)),
    st.tuples(st.just("verify elsewhere"), _names, st.integers(0, 20)),
    st.tuples(st.just("observe"), _names),
    st.tuples(st.just("stat"), _names, st.sampled_from(["size", "mode", "links"])),
    st.tuples(st.just("getxattr"), _names),
    st.tuples(st.just("names"), st.sampled_from(["/", "/d"])),
)
_move = st.one_of(
    st.tuples(st.just("rename"), st.sampled_from(DIRECTORIES), st.sampled_from(DIRECTORIES)),
    st.tuples(st.just("rename"), st.sampled_from(DIRECTORIES), st.sampled_from(DIRECTORIES)),
    st.tuples(st.sampled_from(["mkdir", "rmdir", "directory"]), st.sampled_from(DIRECTORIES)),
    st.tuples(st.just("directory"), st.just("/")),
    st.tuples(
        st.just("write"), st.sampled_from(["/d/a", "/e/a", "/d/e/a"]), st.just(0), st.just(9), _fills, st.just(0)
    ),
    st.tuples(st.just("link"), st.sampled_from(["/a", "/d/a"]), st.sampled_from(["/e/a", "/d/e/a", "/b"])),
    st.tuples(st.just("unlink"), st.sampled_from(["/d/a", "/e/a"])),
    st.tuples(st.just("stat"), st.sampled_from(["/a", "/d/a"]), st.just("links")),
    st.tuples(st.just("names"), st.sampled_from(["/", "/d"])),
)
moves = st.lists(_move, min_size=2, max_size=6)
workloads = st.lists(st.one_of(_change, _change, _sync, _failure, st.just(("tell",))), min_size=1, max_size=6)
readers = st.lists(_question, max_size=4)
writers = st.lists(st.one_of(_question, _change, _sync), min_size=1, max_size=4)
_log = st.one_of(
    st.tuples(st.just("write"), st.just("/a"), _offsets, _lengths, _fills, st.sampled_from([0, 0, RWF_DSYNC])),
    st.tuples(st.just("append"), st.just("/a"), _lengths, _fills),
    st.tuples(st.just("atomic"), st.just("/a"), st.sampled_from([0, 1024]), st.just(1024), _fills),
    st.tuples(st.just("fdatasync"), st.just("/a")),
    st.tuples(st.just("truncate"), st.just("/a"), _offsets),
    st.just(("tell",)),
)
logs = st.lists(_log, min_size=2, max_size=6)
_verify = st.one_of(
    st.tuples(st.just("verify"), st.integers(0, 20)),
    st.tuples(st.just("verify"), st.integers(0, 20)),
    st.tuples(st.just("read"), st.just("/a"), _offsets, _lengths),
    st.just(("observe", "/a")),
)
verifiers = st.lists(_verify, min_size=1, max_size=5)
log_writers = st.lists(st.one_of(_log, _verify), min_size=2, max_size=4)
looks = st.sampled_from(["all", "names", "nothing"])


def play(machine: SimulatedStorage, step: Step, see: See, digests: list[Digest]) -> None:
    """One step; what cannot be done is seen."""
    try:
        _play(machine, step, see, digests)
    except OSError as error:
        see((step[0], error.errno))


def _open(machine: SimulatedStorage, path: str, flags: int = os.O_RDWR) -> SimulatedFile:
    return machine.open(path, flags)


def _play(machine: SimulatedStorage, step: Step, see: See, digests: list[Digest]) -> None:
    name, *rest = step
    match name:
        case "write":
            path, offset, length, fill, flags = rest
            file = machine.open(path, os.O_RDWR | os.O_CREAT)
            file.write([bytes([fill]) * length], offset, flags)
            file.close()
        case "atomic":
            path, offset, length, fill = rest
            file = machine.open(path, os.O_RDWR | os.O_CREAT | os.O_DIRECT)
            file.write([bytes([fill]) * length], offset, RWF_ATOMIC)
            file.close()
        case "append":
            file = machine.open(rest[0], os.O_WRONLY | os.O_APPEND)
            file.write([bytes([rest[2]]) * rest[1]], 0)
            file.close()
        case "nameless":
            _link_nameless(machine, *rest)
        case "rename" | "link" | "unlink" | "mkdir" | "rmdir" | "symlink":
            getattr(machine, name)(*rest)
        case "directory":
            machine.sync_directory(rest[0])
        case "fail directory":
            machine.fail_sync_directory(rest[0], errno.EIO)
        case "tell":
            machine.acknowledge(machine.trace.now)
        case "names":
            see(tuple(machine.listdir(rest[0])))
        case "stat":
            see(getattr(machine.stat(rest[0]), rest[1]))
        case "verify" | "verify elsewhere":
            if digests:
                path, offset, length, digest = digests[rest[-1] % len(digests)]
                file = machine.open(rest[0] if len(rest) > 1 else path, os.O_RDONLY)
                half = length // 2
                see(file.verify(offset, [Piece(length, digest)], _SEED))
                see(file.read_verified(length, offset, digest, _SEED) if half else None)
                file.close()
        case _:
            _play_on(machine.open(rest[0], os.O_RDWR), name, rest[1:], see)


def _link_nameless(machine: SimulatedStorage, directory: str, fill: int, synced: bool, path: str) -> None:
    file = machine.open(directory, os.O_TMPFILE | os.O_RDWR)
    file.write([bytes([fill]) * 600], 0)
    if synced:
        file.fsync()
    machine.link_open(file, path)
    file.close()


def _play_on(file: SimulatedFile, name: str, rest: list[Any], see: See) -> None:
    match name:
        case "truncate":
            file.truncate(rest[0])
        case "allocate":
            file.allocate(rest[0], rest[1], keep_size=rest[2])
        case "setxattr":
            file.setxattr("user.x", rest[0])
        case "removexattr":
            file.removexattr("user.x")
        case "owner":
            file.set_owner(rest[0], 1000, 1000)
        case "fsync":
            file.fsync()
        case "fdatasync":
            file.fdatasync()
        case "fail":
            file.fail_sync(errno.EIO, data_only=rest[0])
        case "read":
            see(file.read(rest[1], rest[0]))
        case "getxattr":
            see(file.getxattr("user.x"))
        case "observe":
            see(tuple(file.observe(0, 2048, 512, lambda value: value[:1] in (b"A", b"X"))))
    file.close()


def case(work: list[Step], reader: list[Step], look: str, **options: Any) -> Case:
    """A machine on which the work was done, and a reader that recovers."""
    machine = SimulatedStorage(**options)
    machine.make_directory("/d")
    machine.write_file("/a", b"A" * 900, {"user.x": b"0"})
    digests: list[Digest] = []
    for step in work:
        play(machine, step, lambda _: None, digests)
        paths = machine.disk.live.paths()
        for path in NAMES:
            if path in paths and stat.S_ISREG(machine.disk.live.inodes[paths[path]].mode):
                data = machine.read_file(path)
                for start, end in ((0, len(data)), (0, 512), (100, 600), (512, 1024)):
                    piece = data[start:end]
                    if piece and len(piece) == end - start:
                        digests.append((path, start, len(piece), xxh3_64_intdigest(piece, _SEED)))
    digests = list(dict.fromkeys(reversed(digests)))

    def recovery(storage: SimulatedStorage, see: See) -> None:
        for step in reader:
            play(storage, step, see, digests)

    return Case(machine, recovery, LOOKS[look], f"{work} {reader} {look}")


def look_at_all(storage: SimulatedStorage) -> Hashable:
    result: list[Hashable] = []
    waiting = ["/"]
    while waiting:
        directory = waiting.pop()
        for name in storage.names(directory):
            path = os.path.join(directory, name)
            found = storage.stat(path)
            if stat.S_ISDIR(found.mode):
                result.append((path, found.mode))
                waiting.append(path)
            elif stat.S_ISLNK(found.mode):
                result.append((path, storage.readlink(path)))
            else:
                attributes = tuple(sorted(storage.attributes(path).items()))
                result.append((path, found.size, found.mode, found.links, storage.read_file(path), attributes))
    return tuple(result)


LOOKS: Final = {
    "all": look_at_all,
    "names": lambda storage: tuple(storage.listdir("/")),
    "nothing": lambda storage: None,
}
