"""Each oracle passes what is right and says what is wrong."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from untorn.crashmodel.storage import SimulatedStorage
from untorn.explore.oracles import old_or_new, opens_with, plain, state_is_a_commit

STATES = [b"zero", b"one", b"two"]


def told(*words: tuple[str, int]) -> Any:
    def acknowledged(classify: Callable[[Sequence[Any]], Any]) -> Any:
        return classify(words)

    return acknowledged


@pytest.mark.parametrize(
    ("found", "words", "wrong"),
    [
        (b"one", [("begin", 1)], ""),
        (b"zero", [("begin", 1)], ""),
        (b"one", [("begin", 1), ("durable", 1), ("begin", 2)], ""),
        (b"zero", [("begin", 1), ("ordered", 1)], ""),
        (b"zero", [("begin", 1), ("durable", 1)], "lost: .* commit 0, and commit 1"),
        (b"zero", [("begin", 1), ("ordered", 1), ("survived", 0)], "lost"),
        (b"two", [("begin", 1)], "early: .* commit 2, and no later one than 1"),
        (b"onX", [("begin", 1)], "no commit: 3 bytes, of which 1 differ from commit 1"),
        (None, [("begin", 1)], "no commit: there is no file"),
    ],
)
def test_a_state_is_a_commit_between_the_last_durable_and_the_last_begun(
    found: bytes | None, words: list[tuple[str, int]], wrong: str
) -> None:
    if not wrong:
        state_is_a_commit(found, STATES, told(*words))
        return
    with pytest.raises(AssertionError, match=wrong):
        state_is_a_commit(found, STATES, told(*words))


def test_a_plain_file_has_nothing_beside_it_and_no_mark() -> None:
    machine = SimulatedStorage()
    assert plain(machine, "/f") is None
    machine.write_file("/f", b"content")
    assert plain(machine, "/f") == b"content"

    machine.write_file("/f-untorn.aside-1", b"")
    assert plain(machine, "/f", quarantined=True) == b"content"
    with pytest.raises(AssertionError, match=r"beside the file there is f-untorn\.aside-1"):
        plain(machine, "/f")
    machine.unlink("/f-untorn.aside-1")
    machine.write_file("/f", b"content", {"user.untorn": b"id"})
    with pytest.raises(AssertionError, match=r"the file has the attribute user\.untorn"):
        plain(machine, "/f")


def test_a_write_is_old_or_new() -> None:
    old_or_new(b"..new..", 2, b"old", b"new")
    old_or_new(b"..old..", 2, b"old", b"new")
    with pytest.raises(AssertionError, match="torn: 1 of 3 bytes at 2"):
        old_or_new(b"..nlw..", 2, b"old", b"new")


def test_a_file_opens_with_what_reads_it() -> None:
    machine = SimulatedStorage()
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w") as archive:
        archive.writestr("name", "text")
    machine.write_file("/f", whole.getvalue())
    opens_with(machine, "/f", zipfile.ZipFile)

    machine.write_file("/f", whole.getvalue()[:-1])
    with pytest.raises(zipfile.BadZipFile):
        opens_with(machine, "/f", zipfile.ZipFile)
