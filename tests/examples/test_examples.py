"""The programs of examples/ run as they stand, say what they should, and leave ordinary files only."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from tests.docs.site import ROOT

EXAMPLES: Final = ROOT / "examples"

SAID: Final = {
    "quickstart_h5py.py": (
        "after a failed change: step 0 temperature {20.5}\nafter a good change: step 1 temperature {21.5}\n",
        ["run.h5"],
    ),
    "quickstart_zip.py": (
        "not added: the camera was unplugged\nwhole: readme.txt, photo0.raw, photo1.raw, photo2.raw\n",
        ["photos.zip"],
    ),
    "own_format.py": ("refused: Ada has only 700 cents\n{'Ada': 700, 'Grace': 300}\n", ["accounts.db"]),
}
"""What each program prints, and the files that it leaves."""


def run(folder: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """A program of its own, in which every warning is an error."""
    command = [sys.executable, "-W", "error", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=120)


def explore(folder: Path, module: Path) -> subprocess.CompletedProcess[str]:
    return run(folder, "-P", "-m", "untorn", "explore", "--jobs", "0", module)


def test_every_example_is_tried() -> None:
    assert {path.name for path in EXAMPLES.glob("*.py")} == {*SAID, "crash_test.py"}


@pytest.mark.parametrize("name", SAID)
def test_an_example_runs(tmp_path: Path, name: str) -> None:
    said, left = SAID[name]

    done = run(tmp_path, EXAMPLES / name)

    assert (done.stderr, done.stdout, done.returncode) == ("", said, 0)
    assert [path.name for path in tmp_path.iterdir()] == left


def test_control_the_same_with_plain_files_keeps_the_half(tmp_path: Path) -> None:
    text = (EXAMPLES / "quickstart_h5py.py").read_text(encoding="utf-8")
    (tmp_path / "plain.py").write_text(text.replace("untorn.open(", "open("), encoding="utf-8")

    done = run(tmp_path, "plain.py")

    assert done.returncode == 0
    assert done.stdout != SAID["quickstart_h5py.py"][0]


def test_the_crash_test_is_certified_and_finds_each_sync_that_is_taken_out(tmp_path: Path) -> None:
    module = tmp_path / "crash_test.py"
    shutil.copy(EXAMPLES / "crash_test.py", module)
    done = explore(tmp_path, module)
    assert (done.returncode, "crash_test: certified: " in done.stdout) == (0, True)

    text = module.read_text(encoding="utf-8")
    for sync in ("        os.fsync(file.fileno())", "    os.fsync(directory)"):
        assert sync in text
        module.write_text(text.replace(sync, sync.replace("os.fsync", "str")), encoding="utf-8")
        done = explore(tmp_path, module)
        assert (done.returncode, "crash_test: BAD: " in done.stdout) == (1, True)
