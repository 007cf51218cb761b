"""Files that are opened without a name (O_TMPFILE), and come into being when they are linked."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from untorn.crashmodel.storage import SimulatedStorage
from untorn.explore.explorer import explore
from untorn.explore.result import Result
from untorn.explore.targets.python_module import FunctionTarget

CONTENT = b"whole" * 200


def saved(*, synced: bool) -> Result:
    def workload(dir: Path) -> None:
        descriptor = os.open(dir, os.O_TMPFILE | os.O_RDWR, 0o644)
        os.write(descriptor, CONTENT)
        if synced:
            os.fsync(descriptor)
        os.link(f"/proc/self/fd/{descriptor}", dir / "f", src_dir_fd=0)
        os.close(descriptor)

    def check(dir: Path) -> None:
        path = dir / "f"
        assert not path.exists() or path.read_bytes() == CONTENT, "neither nothing nor all"

    return explore(FunctionTarget("nameless", workload=workload, check=check))


def test_a_file_that_is_synced_and_then_linked_is_whole_or_not_there() -> None:
    assert saved(synced=True).certified


def test_without_the_sync_its_name_may_come_before_its_content() -> None:
    result = saved(synced=False)
    assert result.bad
    assert "lost: write of 1000 bytes" in result.counterexamples[0].text


@pytest.mark.parametrize(
    "work", [lambda m, f: m.unlink("/f"), lambda m, f: m.rename("/f", "/g")], ids=["gone", "moved"]
)
def test_it_may_be_given_a_name_once_and_as_long_as_it_has_one(
    work: Callable[[SimulatedStorage, object], None],
) -> None:
    machine = SimulatedStorage()
    file = machine.open("/", os.O_TMPFILE | os.O_RDWR)
    file.write([b"x"], 0)
    assert machine.names("/") == []
    machine.link_open(file, "/f")
    work(machine, file)
    if machine.names("/"):
        machine.link_open(file, "/again")
        assert machine.read_file("/again") == b"x"
    else:
        with pytest.raises(FileNotFoundError):
            machine.link_open(file, "/again")


def test_one_that_is_exclusive_is_never_given_a_name() -> None:
    machine = SimulatedStorage()
    file = machine.open("/", os.O_TMPFILE | os.O_EXCL | os.O_RDWR)
    with pytest.raises(FileNotFoundError):
        machine.link_open(file, "/f")


def test_it_has_to_be_opened_for_writing() -> None:
    with pytest.raises(OSError) as caught:
        SimulatedStorage().open("/", os.O_TMPFILE | os.O_RDONLY)
    assert caught.value.errno == errno.EINVAL


def test_what_is_never_linked_is_gone_with_the_process() -> None:
    machine = SimulatedStorage(capacity=1 << 20)
    before = machine.free_bytes()
    machine.open("/", os.O_TMPFILE | os.O_RDWR).write([b"x" * 8192], 0)
    assert machine.free_bytes() < before
    machine.kill_process()
    assert machine.free_bytes() == before


def test_linux_gives_and_refuses_the_same_names(tmp_path: Path) -> None:
    """The real thing beside the simulated one."""
    try:
        descriptor = os.open(tmp_path, os.O_TMPFILE | os.O_RDWR)
    except OSError as error:
        pytest.skip(f"no O_TMPFILE here: {error}")
    os.link(f"/proc/self/fd/{descriptor}", tmp_path / "f", src_dir_fd=0)
    os.link(f"/proc/self/fd/{descriptor}", tmp_path / "g", src_dir_fd=0)
    (tmp_path / "f").unlink()
    (tmp_path / "g").unlink()
    with pytest.raises(FileNotFoundError):
        os.link(f"/proc/self/fd/{descriptor}", tmp_path / "again", src_dir_fd=0)
    os.close(descriptor)
    exclusive = os.open(tmp_path, os.O_TMPFILE | os.O_EXCL | os.O_RDWR)
    with pytest.raises(FileNotFoundError):
        os.link(f"/proc/self/fd/{exclusive}", tmp_path / "f", src_dir_fd=0)
    os.close(exclusive)
