"""What a close within a block leaves to do, and what becomes of files whose generator, task or wrapper is gone."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import gc
import io
import pickle
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import pytest

import untorn
from tests.support.real_files import in_child
from untorn.errors import TransactionError, UntornWarning

MODES: Final = ["flush", "close", "write", "explicit"]
OLD: Final = b"what was there before"
NEW: Final = b"and what came then, all of it"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "data"
    path.write_bytes(OLD)
    return path


def mode_of(text: bool) -> str:
    """A mode to read and write with."""
    return "r+" if text else "r+b"


def silent() -> contextlib.AbstractContextManager[Any]:
    """Any warning is an error here, so this says only that none is due."""
    return contextlib.nullcontext()


# After a close within a block

CALLS: Final[dict[str, Callable[[Any], object]]] = {
    "read": lambda file: file.read(),
    "write": lambda file: file.write(NEW),
    "pread": lambda file: file.pread(1, 0),
    "pwrite": lambda file: file.pwrite(b"x", 0),
    "pwritev": lambda file: file.pwritev([b"x"], 0),
    "seek": lambda file: file.seek(0),
    "tell": lambda file: file.tell(),
    "truncate": lambda file: file.truncate(0),
    "flush": lambda file: file.flush(),
    "readline": lambda file: file.readline(),
    "readinto": lambda file: file.readinto(bytearray(3)),
    "fileno": lambda file: file.fileno(),
    "readable": lambda file: file.readable(),
    "writable": lambda file: file.writable(),
    "transaction": lambda file: file.transaction().__enter__(),
    "with": lambda file: file.__enter__(),
    "next": next,
}


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("commit", MODES)
def test_after_a_close_within_a_block_there_is_no_more_io(path: Path, commit: Any, name: str) -> None:
    with untorn.open(path, "r+b", commit=commit) as file:
        file.write(NEW)
        file.close()
        assert file.closed
        with pytest.raises(ValueError, match="closed file"):
            CALLS[name](file)
        file.close()
    assert path.read_bytes() == (OLD if commit == "explicit" else NEW)


@pytest.mark.parametrize("text", [False, True])
@pytest.mark.parametrize("commit", MODES)
def test_after_a_close_within_a_block_it_can_still_be_committed(path: Path, commit: Any, text: bool) -> None:
    with pytest.raises(KeyError), untorn.open(path, mode_of(text), commit=commit) as file:
        file.write(NEW.decode() if text else NEW)
        file.close()
        file.commit()
        raise KeyError
    assert path.read_bytes() == NEW


@pytest.mark.parametrize("text", [False, True])
@pytest.mark.parametrize("commit", MODES)
def test_after_a_close_within_a_block_it_can_still_be_rolled_back(path: Path, commit: Any, text: bool) -> None:
    with untorn.open(path, mode_of(text), commit=commit) as file:
        file.write(NEW.decode() if text else NEW)
        file.close()
        file.rollback()
        assert file.closed
    assert path.read_bytes() == OLD


@pytest.mark.parametrize("commit", MODES)
def test_within_a_transaction_a_close_leaves_commit_and_rollback_to_it(path: Path, commit: Any) -> None:
    file = untorn.open(path, "r+b", commit=commit)
    with file.transaction():
        file.write(NEW)
        file.close()
        for call in (file.commit, file.rollback):
            with pytest.raises(TransactionError, match="a transaction is open"):
                call()
    assert path.read_bytes() == NEW
    for late in (file.commit, file.rollback):
        with pytest.raises(ValueError, match="closed file"):
            late()


@pytest.mark.parametrize(("commit", "left"), [("flush", NEW), ("write", NEW), ("close", OLD), ("explicit", NEW)])
def test_the_with_around_a_transaction_decides_in_the_mode_close(path: Path, commit: Any, left: bytes) -> None:
    """There a commit is a normal end of the ``with``; in ``explicit`` the transaction is what was asked for."""
    with pytest.raises(KeyError), untorn.open(path, "r+b", commit=commit) as file:
        with file.transaction():
            file.write(NEW)
            file.close()
        raise KeyError
    assert path.read_bytes() == left


def test_a_transaction_that_rolled_back_leaves_what_was_written_before_it_to_the_with(path: Path) -> None:
    with untorn.open(path, "r+b") as file:
        file.write(b"first")
        with contextlib.suppress(KeyError), file.transaction(), closing(file):
            file.write(b"half")
            raise KeyError
        assert file.closed
    assert path.read_bytes() == b"first" + OLD[5:]


def test_of_another_threads_transaction_its_end_decides(path: Path) -> None:
    file = untorn.open(path, "r+b")
    with file.transaction():
        file.write(NEW)
        thread = threading.Thread(target=file.close)
        thread.start()
        thread.join()
        assert path.read_bytes() == OLD
        with pytest.raises(ValueError, match="closed file"):
            file.write(b"more")
    assert path.read_bytes() == NEW


# Which exception counts


def test_a_file_that_is_opened_and_closed_while_an_exception_is_handled_is_committed(path: Path) -> None:
    try:
        raise KeyError
    except KeyError:
        file = untorn.open(path, "r+b")
        file.write(NEW)
        file.close()
    assert path.read_bytes() == NEW


def test_an_exception_that_was_handled_before_counts_no_more_and_one_that_came_since_does(path: Path) -> None:
    try:
        raise KeyError
    except KeyError:
        try:
            raise OSError
        except OSError:
            file = untorn.open(path, "r+b")
        file.write(NEW)
        file.close()
        assert path.read_bytes() == NEW
        file = untorn.open(path, "r+b")
        file.write(OLD)
        try:
            next(iter(()))
        except StopIteration:
            with pytest.warns(UntornWarning, match="while StopIteration was being handled"):
                file.close()
    assert path.read_bytes() == NEW


def test_an_exception_of_another_thread_does_not_count(path: Path) -> None:
    file = untorn.open(path, "r+b")
    file.write(NEW)
    try:
        raise KeyError
    except KeyError:
        thread = threading.Thread(target=file.close)
        thread.start()
        thread.join()
    assert path.read_bytes() == NEW


def test_a_commit_in_the_handler_keeps_the_work(path: Path) -> None:
    file = untorn.open(path, "r+b")
    try:
        file.write(NEW)
        raise KeyError
    except KeyError:
        file.commit()
        file.close()
    assert path.read_bytes() == NEW


def _marked(path: Path) -> BaseException:
    """An exception while whose handling a file was opened."""
    try:
        raise KeyError("in another process")
    except KeyError as error:
        untorn.open(path, "r+b").close()
        return error


def test_an_exception_that_came_from_another_process_is_not_taken_for_one_that_was_handled_here(
    path: Path, tmp_path: Path
) -> None:
    own = path.with_name("own")
    own.write_bytes(OLD)
    theirs = in_child(lambda: pickle.dumps(_marked(own)))
    ours = _marked(own)
    try:
        raise ours
    except KeyError:
        file = untorn.open(path, "r+b")
    file.write(NEW)
    with pytest.warns(UntornWarning, match="while KeyError was being handled"):  # noqa: PT031
        try:
            raise pickle.loads(theirs)
        except KeyError:
            file.close()
    assert path.read_bytes() == OLD
    assert copy.copy(ours).args == ("in another process",)


# Flush while an exception is handled


@pytest.mark.parametrize("commit", ["flush", "write"])
def test_a_flush_within_with_while_an_exception_is_handled_waits_and_says_so_when_it_takes_effect(
    path: Path, commit: Any
) -> None:
    def save() -> None:
        with untorn.open(path, "r+b", commit=commit) as file:
            try:
                raise KeyError
            except KeyError:
                file.write(NEW)
                file.flush()
            assert file.stats()["commits"] == 0

    with pytest.warns(UntornWarning, match=r"an earlier flush\(\).*took effect only now") as said:
        save()
    assert path.read_bytes() == NEW
    assert [warning.filename for warning in said] == [__file__]


@pytest.mark.parametrize("commit", MODES)
def test_a_flush_that_a_library_makes_when_an_exception_ends_it_is_taken_back_with_the_block(
    path: Path, commit: Any
) -> None:
    with pytest.raises(KeyError), untorn.open(path, "r+b", commit=commit) as file:
        try:
            file.write(NEW)
            raise KeyError
        finally:
            file.flush()
    assert path.read_bytes() == OLD


@pytest.mark.parametrize("keep", [False, True])
def test_a_flush_in_a_transaction_that_an_exception_ends_is_not_told_of_when_the_block_goes_on(
    path: Path, *, keep: bool
) -> None:
    """The end of the transaction decides; any warning would be an error here."""
    with untorn.open(path, "r+b") as file:
        file.write(NEW)
        with contextlib.suppress(KeyError), file.transaction():
            file.pwrite(b"half", 0)
            try:
                raise KeyError
            except KeyError:
                file.flush()
                if not keep:
                    raise
        assert file.stats()["commits"] == keep
    assert path.read_bytes() == (b"half" + NEW[4:] if keep else NEW)


def test_control_a_flush_before_the_exception_is_a_commit(path: Path) -> None:
    with pytest.raises(KeyError), untorn.open(path, "r+b") as file:
        file.write(NEW)
        file.flush()
        raise KeyError
    assert path.read_bytes() == NEW


# Generators and tasks


def _saving(path: Path, commit: Any, text: bool) -> Iterator[None]:
    with untorn.open(path, mode_of(text), commit=commit) as file:
        for _ in range(3):
            file.write("half" if text else b"half")
            yield


def _saving_by_hand(path: Path, commit: Any, text: bool) -> Iterator[None]:
    file = untorn.open(path, mode_of(text), commit=commit)
    try:
        for _ in range(3):
            file.write("half" if text else b"half")
            yield
    finally:
        file.close()


@pytest.mark.parametrize("text", [False, True])
@pytest.mark.parametrize("commit", MODES)
@pytest.mark.parametrize("end", ["closed", "dropped", "in a cycle"])
@pytest.mark.parametrize("saving", [_saving, _saving_by_hand])
def test_a_generator_that_is_not_run_to_its_end_is_rolled_back_with_a_warning(
    path: Path, saving: Any, end: str, commit: Any, text: bool
) -> None:
    told = saving is _saving or commit != "explicit"
    steps: Any = saving(path, commit, text)
    next(steps)
    next(steps)
    holder: list[Any] = [steps]
    with pytest.warns(UntornWarning, match="since its last commit, 8 bytes, was") if told else silent():
        if end == "closed":
            steps.close()
        elif end == "in a cycle":
            holder.append(holder)
        del steps, holder
        gc.collect()
    assert path.read_bytes() == OLD


@pytest.mark.parametrize("commit", MODES)
@pytest.mark.parametrize("saving", [_saving, _saving_by_hand])
def test_control_a_generator_that_is_run_to_its_end_is_committed(path: Path, saving: Any, commit: Any) -> None:
    list(saving(path, commit, False))
    assert path.read_bytes() == (OLD if commit == "explicit" else b"halfhalfhalf" + OLD[12:])


def test_a_transaction_in_a_generator_that_is_not_run_to_its_end_is_told(path: Path) -> None:
    def steps(file: Any) -> Generator[None]:
        with file.transaction():
            file.write(b"half")
            yield

    with untorn.open(path, "r+b") as file:
        file.write(b"first")
        step = steps(file)
        next(step)
        with pytest.warns(UntornWarning, match=r"a transaction of a generator.*what was written in it, 4 bytes, was"):
            step.close()
        step = steps(file)
        next(step)
        next(step, None)
    assert path.read_bytes() == b"firsthalf" + OLD[9:]


@pytest.mark.parametrize("way", ["with", "by hand"])
def test_a_task_that_is_cancelled_leaves_the_old_file(path: Path, way: str) -> None:
    async def save(started: asyncio.Event) -> None:
        file = untorn.open(path, "r+b")
        with file if way == "with" else closing(file):
            file.write(b"half")
            started.set()
            await asyncio.sleep(60)

    async def main() -> None:
        started = asyncio.Event()
        task = asyncio.create_task(save(started))
        await started.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    with silent() if way == "with" else pytest.warns(UntornWarning, match="while CancelledError was being handled"):
        asyncio.run(main())
    assert path.read_bytes() == OLD


# Wrappers that are dropped


@pytest.mark.parametrize("commit", MODES)
@pytest.mark.parametrize("wrap", [io.TextIOWrapper, io.BufferedWriter])
def test_a_wrapper_that_is_collected_outside_a_block_rolls_back_with_a_warning(
    path: Path, wrap: Any, commit: Any
) -> None:
    wrapper = wrap(untorn.open(path, "r+b", commit=commit))
    wrapper.write("half" if wrap is io.TextIOWrapper else b"half")
    with pytest.warns(UntornWarning, match="by the collection of what it was wrapped in.* 4 bytes"):  # noqa: PT031
        del wrapper
        gc.collect()
    assert path.read_bytes() == OLD


@pytest.mark.parametrize("wrap", [io.TextIOWrapper, io.BufferedWriter])
def test_a_wrapper_that_is_closed_outside_a_block_commits(path: Path, wrap: Any) -> None:
    wrapper = wrap(untorn.open(path, "r+b"))
    wrapper.write("full" if wrap is io.TextIOWrapper else b"full")
    wrapper.close()
    assert path.read_bytes() == b"full" + OLD[4:]


# Where the warning points


def test_a_warning_points_at_the_line_that_called_the_library_not_at_one_within_it(path: Path) -> None:
    library: dict[str, Any] = {"__name__": "somebody_elses.library"}
    code = (
        "def save(file):\n    try:\n        1 / 0\n    finally:\n        end(file)\ndef end(file):\n    file.close()\n"
    )
    exec(compile(code, "library.py", "exec"), library)
    file = untorn.open(path, "r+b")
    file.write(b"half")
    with pytest.warns(UntornWarning) as said, pytest.raises(ZeroDivisionError):
        library["save"](file)  # this line
    [warning] = said
    with open(warning.filename, encoding="utf-8") as source:
        assert source.read().splitlines()[warning.lineno - 1].endswith("# this line")


def test_control_a_file_that_the_library_opened_itself_is_its_own_affair(path: Path) -> None:
    library: dict[str, Any] = {"__name__": "somebody_elses.library", "open": untorn.open}
    code = "def save(path):\n    file = open(path, 'wb')\n    try:\n        1 / 0\n    finally:\n        file.close()\n"
    exec(compile(code, "library.py", "exec"), library)
    with pytest.warns(UntornWarning) as said, pytest.raises(ZeroDivisionError):
        library["save"](path)
    assert [(warning.filename, warning.lineno) for warning in said] == [("library.py", 6)]
