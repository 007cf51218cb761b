"""What docs/guides/explore.md says of modules, sentence by sentence, as far as no other test has it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

import untorn
from untorn.crashmodel.storage import SimulatedStorage
from untorn.explore import FunctionTarget, UnseenAccessError, explore
from untorn.explore.interpose import Interposer

KEPT: list[Any] = []
"""Globals of a module, in which a program keeps what it has open."""


def prepare(directory: Path) -> None:
    (directory / "s1").write_bytes(b"1")


def write_second(directory: Path) -> None:
    with open(directory / "s2", "wb") as file:
        file.write(b"2")
        file.flush()
        os.fsync(file.fileno())


def test_a_check_that_hopes_for_an_order_of_names_is_bad_and_one_that_sorts_is_fine() -> None:
    def hopes(directory: Path) -> None:
        assert os.listdir(directory)[0] == "s1"

    def hopes_of_scandir(directory: Path) -> None:
        assert next(os.scandir(directory)).name == "s1"

    def sorts(directory: Path) -> None:
        assert sorted(os.listdir(directory))[0] == "s1"

    for check in (hopes, hopes_of_scandir):
        assert explore(FunctionTarget("order", prepare=prepare, workload=write_second, check=check)).bad
    assert explore(FunctionTarget("order", prepare=prepare, workload=write_second, check=sorts)).certified


def test_steps_share_what_they_have_open() -> None:
    def first(directory: Path) -> None:
        KEPT[:] = [open(directory / "t", "wb")]  # noqa: SIM115 - it is to stay open
        KEPT[0].write(b"1")

    def second(directory: Path) -> None:
        with KEPT[0] as file:
            file.flush()
            os.fsync(file.fileno())

    result = explore(FunctionTarget("steps", steps=[first, second], check=lambda directory: None))
    assert result.certified
    assert "fsync" in [operation["name"] for operation in result.operations]


def test_a_step_that_needs_another_is_told_together_with_it() -> None:
    def first(directory: Path) -> None:
        KEPT[:] = [open(directory / "t", "wb")]  # noqa: SIM115 - it is to stay open

    def second(directory: Path) -> None:
        KEPT[0].write(b"1" * 1000)
        KEPT[0].close()

    def check(directory: Path) -> None:
        if (directory / "t").exists():
            assert (directory / "t").read_bytes() in (b"", b"1" * 1000)

    result = explore(FunctionTarget("steps", steps=[first, write_second, second], check=check))
    (story,) = result.counterexamples
    assert "s2" not in story.text
    assert "in second" in story.text


def open_and_keep(directory: Path) -> None:
    KEPT[:] = [open(directory / "t", "wb")]  # noqa: SIM115 - it is to stay open
    KEPT[0].write(b"1")


def use_kept(directory: Path) -> None:
    KEPT[0].flush()


@pytest.mark.parametrize(
    "functions",
    [
        {"prepare": open_and_keep, "workload": use_kept, "check": lambda directory: None},
        {"workload": open_and_keep, "check": use_kept},
        {"workload": open_and_keep, "recover": use_kept, "check": lambda directory: None},
    ],
)
def test_a_file_that_another_process_left_open_is_refused_with_words(functions: Any) -> None:
    with pytest.raises(UnseenAccessError, match="opened before it, in another process"):
        explore(FunctionTarget("kept", **functions))


def test_a_file_that_the_program_closed_itself_is_its_own_mistake() -> None:
    def work(directory: Path) -> None:
        with open(directory / "t", "wb") as file:
            pass
        file.flush()

    with pytest.raises(ValueError, match="closed file"):
        explore(FunctionTarget("closed", workload=work, check=lambda directory: None))


def test_names_relative_to_a_directory_work() -> None:
    storage = SimulatedStorage()
    with Interposer(storage) as directory:
        number = os.open(directory, os.O_RDONLY)
        file = os.open("f", os.O_WRONLY | os.O_CREAT, dir_fd=number)
        os.write(file, b"x")
        os.close(file)
        os.rename("f", "g", src_dir_fd=number, dst_dir_fd=number)
        assert os.stat("g", dir_fd=number).st_size == 1
        os.symlink("g", "link", dir_fd=number)
        assert os.readlink("link", dir_fd=number) == "g"
        os.close(number)
        assert (directory / "link").read_bytes() == b"x"


def test_a_link_says_what_it_was_given() -> None:
    with Interposer(SimulatedStorage()) as directory:
        (directory / "f").write_bytes(b"x")
        os.symlink(directory / "f", directory / "link")
        assert os.readlink(directory / "link") == os.fspath(directory / "f")
        assert (directory / "link").resolve() == directory / "f"


@pytest.mark.parametrize("profile", ["strict", "linux"])
def test_a_careful_program_is_certified_or_it_is_said_why_not(profile: str) -> None:
    def work(directory: Path) -> None:
        write_second(directory)
        os.replace(directory / "s2", directory / "s1")

    def check(directory: Path) -> None:
        assert (directory / "s1").read_bytes() in (b"1", b"2")

    target = FunctionTarget("both", prepare=prepare, workload=work, check=check, options={"profile": profile})
    result = explore(target)
    assert not result.bad
    assert result.certified or "the profile linux is explored, but never certified" in result.verdict()
    assert result.certified or profile == "linux"


@pytest.mark.parametrize("size", [2000, 12_000, 60_000])
def test_a_program_that_changes_a_file_through_untorn_takes_as_few_recoveries_at_any_size(size: int) -> None:
    old, new = b"a" * size, b"b" * size

    def begin(directory: Path) -> None:
        (directory / "f").write_bytes(old)

    def work(directory: Path) -> None:
        with untorn.open(directory / "f", "r+b", commit="close") as file:
            file.write(new)

    def check(directory: Path) -> None:
        with untorn.open(directory / "f", "rb") as file:
            assert file.read() in (old, new)

    result = explore(FunctionTarget("through untorn", prepare=begin, workload=work, check=check))
    assert result.certified
    assert result.recoveries < 40
