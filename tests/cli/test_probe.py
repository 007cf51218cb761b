"""``untorn probe``: what it prints, its exit codes, and that it leaves nothing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.commands import command, run
from tests.support.machine import needs
from tests.support.mounts import mounted
from untorn.cli.failures import BAD, ENVIRONMENT, FINE, INTERRUPTED, USAGE
from untorn.debate import probe
from untorn.debate.probe.assertions import ASSERTIONS, Assertion
from untorn.debate.probe.probe_file import Broken, Probed
from untorn.debate.probe.targets import LinuxSubject
from untorn.storage.interface import AtomicLimits

OURS = ("--untorn", "--design", "cow")


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only some of the assertions."""
    some = tuple(assertion for assertion in ASSERTIONS if assertion.name in ("limits", "two-buffers", "no-promise"))
    monkeypatch.setattr(probe.probe, "__defaults__", (some,))


def without_atomic_writes(folder: Path) -> bool:
    subject = LinuxSubject(str(folder), direct=True)
    return probe.probe(subject, lambda words, done: None, []).limits == AtomicLimits()


@pytest.fixture
def lacking(tmp_path: Path) -> Iterator[Path]:
    """Where no atomic writes are offered: with the temporary files or, as XFS has them, on an ext4."""
    if without_atomic_writes(tmp_path):
        yield tmp_path
        return
    with mounted("ext4", tmp_path, size=128 << 20) as folder:
        yield folder


def test_untorns_own_file_passes_all_and_nothing_is_left(tmp_path: Path) -> None:
    result = run("probe", *OURS, tmp_path)

    assert result.exit_code == FINE
    assert "untorn, design cow: atomic writes of any size" in result.stdout
    assert "0 fail" in result.stdout
    assert "not needed here: was taken whole" in result.stdout
    assert os.listdir(tmp_path) == []


@pytest.mark.usefixtures("few")
def test_without_atomic_writes_the_environment_lacks_them(lacking: Path) -> None:
    result = run("probe", lacking)

    assert result.exit_code == ENVIRONMENT
    assert "offers no atomic writes" in result.stderr
    assert "no atomic writes are offered: 2 assertions not tried" in result.stdout
    assert "Without a promise every atomic write is refused" in result.stdout


@pytest.mark.usefixtures("few")
def test_a_design_that_needs_them_lacks_them_too_but_only_if_it_was_asked_for(lacking: Path) -> None:
    asked = run("probe", "--untorn", "--design", "folio-flag", lacking)
    every = run("probe", "--untorn", lacking)

    assert asked.exit_code == ENVIRONMENT
    assert "design folio-flag: no atomic writes are offered" in asked.stderr
    assert every.exit_code == FINE
    assert "untorn, design plain" in every.stdout


@pytest.mark.needs_root
def test_on_xfs_the_holes_of_this_kernel_are_bad_and_untorn_has_none(tmp_path: Path) -> None:
    with mounted("xfs", tmp_path) as folder:
        if without_atomic_writes(folder):
            pytest.skip("this kernel has no atomic writes on XFS without such a device")
        kernel = run("probe", folder, "--json")
        ours = run("probe", "--untorn", folder)

    found = json.loads(kernel.stdout)
    failed = sum(file["failures"] for file in found["files"])
    assert kernel.exit_code == (BAD if failed else FINE)
    assert found["environment"]["mount"]["kind"] == "xfs"
    assert found["environment"]["way"] == "the file system, by software"
    assert ours.exit_code == FINE
    assert ours.stdout.count("0 fail") == 4


