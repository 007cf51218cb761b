"""The rules of persistence against an independent enumerator, over random traces."""

from __future__ import annotations

import errno
import itertools
import os
from collections.abc import Callable, Sequence

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.crashmodel.brute import Brute, File, State
from tests.support.disk_pictures import images
from untorn.crashmodel.disk_image import Image
from untorn.crashmodel.profiles import LINUX, STRICT, Profile
from untorn.crashmodel.rules import History
from untorn.crashmodel.storage import SimulatedStorage
from untorn.crashmodel.trace import Operation, Trace
from untorn.crashmodel.variables import Value, Variable, apply, decided, deciders, members, name_of, seeded
from untorn.storage.interface import RWF_ATOMIC, AtomicLimits

PATHS = ("/d/f", "/d/g", "/e/f", "/e/f", "/e/s", "/e/s/f")
DIRECTORIES = ("/d", "/e", "/e/s", "/e/s", "/d/s", "/s", "/s/d")
OFTEN = ("/d/f", "/d/f", "/d/f", "/d/g")
IN_PLACE = st.one_of(
    st.tuples(st.just("write"), st.sampled_from(OFTEN), st.sampled_from((0, 300, 512, 900)), st.integers(1, 700)),
    st.tuples(st.just("atomic"), st.sampled_from(OFTEN), st.sampled_from((0, 512, 1024)), st.sampled_from((512, 1024))),
    st.tuples(st.just("truncate"), st.sampled_from(OFTEN), st.sampled_from((0, 100, 512, 1100))),
    st.tuples(st.just("allocate"), st.sampled_from(OFTEN), st.integers(1, 1200), st.booleans()),
    st.tuples(st.sampled_from(("set", "remove", "owner")), st.sampled_from(OFTEN)),
    st.tuples(st.sampled_from(("fsync", "fdatasync", "failed")), st.sampled_from(OFTEN)),
    st.tuples(st.sampled_from(("fsync", "fdatasync")), st.just("/d/f")),
)
CALL = st.one_of(
    IN_PLACE,
    IN_PLACE,
    IN_PLACE,
    st.tuples(st.sampled_from(("unlink", "create")), st.sampled_from(PATHS)),
    st.tuples(st.just("fsync"), st.sampled_from(("/e/f", "/e/s/f"))),
    st.tuples(st.sampled_from(("rename", "rename", "link")), st.sampled_from(PATHS), st.sampled_from(PATHS)),
    st.tuples(st.sampled_from(("mkdir", "mkdir", "rmdir")), st.just("/e/s")),
    st.tuples(st.just("rename"), st.sampled_from(DIRECTORIES), st.sampled_from(DIRECTORIES)),
    st.tuples(st.just("nameless"), st.sampled_from(PATHS), st.booleans()),
    st.tuples(st.sampled_from(("symlink", "times")), st.sampled_from(PATHS)),
    st.tuples(
        st.sampled_from(("directory", "directory", "directory", "failed directory")),
        st.sampled_from(("/d", "/e", "/e/s", "/")),
    ),
)
MOVES = st.lists(
    st.one_of(
        st.tuples(st.just("rename"), st.sampled_from(DIRECTORIES), st.sampled_from(DIRECTORIES)),
        st.tuples(st.just("rename"), st.sampled_from(DIRECTORIES), st.sampled_from(DIRECTORIES)),
        st.tuples(st.sampled_from(("mkdir", "rmdir", "directory", "directory")), st.sampled_from(DIRECTORIES)),
        st.tuples(st.sampled_from(("directory", "failed directory")), st.just("/")),
        st.tuples(st.sampled_from(("create", "unlink", "fsync")), st.sampled_from(("/d/s/f", "/e/f", "/s/f"))),
    ),
    min_size=4,
    max_size=10,
)
CALLS = st.lists(CALL, min_size=3, max_size=9)
DELAYS = st.lists(st.sampled_from((0, 0, 0, 1, 2)), min_size=1, max_size=5)


