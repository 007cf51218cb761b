"""The picture of a search in the docstring and in ARCHITECTURE.md is that of the real search, to the last number."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.explore.search import picture
from untorn.explore import explore, search
from untorn.explore.lazy.crash_state import CrashState
from untorn.explore.search.pinned_state import Baseline, PinnedState, show
from untorn.explore.search_record import ORDER, Key

ARCHITECTURE = Path(__file__).parents[3] / "ARCHITECTURE.md"


def test_the_picture_is_what_the_search_does() -> None:
    drawn = picture.draw()

    assert f"\n\n{drawn}\n" in (search.__doc__ or "")
    assert f"\n```text\n{drawn}\n```\n" in ARCHITECTURE.read_text()


@pytest.fixture
def search_without_the_newest(monkeypatch: pytest.MonkeyPatch) -> None:
    legal = CrashState.legal

    def without(self: CrashState, key: Key) -> Sequence[int]:
        found = legal(self, key)
        return found[:-1] if len(found) > 1 else found

    monkeypatch.setattr(CrashState, "legal", without)


@pytest.mark.usefixtures("search_without_the_newest")
def test_a_search_that_does_less_is_another_picture() -> None:
    with pytest.raises(ValueError, match="not enough values to unpack"):  # no execution of it writes
        picture.draw()


def test_each_state_is_one_outcomes() -> None:
    """Every class with every legal value, one by one: exactly one outcome stands for it, and a run of it agrees."""
    seen = picture.Seen()
    layer = seen.search.shared.layers[0]
    variables = [variable for variable in layer.alternatives if variable != ORDER]
    outcomes = [execution.outcome for execution in seen.executions]
    count = 0
    for at, values in picture.states(layer, variables):
        row = dict(zip([(0, variable) for variable in variables], values, strict=True))
        (outcome,) = (outcome for outcome in outcomes if picture.stands_for(outcome, 0, at, row))
        shown, _ = show(seen.search, PinnedState((at,), Baseline.NEWEST, row))
        assert shown.problem == outcome.problem
        assert all(outcome.end.domains[key] == domain or len(domain) == 1 for key, domain in shown.end.domains.items())
        count += 1
    assert count == sum(sum(picture.ways(layer, 0, outcome)) for outcome in outcomes) == 39


def test_the_certificate_is_the_explorers() -> None:
    certificate, result = picture.Seen().certificate(), explore(picture.Saved())

    assert result.certified
    assert result.states == certificate.states + sum(certificate.nested_states) == 36 + 54
    assert result.recoveries == certificate.recoveries + sum(certificate.nested_recoveries) == 4 + 2
    assert result.nested == sum(certificate.nested_recoveries) == 2
