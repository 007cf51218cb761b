"""What happens to a log in other processes, for ``recovery``: one fills it and dies, one recovers it.

Run as a script, so that its memory is that of untorn alone.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from pathlib import Path

import untorn


def fill(path: str, log_bytes: int, page: int, count: int) -> None:
    """Durable commits of random pages until one more would make a checkpoint; then SIGKILL."""
    chance = random.Random(4)
    pages = os.path.getsize(path) // page
    data = chance.randbytes(2 * page)
    file = untorn.open(path, "r+b", commit="explicit", checkpoint_bytes=log_bytes)
    commits = 0
    while file.stats()["log_bytes"] + (count + 1) * page <= log_bytes:
        for index in chance.sample(range(pages), count):
            start = chance.randrange(page)
            file.pwrite(data[start : start + page], index * page)
        file.commit()
        commits += 1
    if file.stats()["checkpoints"]:
        raise RuntimeError("a checkpoint emptied the log")
    print(json.dumps({"commits": commits}), flush=True)
    os.kill(os.getpid(), signal.SIGKILL)


def recover(path: str) -> None:
    """Recovers, and tells the seconds and bytes that it took."""
    before = peak()
    start = time.perf_counter()
    commits = untorn.recover(path)
    seconds = time.perf_counter() - start
    print(json.dumps({"commits": commits, "seconds": seconds, "peak_bytes": peak() - before}))


def peak() -> int:
    """The most memory that this process ever held; unlike ru_maxrss not that of the parent, too."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("/proc/self/status does not say how much memory was held")


if __name__ == "__main__":
    if sys.argv[1] == "fill":
        fill(sys.argv[2], *map(int, sys.argv[3:]))
    else:
        recover(sys.argv[2])
