"""``untorn cp``: one commit, the old inode, and the old content if it ends early."""

from __future__ import annotations

import os
import random
import signal
import stat
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

import untorn
from tests.support.commands import command, in_dying_process, leave_log, run, run_process, tree
from untorn.api.file import File
from untorn.cli import copy as copying

OLD = b"old" * 1000
NEW = random.Random(1).randbytes(3 * copying.CHUNK + 12345)


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    """A source with the new content and a target with the old one."""
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(NEW)
    target.write_bytes(OLD)
    return source, target


@pytest.mark.parametrize("old", [b"", OLD, NEW, NEW * 2], ids=["empty", "smaller", "same", "larger"])
def test_a_copy_into_place_keeps_inode_permissions_and_hard_links(tmp_path: Path, old: bytes) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(NEW)
    target.write_bytes(old)
    target.chmod(0o640)
    os.link(target, tmp_path / "other name")
    before = target.stat()

    assert run("cp", source, target).exit_code == 0

    after = target.stat()
    assert (after.st_ino, after.st_mode, after.st_nlink) == (before.st_ino, before.st_mode, 2)
    assert (tmp_path / "other name").read_bytes() == NEW
    assert sorted(tree(tmp_path)) == [b"other name", b"source", b"target"]


def test_a_new_file_gets_the_permissions_of_its_source_less_the_umask(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(NEW)
    source.chmod(0o777)
    umask = os.umask(0o027)
    try:
        assert run("cp", source, tmp_path / "target").exit_code == 0
    finally:
        os.umask(umask)

    assert (tmp_path / "target").read_bytes() == NEW
    assert stat.S_IMODE((tmp_path / "target").stat().st_mode) == 0o750


def test_a_directory_takes_the_copy_under_the_name_of_its_source(pair: tuple[Path, Path], tmp_path: Path) -> None:
    (tmp_path / "directory").mkdir()

    assert run("cp", pair[0], tmp_path / "directory").exit_code == 0

    assert (tmp_path / "directory" / "source").read_bytes() == NEW


def test_a_copy_through_a_symbolic_link_goes_to_the_file_behind_it(pair: tuple[Path, Path], tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("target")

    assert run("cp", pair[0], tmp_path / "link").exit_code == 0

    assert (tmp_path / "link").is_symlink()
    assert pair[1].read_bytes() == NEW


@pytest.mark.parametrize("link", [os.symlink, os.link], ids=["symlink", "hard-link"])
def test_a_file_is_not_copied_onto_itself(pair: tuple[Path, Path], tmp_path: Path, link: Callable[..., None]) -> None:
    source = pair[0]
    link(source, tmp_path / "same")

    for target in (source, tmp_path / "same", tmp_path / "." / "source"):
        result = run("cp", source, target)
        assert (result.exit_code, "are the same file" in result.stderr) == (2, True)
    assert source.read_bytes() == NEW


def test_a_source_with_commits_in_its_log_is_copied_with_them(tmp_path: Path) -> None:
    content = leave_log(tmp_path / "hot")
    before = (tmp_path / "hot-untorn").read_bytes()

    assert run("cp", tmp_path / "hot", tmp_path / "target").exit_code == 0

    assert (tmp_path / "target").read_bytes() == content
    assert (tmp_path / "hot").read_bytes() != content
    assert (tmp_path / "hot-untorn").read_bytes() == before


def test_a_pipe_can_be_copied(tmp_path: Path) -> None:
    with subprocess.Popen(command("cp", "/dev/stdin", tmp_path / "target"), stdin=subprocess.PIPE) as process:
        process.communicate(NEW, timeout=60)

    assert process.returncode == 0
    assert (tmp_path / "target").read_bytes() == NEW


@pytest.mark.parametrize(
    ("source", "target"),
    [("none", "target"), (".", "target"), ("source", "none/target"), ("source", "/dev/full")],
    ids=["no-source", "directory", "no-directory", "device"],
)
def test_wrong_use_changes_nothing(pair: tuple[Path, Path], tmp_path: Path, source: str, target: str) -> None:
    before = tree(tmp_path)

    result = run("cp", tmp_path / source, tmp_path / target)

    assert result.exit_code == 2, result.output
    assert tree(tmp_path) == before


# Ends before its time

STAGES = [("Copying, 2 MiB", OLD), ("Committing", OLD), ("Moving it into the file", NEW)]


def copy_that_dies(source: Path, target: Path, at: str) -> None:
    """The copy, in a process that dies when its progress says ``at``."""

    def show(words: str, done: float) -> None:
        if words == at:
            os._exit(0)

    with untorn.open(source, "rb", folio_size=copying.CHUNK) as reader:
        copying._Copy(reader, os.fspath(source), os.fspath(target), show).run()
    raise AssertionError(f"never said {at!r}")


@pytest.mark.parametrize(("at", "content"), STAGES, ids=["copying", "committing", "committed"])
def test_a_copy_that_dies_leaves_the_old_content_or_the_new(pair: tuple[Path, Path], at: str, content: bytes) -> None:
    source, target = pair
    in_dying_process(lambda: copy_that_dies(source, target, at))

    with untorn.open(target, "rb") as file:
        assert file.read() == content
    assert run("recover", target).exit_code == 0
    assert target.read_bytes() == content


def test_a_plain_copy_that_dies_is_seen_to_leave_neither(pair: tuple[Path, Path]) -> None:
    source, target = pair

    def work() -> None:
        with open(source, "rb") as reader, open(target, "r+b", buffering=0) as writer:
            writer.write(reader.read(2 << 20))
            os._exit(0)

    in_dying_process(work)

    assert target.read_bytes() not in (OLD, NEW)


class Failing(File):
    """Raises in the middle of being read."""

    failure: BaseException = KeyboardInterrupt()

    def read(self, size: int | None = -1, /) -> bytes:
        if self.tell() >= 2 * copying.CHUNK:
            raise self.failure
        return super().read(size)


@pytest.mark.parametrize(
    ("failure", "code"),
    [(KeyboardInterrupt(), 130), (OSError(5, "Input/output error"), 3), (ZeroDivisionError(), 70)],
    ids=["interrupt", "io-error", "fault"],
)
@pytest.mark.parametrize("fresh", [False, True], ids=["existing", "new"])
def test_a_copy_that_ends_early_changes_nothing_and_says_so(
    pair: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failure: BaseException, code: int,
    fresh: bool,
) -> None:  # fmt: skip
    source, target = pair
    if fresh:
        target.unlink()
    before = tree(tmp_path)
    real_open = copying._open_source

    def open_source(path: str) -> File:
        file: File = real_open(path)
        file.__class__ = Failing
        return file

    monkeypatch.setattr(copying, "_open_source", open_source)
    monkeypatch.setattr(Failing, "failure", failure)

    result = run("cp", source, target)

    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    if code != 70:
        assert f"{target} was not {'created' if fresh else 'changed'}" in result.stderr
    assert tree(tmp_path) == before


def test_a_copy_that_finds_no_room_changes_nothing_and_says_what_to_do(pair: tuple[Path, Path], tmp_path: Path) -> None:
    before = tree(tmp_path)
    limited = ["bash", "-c", 'ulimit -f 2048; exec "$@"', "bash", *command("cp", *pair)]

    done = subprocess.run(limited, capture_output=True, check=False, timeout=60, text=True)

    assert (done.returncode, done.stdout) == (3, "")
    assert "File too large" in done.stderr
    assert "was not changed" in done.stderr
    assert tree(tmp_path) == before


def test_a_copy_that_cannot_be_brought_home_says_where_it_is(
    pair: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    from untorn.designs import cow

    def full(*arguments: object) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(cow, "install", full)
        result = run("cp", *pair)

    assert result.exit_code == 3
    assert "Nothing is lost" in result.stderr
    assert "untorn recover" in result.stderr
    assert run("recover", pair[1]).exit_code == 0
    assert pair[1].read_bytes() == NEW


@pytest.mark.usefixtures("signals_as_usual")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_a_copy_with_the_old_content_and_nothing_beside_it(
    pair: tuple[Path, Path], tmp_path: Path, number: signal.Signals
) -> None:
    os.mkfifo(tmp_path / "pipe")
    before = tree(tmp_path)
    process = subprocess.Popen(
        command("cp", tmp_path / "pipe", pair[1]), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    with process, open(tmp_path / "pipe", "wb", buffering=0) as pipe:
        # When the pipe has taken more than it holds, the copy has begun.
        pipe.write(bytes(4 * copying.CHUNK))
        process.send_signal(number)
        output, errors = process.communicate(timeout=60)

    assert (process.returncode, output) == (130 if number == signal.SIGINT else 128 + number, b"")
    assert b"Traceback" not in errors
    assert (b"was not changed" in errors) == (number == signal.SIGINT)
    assert tree(tmp_path) == before


def test_a_copy_of_a_file_that_is_being_written_waits_for_nobody(tmp_path: Path) -> None:
    """The opposite of a hang: two copies onto one target at once, one of them is told that it is locked."""
    (tmp_path / "source").write_bytes(NEW)
    codes: list[int] = []

    def one() -> None:
        codes.append(run_process("cp", tmp_path / "source", tmp_path / "target").returncode)

    threads = [threading.Thread(target=one) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert 0 in codes
    assert set(codes) <= {0, 4}
    assert (tmp_path / "target").read_bytes() == NEW
