"""Explores many sequences in several processes, says how far it is, and goes on where it was interrupted."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from pathlib import Path
from typing import Final

from tests.workloads.outcome import Outcome, explored, failed
from tests.workloads.results import Results
from tests.workloads.sequences import Seen
from tests.workloads.target import Generated

FINE: Final = 0
BAD: Final = 1
INTERRUPTED: Final = 130
_AHEAD: Final = 4
"""Explorations per process that wait: enough that none is idle while the next ones are recorded."""
_SAY_SECONDS: Final = 5.0

Say = Callable[[str], None]


def _leave_interrupts_alone() -> None:
    """Ctrl-C is for the parent, which lets its workers end what they are at."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


class Campaign:
    """One run over ``sequences``, of which there are ``total``."""

    def __init__(self, sequences: Iterable[Generated], total: int, results: Path, say: Say = print) -> None:
        self._sequences = sequences
        self._total = total
        self._say = say
        self._seen = Seen()
        self._results = Results(results)
        self._met = 0
        """Sequences that were explored, found the same as another one, or found in the file."""
        self._same = 0
        self._known = 0
        self._began = time.monotonic()
        self._said = 0.0

    def run(self, processes: int) -> int:
        """The exit code: 1 if anything is bad, 130 if interrupted and nothing is."""
        results = self._results
        if results.stale:
            self._say(f"{results.path} was made with other code: all begins anew")
        elif results.found:
            self._say(f"going on from {results.path}, which has {len(results.found):,} explorations")
        for outcome in results.bad:
            self._tell_bad(outcome)
        interrupted = False
        try:
            with ProcessPoolExecutor(processes, initializer=_leave_interrupts_alone) as pool:
                interrupted = self._explore(pool, processes)
        finally:
            results.close()
        return self._sum_up(interrupted=interrupted)

    def _explore(self, pool: ProcessPoolExecutor, processes: int) -> bool:
        running: set[Future[Outcome]] = set()
        try:
            for generated in self._to_explore():
                running.add(pool.submit(explored, generated))
                while len(running) >= _AHEAD * processes:
                    running = self._collect(running)
            while running:
                running = self._collect(running)
        except KeyboardInterrupt:
            pool.shutdown(wait=False, cancel_futures=True)
            return True
        return False

    def _to_explore(self) -> Iterable[Generated]:
        """The sequences that are new; those that fail while they are recorded are counted at once."""
        for generated in self._sequences:
            try:
                new = self._seen.new(generated, generated.recording())
            except Exception as error:
                if generated.name not in self._results.found:
                    self._take(failed(generated, error))
                    continue
                new = True
            if generated.name in self._results.found:
                self._known += 1
                self._met += 1
            elif not new:
                self._same += 1
                self._met += 1
            else:
                yield generated
            self._progress()

    def _collect(self, running: set[Future[Outcome]]) -> set[Future[Outcome]]:
        done, rest = wait(running, return_when=FIRST_COMPLETED)
        for future in done:
            self._take(future.result())
        return rest

    def _take(self, outcome: Outcome) -> None:
        self._met += 1
        self._results.add(outcome)
        if outcome.bad:
            self._tell_bad(outcome)
        self._progress()

    def _tell_bad(self, outcome: Outcome) -> None:
        self._say(f"BAD {outcome.name}\n    {outcome.verdict}\n    {outcome.command}")

    def _progress(self) -> None:
        now = time.monotonic()
        if now - self._said < _SAY_SECONDS:
            return
        self._said = now
        fresh = self._met - self._known
        left = (now - self._began) * (self._total - self._met) / fresh if fresh else 0.0
        print(
            f"{self._met:,} of {self._total:,} sequences ({self._same:,} the same as another), "
            f"{len(self._results.bad):,} bad, about {left / 60:.0f} min left",
            file=sys.stderr, flush=True,
        )  # fmt: skip

    def _sum_up(self, *, interrupted: bool) -> int:
        results = self._results
        recoveries = sum(outcome.recoveries for outcome in results.found.values())
        self._say(
            f"{self._met:,} of {self._total:,} sequences, {self._same:,} of them the same as another: "
            f"{len(results.found):,} explorations, {recoveries:,} recoveries, {len(results.bad):,} bad; "
            f"{(time.monotonic() - self._began) / 60:.1f} min"
        )
        if interrupted:
            self._say(f"interrupted; the same command goes on from {results.path}")
        if results.bad:
            return BAD
        return INTERRUPTED if interrupted else FINE
