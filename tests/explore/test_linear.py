"""Exploring and certifying take a number of steps that grows as the number of operations does, and no faster."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest

from bench.exploring import appends, rename_saves
from untorn.explore.explorer import explore
from untorn.explore.target import Target
from untorn.explore.world import World

SIZE = 40
DOUBLE = 2.3
"""What twice as many operations may take, as a multiple: two, and a little for what is found by halving."""


def steps(target: Target) -> int:
    """Lines of the explorer, and rounds of its loops, that one exploration runs through."""
    count = 0

    def line(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal count
        count += 1
        return line

    def call(frame: FrameType, event: str, argument: Any) -> Any:
        path = frame.f_code.co_filename
        return line if "/untorn/" in path and "/interpose/" not in path else None

    before = sys.gettrace()
    sys.settrace(call)
    try:
        result = explore(target, depth=0)
    finally:
        sys.settrace(before)
    assert result.certified, result.verdict()
    return count


@pytest.mark.parametrize("make", [rename_saves, appends])
def test_twice_the_operations_take_twice_the_steps(make: Callable[[int], Target]) -> None:
    assert steps(make(2 * SIZE)) <= DOUBLE * steps(make(SIZE))


@pytest.mark.parametrize("make", [rename_saves, appends])
def test_it_would_be_seen_if_every_run_worked_its_questions_out_again(
    make: Callable[[int], Target], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(World, "_known", lambda self: None)
    assert steps(make(2 * SIZE)) > DOUBLE * steps(make(SIZE))
