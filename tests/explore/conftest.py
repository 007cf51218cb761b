"""What a test of the explorer leaves running must not reach into the next one."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def no_thread_goes_on() -> Iterator[None]:
    """Some tests are about workloads that leave threads behind: such a thread may still touch the directory."""
    before = set(threading.enumerate())
    yield
    for thread in set(threading.enumerate()) - before:
        thread.join(5)
