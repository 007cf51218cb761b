"""All tests as other machines and other users run them: ``make test-elsewhere``, as root.

``python -m tests.elsewhere [tmpfs] [xfs] [btrfs] [arguments of pytest]``
"""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.support.mounts import MIB, bound, mounted

SIZE: Final = 2048 * MIB
"""Of each file system. What a test leaves stays until its file system goes."""
MEMORY: Final = 16 << 30
"""Of address space for each process: a test that would take all of the machine's memory is to fail instead."""
ROOT: Final = Path(__file__).parents[1]


def private() -> None:
    os.umask(0o077)


def in_background() -> None:
    """As by nohup, and by a script that ends a command with ``&``."""
    for number in (signal.SIGHUP, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)


def nothing() -> None:
    pass


WAYS: Final[dict[str, tuple[str, Callable[[], None]]]] = {
    "tmpfs": ("with umask 077", private),
    "xfs": ("with SIGHUP and SIGINT ignored", in_background),
    "btrfs": ("from a read-only checkout with a space in its path", nothing),
}
"""By file system: what else is not as usual, so that three runs show six things."""


@contextlib.contextmanager
def checkout(kind: str, folder: Path) -> Iterator[Path]:
    """Where the tests are run."""
    if "read-only" not in WAYS[kind][0]:
        yield ROOT
        return
    with bound(ROOT, folder / "read only") as place:
        with pytest.raises(OSError, match="Read-only"):
            (place / "no-such-file").touch()
        yield place


def run(kind: str, arguments: list[str]) -> int:
    """Runs the tests there; returns the exit code of pytest."""
    how, prepare = WAYS[kind]

    def child() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        prepare()

    print(f"\nAll tests with temporary files on {kind}, {how}:", flush=True)
    with (
        tempfile.TemporaryDirectory(prefix="untorn-elsewhere-") as name,
        mounted(kind, Path(name), size=SIZE) as place,
        checkout(kind, Path(name)) as root,
    ):
        cache = f"{name}/cache"
        command = [sys.executable, "-m", "pytest", "-o", f"cache_dir={cache}", *arguments]
        environment = {**os.environ, "TMPDIR": str(place), "HYPOTHESIS_STORAGE_DIRECTORY": cache}
        return subprocess.run(command, cwd=root, env=environment, preexec_fn=child, check=False).returncode


def main(arguments: list[str]) -> int:
    """Runs all ways, or those that are named first; 0 if all of them pass."""
    if os.geteuid() != 0:
        print("Only root can mount the file systems that this needs.", file=sys.stderr)
        return 1
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # not without unmounting
    kinds: list[str] = []
    while arguments and arguments[0] in WAYS:
        kinds.append(arguments.pop(0))
    try:
        codes = {kind: run(kind, arguments) for kind in kinds or WAYS}
    except pytest.skip.Exception as lacking:
        print(lacking, file=sys.stderr)
        return 1
    for kind, code in codes.items():
        print(f"{kind}, {WAYS[kind][0]}: {'passed' if code == 0 else 'failed'}")
    return int(any(codes.values()))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