def perform(machine: SimulatedStorage, call: tuple[object, ...], letter: int) -> None:
    """One call of a random program; what cannot be done is left out."""
    name, path, *rest = call
    assert isinstance(path, str)
    try:
        if name == "directory":
            machine.sync_directory(path)
        elif name == "failed directory":
            machine.fail_sync_directory(path, errno.EIO)
        elif name in ("rename", "link"):
            {"rename": machine.rename, "link": machine.link}[str(name)](path, str(rest[0]))
        elif name in ("unlink", "mkdir", "rmdir"):
            {"unlink": machine.unlink, "mkdir": machine.mkdir, "rmdir": machine.rmdir}[str(name)](path)
        elif name == "nameless":
            file = machine.open(os.path.dirname(path), os.O_TMPFILE | os.O_RDWR)
            file.pwritev([bytes([letter]) * 600], 0)
            if rest[0]:
                file.fsync()
            machine.link_open(file, path)
        elif name == "symlink":
            machine.symlink(f"/nowhere/{letter}", path)
        elif name == "times":
            machine.set_times(path, letter)
        else:
            more = os.O_CREAT if name == "create" else os.O_DIRECT if name == "atomic" else 0
            file = machine.open(path, os.O_RDWR | more)
            actions: dict[object, Callable[[], object]] = {
                "write": lambda: file.pwritev([bytes([letter]) * int(str(rest[1]))], int(str(rest[0]))),
                "atomic": lambda: file.pwritev([bytes([letter]) * int(str(rest[1]))], int(str(rest[0])), RWF_ATOMIC),
                "truncate": lambda: file.truncate(int(str(rest[0]))),
                "allocate": lambda: file.allocate(0, int(str(rest[0])), keep_size=bool(rest[1])),
                "set": lambda: file.setxattr("user.a", bytes([letter])),
                "remove": lambda: file.removexattr("user.a"),
                "owner": lambda: file.set_owner(0o600, 0, letter),
                "fsync": file.fsync,
                "fdatasync": file.fdatasync,
                "failed": lambda: file.fail_sync(errno.EIO, data_only=True),
                "create": lambda: None,
            }
            actions[name]()
    except OSError:
        pass


def overlapped(trace: Trace, delays: Sequence[int]) -> Trace:
    """The same operations, with some returning only after later ones were issued."""
    result = Trace(trace.image)
    result.operations = trace.operations
    event = 0
    running: list[tuple[int, Operation]] = []
    for position, operation in enumerate(trace.operations):
        for due, late in list(running):
            if due <= position:
                running.remove((due, late))
                late.completed = event = event + 1
        operation.issued = event = event + 1
        running.append((position + 1 + delays[position % len(delays)], operation))
    for _, late in running:
        late.completed = event = event + 1
    result.now = event
    return result


def state(image: Image) -> State:
    files: set[tuple[str, File]] = set()
    for path, number in image.paths().items():
        found = image.inodes[number]
        content = found.target if found.is_link else found.content.read(0, found.content.size)
        marks = frozenset(found.attributes.items())
        whole = (content, found.mtime_ns, found.mode, found.gid, marks)
        files.add((path, ("", 0, found.mode, 0, marks) if found.is_directory else whole))
    return frozenset(files)


