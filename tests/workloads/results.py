"""The file of results: one line of JSON for what was tried, one for each sequence that was explored."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import IO, Final

from xxhash import xxh3_64_hexdigest

import untorn
from tests.workloads.outcome import Outcome

_HERE: Final = Path(__file__).parent
_SOURCES: Final = (Path(untorn.__file__).parent, _HERE)


def source() -> str:
    """A digest of every module of the library and of these workloads: results of other code say nothing of this one."""
    files = sorted(file for folder in _SOURCES for file in folder.rglob("*.py"))
    return xxh3_64_hexdigest(b"\0".join(file.read_bytes() for file in files))


class Results:
    """What was found so far, kept in a file that a later run goes on with."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.found: dict[str, Outcome] = {}
        self.stale = False
        """The file was made with other code, and was begun anew."""
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        if lines and json.loads(lines[0]) != self._head():
            self.stale, lines = True, []
        for line in lines[1:]:
            try:
                outcome = Outcome(**json.loads(line))
            except ValueError:  # the last line of a run that was killed
                break
            self.found[outcome.name] = outcome
        self._file: IO[str] = path.open("w", encoding="utf-8")
        self._write(self._head())
        for outcome in self.found.values():
            self._write(asdict(outcome))

    @staticmethod
    def _head() -> dict[str, str]:
        return {"source": source()}

    def _write(self, value: Mapping[str, object]) -> None:
        self._file.write(json.dumps(value) + "\n")
        self._file.flush()

    def add(self, outcome: Outcome) -> None:
        """Keeps one more."""
        self.found[outcome.name] = outcome
        self._write(asdict(outcome))

    def close(self) -> None:
        self._file.close()

    @property
    def bad(self) -> list[Outcome]:
        """All that is bad."""
        return [outcome for outcome in self.found.values() if outcome.bad]
