"""``python -m tests.workloads``: explores every generated sequence, or one, and exits with 1 if anything is bad."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from tests.workloads.campaign import BAD, FINE, Campaign
from tests.workloads.defects import table
from tests.workloads.outcome import explore_all
from tests.workloads.sequences import LENGTH_MAX, count, every, tenth
from tests.workloads.session import CLOSE, ENDINGS, OPERATIONS
from tests.workloads.target import DEVICES, STARTS, Generated


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.workloads", description=__doc__)
    parser.add_argument("--results", type=Path, default=Path("workloads.jsonl"), help="file to keep and go on with")
    parser.add_argument("--processes", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--device", choices=DEVICES, help="this one alone")
    parser.add_argument("--longest", type=int, default=LENGTH_MAX, help="operations in a sequence, at most")
    parser.add_argument("--tenth", action="store_true", help="only what the tests explore")
    parser.add_argument("--only", metavar="OPERATION,...", help="explore this sequence alone and tell its story")
    parser.add_argument("--start", choices=STARTS, default="content", help="with --only")
    parser.add_argument("--ending", choices=ENDINGS, default=CLOSE, help="with --only")
    parser.add_argument("--defects", action="store_true", help="print which planted defects the tests' tenth catches")
    parser.add_argument("--all", action="store_true", help="with --defects: if it catches one not, try all sequences")
    asked = parser.parse_args()
    if asked.defects:
        for line in table(longest=asked.all):
            print(line, flush=True)
        return FINE
    if asked.only:
        operations = tuple(asked.only.split(","))
        unknown = [name for name in operations if name not in OPERATIONS]
        if unknown:
            parser.error(f"no such operation: {', '.join(unknown)}; there are {', '.join(OPERATIONS)}")
        return _tell(Generated(operations, asked.device or "512", asked.start, asked.ending, sites=True))
    devices = (asked.device,) if asked.device else tuple(DEVICES)
    if asked.tenth:
        chosen = [generated for generated in tenth() if generated.device in devices]
        return Campaign(chosen, len(chosen), asked.results).run(asked.processes)
    sequences = every(devices, asked.longest)
    return Campaign(sequences, count(devices, asked.longest), asked.results).run(asked.processes)


def _tell(generated: Generated) -> int:
    """Explores one sequence to its end; what fails by itself is raised as it is."""
    result = explore_all(generated)
    print(f"{generated.name}: {result.verdict()}")
    for story in result.counterexamples:
        print(story.text)
    return FINE if result.certified else BAD


if __name__ == "__main__":
    sys.exit(main())