def traced(calls: Sequence[tuple[object, ...]], delays: Sequence[int]) -> Trace:
    machine = SimulatedStorage(atomic=AtomicLimits(512, 1024, 0, 1))
    machine.make_directory("/d")
    machine.make_directory("/e")
    machine.write_file("/d/f", b"A" * 700, {"user.a": b"old"})
    machine.write_file("/d/g", b"a" * 300)
    for letter, call in enumerate(calls):
        perform(machine, call, ord("B") + letter // 2)
    return overlapped(machine.trace, delays)


@settings(max_examples=300, derandomize=True, deadline=None)
@given(CALLS, DELAYS, st.booleans(), st.sampled_from(((512, 0), (512, 1024), (4096, 0))), st.booleans(), st.data())
def test_the_rules_allow_what_brute_force_finds_and_nothing_else(
    calls: list[tuple[object, ...]], delays: list[int], linux: bool, units: tuple[int, int], powersafe: bool,
    data: st.DataObject,
) -> None:  # fmt: skip
    trace = traced(calls, delays)
    time = data.draw(st.integers(0, trace.now), label="crash point")
    sector, block = units
    history = History(trace, profile=LINUX if linux else STRICT, sector=sector, block=block, powersafe=powersafe)
    history.advance(time)
    limit = 3000
    found = [state(image) for image in images(history, limit)]
    assume(len(found) < limit)
    assert set(found) == Brute(trace, time, linux=linux, sector=sector, block=block, powersafe=powersafe).states()


def test_an_fsync_says_nothing_of_another_name_of_a_file_that_was_there_before() -> None:
    trace = traced([("link", "/d/f", "/e/f"), ("fsync", "/d/f")], [0])
    history = History(trace, profile=LINUX)
    history.advance(trace.now)
    found = {state(image) for image in images(history, 100)}
    assert found == Brute(trace, trace.now, linux=True).states()
    assert {"/e/f" in dict(files) for files in found} == {False, True}


@settings(max_examples=300, derandomize=True, deadline=None)
@given(MOVES, DELAYS, st.booleans(), st.data())
def test_directories_that_move_are_where_brute_force_finds_them_and_nowhere_else(
    calls: list[tuple[object, ...]], delays: list[int], linux: bool, data: st.DataObject
) -> None:
    machine = SimulatedStorage(tick_ns=0)
    for path in ("/d", "/e", "/e/s"):
        machine.make_directory(path)
    for call in calls:
        perform(machine, call, 0)
    trace = overlapped(machine.trace, delays)
    time = data.draw(st.integers(0, trace.now), label="crash point")
    history = History(trace, profile=LINUX if linux else STRICT)
    history.advance(time)
    limit = 3000
    found = list(images(history, limit))
    assume(len(found) < limit)
    for image in found:  # no directory is in two places
        paths = image.paths()
        directories = [number for number in paths.values() if image.inodes[number].is_directory]
        assert len(directories) == len(set(directories))
    assert set(map(state, found)) == Brute(trace, time, linux=linux).states()


def names_left(values: dict[Variable, set[Value]]) -> set[frozenset[tuple[Variable, Value]]]:
    """All ways in which the names among the variables may be left."""
    parts = []
    for variable, legal in values.items():
        names = members(variable)
        rows = [value if isinstance(value, tuple) else (value,) for value in legal]
        parts.append([list(zip(names, row, strict=True)) for row in rows])
    return {frozenset(itertools.chain(*combination)) for combination in itertools.product(*parts)}


def metadata_left(tabled: dict[Variable, set[Value]], told: dict[Variable, set[Value]]) -> None:
    """Takes the metadata order out of both: what only the table has in it is certain."""
    whole = next((variable for variable in tabled if variable.kind == "metadata"), None)
    now = next((variable for variable in told if variable.kind == "metadata"), None)
    if whole is None:
        assert now is None
        return
    rows = [dict(zip(members(whole), row, strict=True)) for row in tabled.pop(whole) if isinstance(row, tuple)]
    open_now = [] if now is None else members(now)
    assert {tuple(row[member] for member in open_now) for row in rows} == (told.pop(now) if now else {()})
    assert all(len({row[member] for row in rows}) == 1 for member in members(whole) if member not in open_now)


@settings(max_examples=150, derandomize=True, deadline=None)
@given(CALLS, DELAYS, st.sampled_from((STRICT, STRICT, LINUX)))
def test_the_table_says_at_each_crash_point_what_the_sweep_says_there(
    calls: list[tuple[object, ...]], delays: list[int], profile: Profile
) -> None:
    trace = traced(calls, delays)
    whole, sweep = History(trace, profile=profile), History(trace, profile=profile)
    whole.advance(trace.now)
    table = whole.table()
    assert all(since < until for legal in table.values() for _, since, until in legal)
    for time in range(trace.now + 1):
        sweep.advance(time)
        tabled = {
            variable: {value for value, since, until in legal if since <= time < until}
            for variable, legal in table.items()
        }
        told = {variable: set(values) for variable, values in sweep.undetermined().items()}
        assert all(tabled.values())
        metadata_left(tabled, told)
        tabled_names = {v: tabled.pop(v) for v in list(tabled) if v.kind in ("name", "names")}
        told_names = {v: told.pop(v) for v in list(told) if v.kind in ("name", "names")}
        assert {v: values for v, values in tabled.items() if len(values) > 1} == {
            v: values for v, values in told.items() if len(values) > 1
        }
        # Renames join names over the whole table, but only those so far in the sweep.
        settled = sweep._names  # not only those that can be reached
        mentioned = {name for variable in told_names for name in members(variable)}
        for name in (name for variable in tabled_names for name in members(variable)):
            if name not in mentioned:
                told_names[name] = {settled.get(name_of(name))}
        assert names_left(tabled_names) == names_left(told_names)


@settings(max_examples=100, derandomize=True, deadline=None)
@given(st.lists(IN_PLACE, min_size=3, max_size=9), DELAYS, st.sampled_from((STRICT, LINUX)), st.integers(0, 1000))
def test_stacks_say_which_of_the_values_of_a_table_is_seen(
    calls: list[tuple[object, ...]], delays: list[int], profile: Profile, seed: int
) -> None:
    trace = traced(calls, delays)
    history = History(trace, profile=profile)
    history.advance(trace.now)
    table, choose = history.table(), seeded(seed)
    legal = {variable: list(dict.fromkeys(one.value for one in values if one.until > trace.now))
             for variable, values in table.items()}  # fmt: skip
    values = {variable: several[choose(variable, several)] for variable, several in legal.items()}
    order = {m: row for v in values if v.kind == "metadata" for m, row in zip(members(v), values[v] or (), strict=True)}  # type: ignore[arg-type]

    def chosen(variable: Variable, several: Sequence[Value]) -> int:
        open_now = variable.kind == "metadata"  # the table has what is certain by now in it too
        return several.index(tuple(order[one] for one in members(variable)) if open_now else values[variable])

    left = history.image(chosen)
    image = trace.image.copy()
    for base, found in sorted(deciders(table).items(), key=lambda entry: entry[0].kind != "size"):
        apply(image, base, decided(found, values.__getitem__))
    for inode in image.inodes.values():
        inode.content.zero_tail()
    assert state(image) == state(left)
