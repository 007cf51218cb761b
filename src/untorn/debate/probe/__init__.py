"""Asks files whether they keep the kernel's promises of RWF_ATOMIC.

``scratch_file`` is the protocol that makes them all alike, ``targets`` are the kinds of files, ``probe_file`` compares
what a file holds with what it must hold, ``assertions`` is the list of what is asked (``rules`` and ``torn_write`` are
its functions), ``environment`` is what the path offers.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import StrEnum
from tempfile import TemporaryDirectory
from typing import Final

from untorn.debate.probe.assertions import ASSERTIONS, Assertion
from untorn.debate.probe.environment import Device, check_device
from untorn.debate.probe.probe_file import Broken, Probed, attempt, is_lacking, name_of
from untorn.debate.probe.scratch_file import Subject, Unsupported
from untorn.errors import UntornError
from untorn.storage.interface import AtomicLimits

PREFIX: Final = ".untorn-probe-"
"""Of the directory with the scratch files."""

NO_ATOMIC_WRITES: Final = "no atomic writes are offered"
ATOMIC_WRITES: Final = "atomic writes are offered"

Progress = Callable[[str, float], None]


class Verdict(StrEnum):
    """What became of an assertion."""

    PASS = "pass"
    FAIL = "fail"
    UNSUPPORTED = "not supported"


@dataclass(frozen=True)
class Outcome:
    """An assertion and what became of it."""

    name: str
    words: str
    source: str
    verdict: Verdict
    detail: str
    """What was tried, what was wrong, or why it could not be tried."""
    relaxed: bool = False
    """Whether a write against the kernel's rules was taken whole, by a file that takes more."""


@dataclass(frozen=True)
class Findings:
    """What one kind of file did."""

    subject: str
    limits: AtomicLimits
    lacking: str | None
    """Why files of this kind take no atomic writes here; None if they do."""
    outcomes: tuple[Outcome, ...]

    @property
    def failures(self) -> int:
        """How many assertions do not hold."""
        return sum(outcome.verdict is Verdict.FAIL for outcome in self.outcomes)


@contextmanager
def scratch_directory(path: str) -> Iterator[str]:
    """A directory of its own in ``path``, or beside it if that is a file; gone afterwards, whatever happens."""
    real = os.path.realpath(path)
    mode = os.stat(real).st_mode
    if not (stat.S_ISDIR(mode) or stat.S_ISREG(mode)):
        raise OSError(errno.EINVAL, "neither a directory, nor a file, nor a block device", path)
    with TemporaryDirectory(prefix=PREFIX, dir=real if stat.S_ISDIR(mode) else os.path.dirname(real)) as folder:
        yield folder


def probe(subject: Subject, progress: Progress, assertions: Sequence[Assertion] = ASSERTIONS) -> Findings:
    """Tries every assertion, each on a new scratch file.

    OSError if the machine fails: no space, no right to write, a failed device.
    """
    try:
        first = subject.create()
    except OSError as error:
        if is_lacking(error) or isinstance(error, PermissionError):
            raise
        return Findings(subject.name, AtomicLimits(), f"a file cannot be opened so: {name_of(error)}", ())
    limits = first.limits()
    first.close()
    outcomes = []
    for number, assertion in enumerate(assertions):
        progress(f"Probing {subject.name}", number / len(assertions))
        outcomes.append(_outcome(subject, assertion, limits))
    progress(f"Probing {subject.name}", 1.0)
    return Findings(subject.name, limits, None if limits.unit_min else NO_ATOMIC_WRITES, tuple(outcomes))


def _outcome(subject: Subject, assertion: Assertion, limits: AtomicLimits) -> Outcome:
    def outcome(verdict: Verdict, detail: str, relaxed: bool = False) -> Outcome:
        return Outcome(assertion.name, assertion.words, assertion.source, verdict, detail, relaxed)

    if assertion.promised != bool(limits.unit_min):
        return outcome(Verdict.UNSUPPORTED, ATOMIC_WRITES if limits.unit_min else NO_ATOMIC_WRITES)
    try:
        detail, relaxed = attempt(lambda: _run(subject, assertion))
    except Unsupported as error:
        return outcome(Verdict.UNSUPPORTED, str(error))
    except Broken as error:
        return outcome(Verdict.FAIL, str(error))
    return outcome(Verdict.PASS, detail, relaxed)


def _run(subject: Subject, assertion: Assertion) -> tuple[str, bool]:
    probed = Probed(subject)
    detail, failure = "", None
    try:
        detail = assertion.run(probed) or ""
    except BaseException as error:
        failure = error
    if failure is not None:
        # Not where it is caught: a file of untorn that is closed there rolls back, and says so.
        with suppress(OSError, UntornError):
            probed.file.close()
        raise failure
    probed.file.close()
    return detail, probed.relaxed


def check_queue(device: Device) -> Findings:
    """Whether what the kernel tells of a device agrees with itself."""
    words, source = "The limits in sysfs make sense and are those of statx", "generic/765 nvme/059"
    try:
        verdict, detail = Verdict.PASS, check_device(device)
    except Broken as error:
        verdict, detail = Verdict.FAIL, str(error)
    outcome = Outcome("device-limits", words, source, verdict, detail)
    return Findings(f"device {device.name}", device.limits, None, (outcome,))
