"""What the tests of the commands work on: files with logs that a dead process left, and ways to run commands."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from click.testing import CliRunner, Result

import untorn
from untorn.cli.main import cli
from untorn.log.format import RECORDS_OFFSET
from untorn.log.writer import log_path
from untorn.sizes import BLOCK

PAGE = 4096
COMMANDS = ("demo", "cp", "status", "check", "recover", "log", "explore", "compare", "trace", "probe")


def run(*arguments: str | Path) -> Result:
    """The command line in this process; output and errors apart."""
    return CliRunner().invoke(cli, [os.fspath(argument) for argument in arguments], catch_exceptions=False)


def command(*arguments: str | bytes | Path) -> list[str | bytes | Path]:
    """The command line as a process of its own."""
    return [sys.executable, "-P", "-m", "untorn", *arguments]


def run_process(
    *arguments: str | bytes | Path, environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[bytes]:
    """Runs the command line as a process of its own."""
    variables = {**os.environ, **(environment or {})}
    return subprocess.run(command(*arguments), env=variables, capture_output=True, check=False, timeout=60)


def in_dying_process(work: Callable[[], None]) -> None:
    """Does the work in a child that dies at its end, without any clean-up."""
    child = os.fork()
    if child == 0:
        try:
            work()
        except BaseException:
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0


def leave_log(path: str | Path, commits: int = 3, *, unfinished: bool = False) -> bytes:
    """A file of eight pages whose writer died with this many commits in the log; returns the committed content.

    Commit ``n`` fills page ``n`` with the byte ``n``. ``unfinished``: a spilled transaction follows that never ended.
    """
    Path(path).write_bytes(bytes(8 * PAGE))

    def work() -> None:
        file = untorn.open(path, "r+b", commit="explicit", folio_size=PAGE)
        for number in range(1, commits + 1):
            file.pwrite(bytes([number]) * PAGE, number * PAGE)
            file.commit()
        if unfinished:
            file.pwrite(b"never" * 100, 0)
            file._begin()
            file.pwrite(b"never" * 100, 7 * PAGE)
        os._exit(0)

    in_dying_process(work)
    assert os.path.exists(log_path(os.fspath(path)))
    return b"".join(bytes([number if 1 <= number <= commits else 0]) * PAGE for number in range(8))


def damage_record(path: str | Path, number: int) -> int:
    """Changes a payload byte of the record with this number, counted from 1; returns where the record starts.

    Each record of ``leave_log`` takes two blocks.
    """
    start = RECORDS_OFFSET + (number - 1) * 2 * BLOCK
    with open(log_path(os.fspath(path)), "r+b") as log:
        log.seek(start + BLOCK)
        byte = log.read(1)
        log.seek(start + BLOCK)
        log.write(bytes([byte[0] ^ 1]))
    return start


def tree(directory: Path) -> dict[bytes, tuple[int, int, int, bytes]]:
    """Every name in a directory with what would show a change: inode, and of a file mtime, size and content."""
    found = {}
    for name in os.listdir(os.fsencode(directory)):
        path = os.fsdecode(os.path.join(os.fsencode(directory), name))
        info = os.lstat(path)
        found[name] = (info.st_ino, 0, 0, b"")
        if os.path.isfile(path):
            found[name] = (info.st_ino, info.st_mtime_ns, info.st_size, Path(path).read_bytes())
    return found
