"""An honest simulated file passes every assertion; each way to break one is seen."""

from __future__ import annotations

import errno
from collections.abc import Sequence

import pytest

from tests.debate.probe.broken_files import MUTANTS, DirectOnly, half_changing, refusing
from tests.debate.probe.simulated import KIB, LIMITS, SimulatedScratch, SimulatedSubject
from untorn.crashmodel.machine import failure
from untorn.debate.probe import ATOMIC_WRITES, NO_ATOMIC_WRITES, Outcome, Verdict, probe
from untorn.debate.probe.assertions import ASSERTIONS, Assertion
from untorn.debate.probe.probe_file import Broken, Probed, pattern
from untorn.debate.probe.scratch_file import Scratch, Subject, Unsupported
from untorn.storage.interface import RWF_APPEND, AtomicLimits, Buffer, joined


def silent(words: str, done: float) -> None:
    pass


def named(name: str) -> Assertion:
    (found,) = (assertion for assertion in ASSERTIONS if assertion.name == name)
    return found


def outcome_of(subject: Subject, name: str) -> Outcome:
    (outcome,) = probe(subject, silent, [named(name)]).outcomes
    return outcome


@pytest.mark.parametrize("assertion", ASSERTIONS, ids=lambda assertion: assertion.name)
def test_an_honest_file_passes(assertion: Assertion) -> None:
    limits = LIMITS if assertion.promised else AtomicLimits()

    outcome = outcome_of(SimulatedSubject(limits=limits), assertion.name)

    assert outcome.verdict is Verdict.PASS, outcome.detail
    assert not outcome.relaxed


@pytest.mark.parametrize(("name", "mutant"), MUTANTS, ids=lambda value: value if isinstance(value, str) else "")
def test_a_broken_promise_is_seen(name: str, mutant: type[SimulatedScratch]) -> None:
    outcome = outcome_of(SimulatedSubject(mutant), name)

    assert outcome.verdict is Verdict.FAIL
    assert outcome.detail


def test_every_assertion_has_its_control() -> None:
    promised = {assertion.name for assertion in ASSERTIONS if assertion.promised}

    assert promised == {name for name, _ in MUTANTS}
    assert {assertion.name for assertion in ASSERTIONS} - promised == {"no-promise"}


@pytest.mark.parametrize(
    "mutant",
    [
        DirectOnly,
        refusing(lambda file, offset, length, flags: length == 16 * KIB),
        half_changing(lambda file, offset, length, flags: offset == 1),
    ],
)
def test_a_write_without_a_promise_that_is_not_refused_rightly_is_seen(mutant: type[SimulatedScratch]) -> None:
    assert outcome_of(SimulatedSubject(mutant, AtomicLimits()), "no-promise").verdict is Verdict.FAIL


@pytest.mark.parametrize("limits", [LIMITS, AtomicLimits()])
def test_buffered_writes_are_refused_whatever_the_device_can(limits: AtomicLimits) -> None:
    found = probe(SimulatedSubject(limits=limits, direct=False), silent)

    assert found.lacking == NO_ATOMIC_WRITES
    assert found.failures == 0
    assert {
        outcome.name: outcome.verdict for outcome in found.outcomes if outcome.verdict is not Verdict.UNSUPPORTED
    } == {"no-promise": Verdict.PASS}
    assert {outcome.detail for outcome in found.outcomes if outcome.verdict is Verdict.UNSUPPORTED} == {
        NO_ATOMIC_WRITES
    }


@pytest.mark.parametrize(
    "limits",
    [
        AtomicLimits(4 * KIB, 4 * KIB, 0, 1),
        AtomicLimits(4 * KIB, 1 << 20, 64 * KIB, 1),
        AtomicLimits(16 * KIB, 16 * KIB, 0, 1),
        AtomicLimits(4 * KIB, 1 << 31, 0, 1),
    ],
)
def test_any_limits_can_be_probed(limits: AtomicLimits) -> None:
    found = probe(SimulatedSubject(limits=limits), silent)

    assert [(outcome.name, outcome.detail) for outcome in found.outcomes if outcome.verdict is Verdict.FAIL] == []
    assert sum(outcome.verdict is Verdict.PASS for outcome in found.outcomes) >= 25
    assert found.limits == limits


