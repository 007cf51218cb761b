"""The interposer under the search: programs after crashes, and what the explorer makes of a refusal."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from untorn.explore import UnseenAccessError, ack, acknowledged
from untorn.explore.explorer import explore
from untorn.explore.targets.python_module import FunctionTarget


def prepare(directory: Path) -> None:
    (directory / "state").write_text(json.dumps({"count": 0}))


def replace(directory: Path, *, synced: bool) -> None:
    for count in (1, 2):
        with open(directory / "state.tmp", "w") as file:
            json.dump({"count": count}, file)
            if synced:
                file.flush()
                os.fsync(file.fileno())
        os.replace(directory / "state.tmp", directory / "state")
        if synced:
            number = os.open(directory, os.O_RDONLY)
            os.fsync(number)
            os.close(number)
        ack(count)


def unsynced(directory: Path) -> None:
    replace(directory, synced=False)


def synced(directory: Path) -> None:
    replace(directory, synced=True)


def check(directory: Path) -> None:
    count = json.loads((directory / "state").read_text())["count"]
    assert count >= max(acknowledged(), default=0)


def test_a_rename_of_a_file_that_was_not_synced_is_found_and_the_safe_way_is_certified() -> None:
    assert explore(FunctionTarget("unsynced", prepare=prepare, workload=unsynced, check=check)).bad
    safe = explore(FunctionTarget("synced", prepare=prepare, workload=synced, check=check))
    assert safe.certified
    assert not safe.bad


def starts_a_process(directory: Path) -> None:
    check(directory)
    subprocess.run(["true"], check=True)


def swallows_a_refusal(directory: Path) -> None:
    try:
        starts_a_process(directory)
    except Exception:
        return


@pytest.mark.parametrize("bad_check", [starts_a_process, swallows_a_refusal])
def test_a_check_that_cannot_be_explored_is_refused_and_no_bad_state(bad_check: Callable[[Path], None]) -> None:
    with pytest.raises(UnseenAccessError, match=r"subprocess\.Popen"):
        explore(FunctionTarget("refused", prepare=prepare, workload=synced, check=bad_check))
