"""What all tests share: Hypothesis profiles, the ``needs_root`` marker, a PATH of what packages.txt lists, signals that
are not ignored, and no skipped tests in CI."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from tests.support.machine import link_commands

IN_CI = os.environ.get("CI", "").lower() == "true"

# Deadlines are off: a test that syncs files takes as long as the disk does.
settings.register_profile("dev", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True, database=None, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci" if IN_CI else "dev"))


def pytest_configure(config: pytest.Config) -> None:
    """Lets the tests find the commands that packages.txt lists and no others; workers inherit it."""
    if not hasattr(config, "workerinput"):
        folder = tempfile.mkdtemp(prefix="untorn-tests-path-")
        config.add_cleanup(lambda: shutil.rmtree(folder))
        link_commands(Path(folder))
        os.environ["PATH"] = folder


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what needs root for anyone else."""
    if os.geteuid() == 0:
        return
    skip = pytest.mark.skip(reason="needs root")
    for item in items:
        if item.get_closest_marker("needs_root"):
            item.add_marker(skip)


@pytest.fixture
def signals_as_usual() -> Iterator[None]:
    """For a test that sends these to itself or to a child: nohup ignores one, a script's background another."""
    usual: dict[signal.Signals, Any] = dict.fromkeys((signal.SIGTERM, signal.SIGHUP), signal.SIG_DFL)
    usual[signal.SIGINT] = signal.default_int_handler
    before = {number: signal.signal(number, action) for number, action in usual.items()}
    yield
    for number, action in before.items():
        signal.signal(number, action)


@pytest.fixture
def umask_as_usual() -> Iterator[None]:
    """For a test that compares permissions."""
    before = os.umask(0o022)
    yield
    os.umask(before)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    _fail_if_skipped_in_ci(report)
    return report


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    _fail_if_skipped_in_ci(report)
    return report


def _fail_if_skipped_in_ci(report: pytest.TestReport | pytest.CollectReport) -> None:
    """A test that never ran proves nothing; an expected failure did run and stays as it is."""
    if not IN_CI or not report.skipped or hasattr(report, "wasxfail"):
        return
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
    report.outcome = "failed"
    report.longrepr = (
        f"{report.nodeid} was skipped, and CI=true makes a skipped test a failure.\n"
        f"Reason given: {reason}\n"
        "Give the machine what the test needs, or leave the test out by name or marker (-m 'not needs_root')."
    )