@pytest.mark.usefixtures("few")
def test_json_holds_everything(tmp_path: Path) -> None:
    result = run("probe", *OURS, tmp_path, "--json")

    found: dict[str, Any] = json.loads(result.stdout)
    (file,) = found["files"]
    assert (found["schema"], found["command"], found["path"]) == (1, "probe", str(tmp_path))
    assert set(found["environment"]) == {"kernel", "mount", "block_size", "alignment", "limits", "device", "way"}
    assert set(found["environment"]["limits"]) == set(AtomicLimits._fields)
    assert file["limits"]["unit_min"] == 1
    assert file["failures"] == 0
    assert [(outcome["name"], outcome["verdict"], outcome["relaxed"]) for outcome in file["outcomes"]] == [
        ("limits", "pass", False),
        ("two-buffers", "pass", True),
        ("no-promise", "not supported", False),
    ]


def test_a_broken_promise_is_a_bad_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(probed: Probed) -> None:
        raise Broken("seen to tear")

    bad = Assertion("bad", "It holds", "here", broken)
    monkeypatch.setattr(probe.probe, "__defaults__", ((*ASSERTIONS[:1], bad),))

    result = run("probe", *OURS, tmp_path)

    assert result.exit_code == BAD
    assert "FAIL           It holds" in result.stdout
    assert "seen to tear" in result.stdout
    assert "1 pass, 1 fail, 0 not supported" in result.stdout
    assert os.listdir(tmp_path) == []


@pytest.mark.usefixtures("few")
def test_a_file_is_probed_beside_itself_and_not_touched(tmp_path: Path) -> None:
    path = tmp_path / "mine"
    path.write_bytes(b"mine")
    link = tmp_path / "link"
    link.symlink_to(path)

    for name in (path, link):
        assert run("probe", *OURS, name).exit_code == FINE
    assert sorted(os.listdir(tmp_path)) == ["link", "mine"]
    assert path.read_bytes() == b"mine"


def test_wrong_use(tmp_path: Path) -> None:
    assert run("probe", tmp_path / "none").exit_code == USAGE
    assert run("probe", "/dev/null").exit_code == USAGE
    assert run("probe", "--design", "cow", tmp_path).exit_code == USAGE
    assert run("probe", "--untorn", "--design", "none", tmp_path).exit_code == USAGE
    assert run("probe").exit_code == USAGE


@pytest.mark.needs_root
@needs("losetup")
def test_a_block_device_is_only_looked_at(tmp_path: Path) -> None:
    image = tmp_path / "image"
    image.write_bytes(bytes(1 << 20))
    node = subprocess.run(
        ["losetup", "--find", "--show", image], capture_output=True, text=True, check=False
    ).stdout.strip()
    if not node:
        pytest.skip("no loop device can be had")
    try:
        result = run("probe", node)
        ours = run("probe", "--untorn", node)
    finally:
        subprocess.run(["losetup", "--detach", node], check=True)

    assert result.exit_code == ENVIRONMENT
    assert "this device offers no atomic writes" in result.stderr
    assert str(image) in result.stdout
    assert image.read_bytes() == bytes(1 << 20)
    assert ours.exit_code == USAGE


def test_a_place_where_nothing_may_be_written_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object, **options: object) -> None:
        raise PermissionError(13, "Permission denied", str(tmp_path))

    monkeypatch.setattr(os, "mkdir", refuse)

    result = run("probe", tmp_path)

    assert result.exit_code == ENVIRONMENT
    assert "run it as a user who is allowed to do that" in result.stderr


@pytest.mark.usefixtures("signals_as_usual")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, INTERRUPTED), (signal.SIGTERM, 128 + signal.SIGTERM)])
def test_interrupted_it_leaves_nothing(tmp_path: Path, number: signal.Signals, code: int) -> None:
    process = subprocess.Popen(command("probe", *OURS, tmp_path), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 60
        while not any("cow-" in name for _, _, names in os.walk(tmp_path) for name in names):
            assert time.monotonic() < deadline
            assert process.poll() is None
            time.sleep(0.005)
        process.send_signal(number)
        assert process.wait(60) == code
    finally:
        process.kill()
        process.wait()

    assert os.listdir(tmp_path) == []
