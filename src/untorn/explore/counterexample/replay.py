"""One bad state in one JSON file: enough to record the workload again and show the same crash."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from untorn.errors import UntornError
from untorn.explore.counterexample.explain import explain, summary
from untorn.explore.counterexample.shrink import Shrinker, Shrunk
from untorn.explore.result import Coverage, Result
from untorn.explore.search.engine import NondeterminismError, Search, recorded, search_of
from untorn.explore.search.fingerprint import fingerprint
from untorn.explore.search.pinned_state import Baseline, PinnedState, show
from untorn.explore.search.tasks import Origin, find
from untorn.explore.search_record import Key
from untorn.explore.targets.builtin import from_spec

FORMAT = 1


def pack(search: Search, origin: Origin, state: PinnedState) -> dict[str, Any]:
    """What replays a state: where its search begins, the crash points, the values that deviate."""
    layers = search.shared.layers
    return {
        "format": FORMAT,
        "trace": fingerprint(layers[0].trace),
        "origin": [[list(prefix), index] for prefix, index in origin.crashes],
        "events": [layer.class_starts[at] for layer, at in zip(layers, state.classes, strict=True)],
        "baseline": state.baseline.value,
        "deviations": [
            {"layer": key[0], "variable": _name(key), "value": index} for key, index in state.deviations.items()
        ],
    }


def _name(key: Key) -> list[Any]:
    return [*key[1]]


def unpack(search: Search, saved: dict[str, Any]) -> PinnedState:
    """The state again; UntornError if the search has no such crash points or values."""
    layers = search.shared.layers
    try:
        classes = tuple(layer.class_starts.index(event) for layer, event in zip(layers, saved["events"], strict=True))
        known = {
            (depth, json.dumps(_name((depth, variable)))): variable
            for depth, layer in enumerate(layers)
            for variable in layer.alternatives
        }
        deviations = {
            (one["layer"], known[one["layer"], json.dumps(one["variable"])]): int(one["value"])
            for one in saved["deviations"]
        }
    except (KeyError, ValueError) as error:
        raise UntornError(f"the saved crash does not fit the recording: {error}") from error
    return PinnedState(classes, Baseline(saved["baseline"]), deviations)


def save(result: Result, path: str | Path) -> None:
    """Writes the first counterexample's crash; ValueError if there is none."""
    if not result.counterexamples:
        raise ValueError("nothing bad was found, so there is nothing to replay")
    Path(path).write_text(json.dumps(result.counterexamples[0].replay, indent=1) + "\n", encoding="utf-8")


def show_again(search: Search, saved: dict[str, Any], result: Result) -> None:
    """Runs a saved state and puts its counterexample, if it is still bad, into ``result``."""
    state = unpack(search, saved)
    outcome, _ = show(search, state)
    result.recoveries = 1
    if outcome.problem is not None:
        result.bad = 1
        shrinker = Shrinker(search, outcome)
        counterexample = explain(shrinker, Shrunk(state, outcome.problem, 1), crash=saved.get("crash", "power"))
        counterexample.replay = saved
        result.counterexamples.append(counterexample)


def run(path: str | Path) -> Result:
    """Records the saved target again and shows the saved crash; UntornError if it is not the same recording."""
    saved = _read(path)
    try:
        target = from_spec(saved["target"])
    except (KeyError, TypeError, ImportError, FileNotFoundError) as error:
        raise UntornError(f"{path}: what it is a crash of cannot be found: {error}") from error
    recording = recorded(target)
    if fingerprint(recording.trace) != saved["trace"]:
        raise UntornError(f"{target.name} does something else now than when {path} was saved: explore it anew")
    try:
        origin = Origin(tuple((tuple(prefix), index) for prefix, index in saved["origin"]))
        search = find(search_of(target, recording), origin)
        result = empty_result(search, target.name, recording.options.profile)
        show_again(search, saved, result)
    except (KeyError, TypeError, ValueError, IndexError, NondeterminismError) as error:
        raise UntornError(f"{path}: the saved crash does not fit the recording: {error}") from error
    return result


def _read(path: str | Path) -> dict[str, Any]:
    """A saved crash; UntornError if the file is none."""
    try:
        saved = json.loads(Path(path).read_text(encoding="utf-8"))
    except ValueError as error:  # no UTF-8, or no JSON
        raise UntornError(f"{path} is not a saved crash: {error}") from None
    needed = {"format", "trace", "origin", "events", "baseline", "deviations", "target"}
    if not isinstance(saved, dict) or saved.get("format") != FORMAT or not needed <= saved.keys():
        raise UntornError(f"{path} is not a saved crash of this version")
    return saved


def empty_result(search: Search, name: str, profile: str) -> Result:
    """A result to show one state in."""
    result = Result(name, profile, Coverage.SAMPLED, refusal="one saved state")
    result.operations = summary(search.shared.layers[0].trace.operations)
    return result
