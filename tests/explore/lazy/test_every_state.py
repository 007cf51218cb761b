"""What the explorer's search sees over all its runs is what the persistence rules allow, state by state.

Random small traces, each rule set: the lazy search on the one side, every image of the rules on the other.
"""

from __future__ import annotations

import os
import stat

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.crashmodel.test_against_brute import CALL, perform
from tests.support.disk_pictures import images
from untorn.crashmodel.disk_image import Image
from untorn.crashmodel.profiles import LINUX, STRICT, Profile
from untorn.crashmodel.rules import History
from untorn.crashmodel.storage import SimulatedStorage
from untorn.explore.explorer import explore
from untorn.explore.result import Coverage
from untorn.explore.targets.protocol import Acknowledged
from untorn.storage.interface import AtomicLimits

Tree = frozenset[tuple[object, ...]]

LIMIT = 400
"""States at one crash point; traces that leave more are left out."""


class Watch:
    """A target whose check keeps all that it can see."""

    name = "watch"

    def __init__(self, machine: SimulatedStorage) -> None:
        self.machine = machine
        self.seen: set[Tree] = set()

    def record(self) -> SimulatedStorage:
        return self.machine

    def recover(self, storage: SimulatedStorage) -> None:
        """Leaves it as it is."""

    def check(self, storage: SimulatedStorage, acknowledged: Acknowledged) -> None:
        found: set[tuple[object, ...]] = set()
        waiting = ["/"]
        while waiting:
            directory = waiting.pop()
            for path in (os.path.join(directory, name) for name in storage.names(directory)):
                inode = storage.stat(path)
                if stat.S_ISDIR(inode.mode):
                    found.add((path,))
                    waiting.append(path)
                elif stat.S_ISLNK(inode.mode):
                    found.add((path, storage.readlink(path)))
                else:
                    mark = storage.attributes(path).get("user.a")
                    found.add((path, storage.read_file(path), inode.mode, inode.gid, inode.mtime_ns, mark))
        self.seen.add(frozenset(found))


def tree(image: Image) -> Tree:
    found: set[tuple[object, ...]] = set()
    for path, number in image.paths().items():
        inode = image.inodes[number]
        if inode.is_link:
            found.add((path, inode.target))
        elif not inode.is_directory:
            content = inode.content.read(0, inode.content.size)
            found.add((path, content, inode.mode, inode.gid, inode.mtime_ns, inode.attributes.get("user.a")))
        elif path != "/":
            found.add((path,))
    return frozenset(found)


def allowed(machine: SimulatedStorage, profile: Profile, sector: int = 512, powersafe: bool = True) -> set[Tree] | None:
    """Every state at any crash point; None if there are too many."""
    history = History(machine.trace, profile=profile, sector=sector, powersafe=powersafe)
    result: set[Tree] = set()
    for time in range(machine.trace.now + 1):
        history.advance(time)
        found = [tree(image) for image in images(history, LIMIT)]
        if len(found) == LIMIT:
            return None
        result.update(found)
    return result


def machine_after(calls: list[tuple[object, ...]], profile: Profile, sector: int, powersafe: bool) -> SimulatedStorage:
    limits = AtomicLimits(512, 1024, 0, 1)
    machine = SimulatedStorage(atomic=limits, profile=profile, sector=sector, powersafe=powersafe)
    machine.make_directory("/d")
    machine.make_directory("/e")
    machine.write_file("/d/f", b"A" * 700, {"user.a": b"old"})
    machine.write_file("/d/g", b"a" * 300)
    for index, call in enumerate(calls):
        perform(machine, call, ord("B") + index // 2)
    return machine


@settings(max_examples=40, derandomize=True, deadline=None)
@given(
    st.lists(CALL, min_size=2, max_size=6),
    st.sampled_from((LINUX, STRICT)),
    st.sampled_from((512, 4096)),
    st.booleans(),
)
def test_the_search_sees_every_state_that_the_rules_allow_and_no_other(
    calls: list[tuple[object, ...]], profile: Profile, sector: int, powersafe: bool
) -> None:
    machine = machine_after(calls, profile, sector, powersafe)
    states = allowed(machine, profile, sector, powersafe)
    assume(states is not None)
    target = Watch(machine)
    result = explore(target, recovery_crashes=0, keep_going=True)
    assume(not result.unmeasured)  # where nothing was changed
    assert (result.coverage, result.bad) == (Coverage.EXHAUSTIVE, 0)
    assert target.seen == states


def test_other_rules_are_told_apart() -> None:
    calls: list[tuple[object, ...]] = [("rename", "/d/f", "/e/f")]
    target = Watch(machine_after(calls, LINUX, 512, True))
    explore(target, recovery_crashes=0)
    more = allowed(target.machine, STRICT)
    assert more
    assert target.seen < more
    assert target.seen == allowed(target.machine, LINUX)
