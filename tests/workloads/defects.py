"""Which planted defects the generated sequences catch; ``python -m tests.workloads --defects`` prints the table."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from tests.defects.catalogue import DEFECTS, Defect, with_defect
from tests.workloads.outcome import explored
from tests.workloads.sequences import Seen, every, tenth
from tests.workloads.target import DEVICES, Generated
from untorn.errors import UntornWarning

_DEVICES: Final = tuple(device for device in DEVICES if not device.startswith("garbage"))

_NOT_GENERATED: Final = {
    "closes": "a recovery without a session after it",
    "deaths": "deaths within a call",
    "discards": "commits that are discarded",
    "discards, no attributes": "commits that are discarded",
    "fails": "syncs that fail",
    "fails again": "syncs that fail",
    "fails again, garbage": "syncs that fail",
    "fails in a cut": "syncs that fail",
    "takes over": "another program that does not sync",
}
"""What a sequence would need, by the workload that catches a defect."""

_GARBAGE: Final = "a device that makes garbage"


class Catch(NamedTuple):
    """The first sequence that shows a defect."""

    tried: int
    """How many were explored until then."""
    name: str
    """Empty if none shows it."""


def chosen() -> list[Generated]:
    """The tenth, but for devices whose sectors in flight become garbage, which take longer and show nothing else."""
    return [generated for generated in tenth() if generated.device in _DEVICES]


def whole() -> Iterator[Generated]:
    """Likewise of all sequences."""
    return every(_DEVICES)


def catch(defect: Defect, sequences: Iterable[Generated]) -> Catch:
    """Explores ``sequences`` with the defect planted, but no crashes in recovery, until one of them is bad."""
    tried = 0
    seen = Seen()
    with with_defect(defect), warnings.catch_warnings():
        warnings.simplefilter("ignore", UntornWarning)
        for generated in sequences:
            try:
                if not seen.new(generated, generated.recording()):
                    continue
            except Exception:  # needs no crash; explored() says so
                pass
            tried += 1
            if explored(generated, depth=0).bad:
                return Catch(tried, generated.name)
    return Catch(tried, "")


def table(*, longest: bool = False) -> Iterator[str]:
    """The table as Markdown, of the defects that exploring catches; with ``longest`` all sequences are tried, too."""
    yield "| defect | caught by the tenth | explored until then |"
    yield "|---|---|---:|"
    for name, defect in DEFECTS.items():
        if not defect.target:
            continue
        found = catch(defect, chosen())
        needs = _NOT_GENERATED.get(defect.target) or (_GARBAGE if ", garbage" in defect.target else "")
        if not found.name and longest and not needs:
            found = catch(defect, whole())
            yield f"| {name} | no; by `{found.name}` of all | {found.tried} |"
        elif found.name:
            yield f"| {name} | `{found.name}` | {found.tried} |"
        else:
            yield f"| {name} | no{f': it takes {needs}' if needs else ''} | |"