def test_what_is_offered_is_not_asked_whether_it_is_refused() -> None:
    outcome = outcome_of(SimulatedSubject(), "no-promise")

    assert (outcome.verdict, outcome.detail) == (Verdict.UNSUPPORTED, ATOMIC_WRITES)


def test_a_file_that_takes_more_may_take_what_is_against_the_rules_but_only_whole() -> None:
    class Liberal(SimulatedSubject):
        def exact(self, limits: AtomicLimits) -> bool:
            return False

    class TakesAll(SimulatedScratch):
        def write(self, buffers: Sequence[Buffer], offset: int, flags: int) -> int:
            return self.anyhow(buffers, self.size() if flags & RWF_APPEND else offset)

    class TakesHalf(SimulatedScratch):
        def write(self, buffers: Sequence[Buffer], offset: int, flags: int) -> int:
            data = joined(buffers)
            self.anyhow([data[: len(data) // 2]], offset)
            return len(data)

    for name in ("odd-size", "offset", "two-buffers", "append-place"):
        outcome = outcome_of(Liberal(TakesAll), name)
        assert outcome.verdict is Verdict.PASS
        assert outcome.relaxed == (name != "append-place")
        assert outcome_of(SimulatedSubject(TakesAll), name).verdict is Verdict.FAIL
        assert outcome_of(Liberal(TakesHalf), name).verdict is Verdict.FAIL


def test_what_a_file_cannot_do_is_no_failure() -> None:
    class Poor(SimulatedScratch):
        def clone(self) -> Scratch:
            raise Unsupported("no reflinks")

    outcome = outcome_of(SimulatedSubject(Poor), "shared")

    assert (outcome.verdict, outcome.detail) == (Verdict.UNSUPPORTED, "no reflinks")


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS])
def test_a_failing_machine_is_no_broken_promise(code: int) -> None:
    with pytest.raises(OSError) as caught:
        outcome_of(SimulatedSubject(refusing(lambda file, offset, length, flags: True, code)), "written")

    assert caught.value.errno == code


def test_an_error_of_another_call_is_a_failure_with_its_name() -> None:
    class NoTruncate(SimulatedScratch):
        def truncate(self, size: int) -> None:
            raise failure(errno.EPERM, "x")

    outcome = outcome_of(SimulatedSubject(NoTruncate), "hole")

    assert outcome.verdict is Verdict.FAIL
    assert "EPERM" in outcome.detail


def test_a_kind_of_file_that_cannot_be_opened_is_lacking() -> None:
    class Closed(SimulatedSubject):
        def create(self) -> Scratch:
            raise failure(errno.EINVAL, "x")

    found = probe(Closed(), silent)

    assert found.outcomes == ()
    assert "EINVAL" in str(found.lacking)


def test_progress_runs_from_nothing_to_all() -> None:
    parts: list[float] = []

    probe(SimulatedSubject(), lambda words, done: parts.append(done), [named("nothing"), named("read")])

    assert parts == [0.0, 0.5, 1.0]


def test_the_difference_is_named_by_its_place() -> None:
    probed = Probed(SimulatedSubject())
    probed.plain(pattern(1, 8 * KIB), 0)

    probed.check("as written")
    for content, words in (
        (bytes(probed.expected[:5000]) + bytes(96) + bytes(probed.expected[5096:]), "bytes 5000 to 5095 are zero"),
        (b"\1\2" + bytes(probed.expected[2:]), "bytes 0 to 1 are not what they must be"),
        (bytes(probed.expected[:-1]), "8191 bytes, not 8192"),
    ):
        with pytest.raises(Broken, match=words):
            probed.compare(content, "now")
