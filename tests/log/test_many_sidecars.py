"""Mutated sidecars, recovered one after the other: none gets anything else into the file.

``UNTORN_SIDECARS`` is how many, 20,000 if it is not set.
"""

from __future__ import annotations

import os
import random
import warnings
from collections import Counter
from typing import Final

import pytest

import untorn
from tests.log.pictures import FILE, LOG
from tests.log.test_fuzz import DAMAGE, NAMES, Scene, scenes
from untorn.crashmodel.disk_image import Content, Image
from untorn.crashmodel.machine import Disk
from untorn.crashmodel.storage import SimulatedStorage
from untorn.errors import UntornError, UntornWarning
from untorn.sizes import BLOCK

SIDECARS: Final = int(os.environ.get("UNTORN_SIDECARS", "20000"))
PARTS: Final = 4
"""Tests that they are dealt out to, so that they run side by side."""


class Bench:
    """One hot file, put beside one sidecar after the other."""

    def __init__(self, subject: Scene) -> None:
        disk = subject.machine.disk
        self._options = disk.options
        self._image = disk.live
        self._log = disk.live.paths()[LOG]

    def recover(self, sidecar: bytes) -> tuple[bytes, UntornError | None]:
        """What the file holds after recovery, and the error if that refused."""
        image = Image(dict(self._image.inodes), dict(self._image.names))
        image.inodes[self._log] = log = image.inodes[self._log].copy()
        log.content = Content(sidecar)
        storage = SimulatedStorage(Disk(image, self._options))
        error = None
        try:
            untorn.recover(FILE, storage=storage)
        except UntornError as refused:
            error = refused
        return storage.read_file(FILE), error


def mutated(subject: Scene, others: list[Scene], chance: random.Random) -> bytes:
    log = bytearray(subject.log)
    for _ in range(chance.choice([1, 1, 1, 2, 4])):
        chance.choice(DAMAGE)(log, chance.choice(others).log, chance)
        if len(log) < 3 * BLOCK:
            break
    return bytes(log)


@pytest.mark.parametrize("part", range(PARTS))
def test_no_mutated_sidecar_changes_the_file_but_to_one_of_its_commits_or_raises_what_is_not_ours(part: int) -> None:
    outcomes: Counter[str] = Counter()
    benches = {name: Bench(scenes(name)[0]) for name in NAMES}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UntornWarning)
        for number in range(part, SIDECARS, PARTS):
            name = NAMES[number // PARTS % len(NAMES)]
            subject, *others = scenes(name)
            content, error = benches[name].recover(mutated(subject, others, random.Random(number)))
            if error is not None:
                assert content == subject.home, f"sidecar {number}: refused, and the file was changed"
                outcomes[type(error).__name__] += 1
            elif content == subject.home and content not in subject.legal:
                outcomes["not replayed"] += 1
            else:
                assert content in subject.legal, f"sidecar {number}: neither a commit nor what was there"
                outcomes["recovered"] += 1

    assert outcomes["recovered"] > SIDECARS // PARTS // 20, outcomes
    assert outcomes["CorruptLogError"] > SIDECARS // PARTS // 20, outcomes
