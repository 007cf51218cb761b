"""The rule of conftest.py that a skipped test fails in CI, tried out in a pytest of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SAMPLE = """
import pytest

@pytest.mark.skip(reason="no such device")
def test_marked(): ...

def test_called():
    pytest.skip("not today")

@pytest.mark.xfail
def test_known_fault():
    assert False

def test_sound(): ...
"""


@pytest.mark.parametrize(
    ("ci", "summary"),
    [
        pytest.param("", "1 passed, 3 skipped, 1 xfailed", id="at-home"),
        pytest.param("true", "1 failed, 1 passed, 1 xfailed, 2 errors", id="in-ci"),
    ],
)
def test_a_skipped_test_fails_only_in_ci(tmp_path: Path, ci: str, summary: str) -> None:
    (tmp_path / "conftest.py").write_text(Path(__file__).with_name("conftest.py").read_text())
    (tmp_path / "test_sample.py").write_text(SAMPLE)
    (tmp_path / "test_module.py").write_text('import pytest\npytest.importorskip("no_such_module_at_all")\n')
    (tmp_path / "pytest.toml").write_text("[pytest]\n")

    # A broken collection would stop the run before the tests: --continue-on-collection-errors shows both.
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--continue-on-collection-errors"]
    root = str(Path(__file__).parents[1])
    environment = {**os.environ, "CI": ci, "PYTEST_ADDOPTS": "", "PYTHONPATH": root}
    run = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)

    assert summary in run.stdout
    assert ("CI=true makes a skipped test a failure" in run.stdout) == bool(ci)


def test_tests_that_send_signals_undo_what_nohup_and_background_jobs_ignore() -> None:
    sending = [path for path in Path(__file__).parent.rglob("test_*.py") if ".send_signal(" in path.read_text()]
    sending.remove(Path(__file__))

    assert sending
    assert [
        path.name for path in sending if '@pytest.mark.usefixtures("signals_as_usual")' not in path.read_text()
    ] == []
