"""``python -m bench``."""

from __future__ import annotations

import argparse
import json
import signal
import sys
from pathlib import Path
from types import FrameType

from bench.measure import progress
from bench.run import PARTS, about, as_json, measure
from bench.scale import FULL, QUICK
from bench.table import render
from bench.targets import verdicts


def main(arguments: list[str] | None = None) -> int:
    """Measures, prints tables on stdout, writes the JSON file. 0 whatever the figures are."""
    parser = argparse.ArgumentParser(prog="bench", description="Measures untorn side by side with the alternatives.")
    parser.add_argument("--quick", action="store_true", help="fewer sizes and rounds, about a minute")
    parser.add_argument("--only", action="append", choices=list(PARTS), default=[], help="this part; may be repeated")
    parser.add_argument("--json", type=Path, default=Path("bench-results.json"), help="where the figures go")
    parser.add_argument("--dir", type=Path, default=Path(), help="where to make the temporary directory")
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, _end)
    facts = about(options.dir, quick=options.quick)
    if facts["filesystem"] in ("tmpfs", "ramfs"):
        progress("this is memory, not a disk: syncs cost nothing here. Name a directory on a disk with --dir")
    if int(facts["late wake-up us"]) > 1000:
        progress("other programs keep the processors busy: every sync may take a timer tick longer than it should")
    results = measure(options.dir, QUICK if options.quick else FULL, tuple(options.only))
    judged = verdicts(results)
    print(render(results, judged, facts))
    options.json.write_text(json.dumps(as_json(results, judged, facts), indent=1) + "\n")
    progress(f"figures in {options.json}")
    return 0


def _end(number: int, frame: FrameType | None) -> None:
    """Leaves by an exception, so that the temporary directory goes."""
    sys.exit(128 + number)


if __name__ == "__main__":
    sys.exit(main())
