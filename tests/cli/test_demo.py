"""``untorn demo``: what it works on, what it prints, and how it ends."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

import pytest

from tests.support.commands import command, run, run_process
from untorn import demo
from untorn.crashmodel.storage import SimulatedStorage
from untorn.demo import cuts, subject
from untorn.demo.cuts import CutEffort
from untorn.demo.kills import KillEffort
from untorn.demo.speed import SpeedEffort, measure
from untorn.demo.subject import SIZE_MIN, copied, file_system, python_library
from untorn.explore.interpose import bypass_watch
from untorn.explore.targets.protocol import Acknowledged
from untorn.log.writer import Log

TINY = demo.Effort(CutEffort(commits=1, pages=1), KillEffort(kills=1, pages=4, delay_s=0), SpeedEffort(1, 3, 4))


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the demo puts its copy, in memory or not."""
    place = tmp_path / "tmp"
    place.mkdir()
    bypass_watch.root()  # what the explorer leaves until the process ends lies elsewhere
    monkeypatch.setattr(subject, "_IN_MEMORY", frozenset())
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    monkeypatch.setattr(demo, "QUICK", TINY)
    return place


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "a file"
    path.write_bytes(os.urandom(100_000))
    return path


# What it works on


def test_by_default_it_takes_the_largest_file_of_pythons_own_library() -> None:
    path = python_library()

    assert stat.S_ISREG(os.lstat(path).st_mode)
    assert "site-packages" not in path
    assert os.path.getsize(path) >= os.path.getsize(os.__file__)
    places = {os.path.realpath(place) for place in (sysconfig.get_path("stdlib"), sysconfig.get_config_var("LIBDIR"))}
    assert any(os.path.realpath(path).startswith(place + "/") for place in places)


def test_a_python_without_a_library_on_disk_is_taken_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subject, "_library_files", lambda: iter(()))
    assert python_library() == os.path.realpath(sys.executable)

    monkeypatch.setattr(sys, "executable", "")
    with pytest.raises(FileNotFoundError, match="name a file"):
        python_library()


def test_the_copy_holds_the_file_and_is_gone_afterwards(workplace: Path, tmp_path: Path) -> None:
    path = tmp_path / "large"
    path.write_bytes(os.urandom(SIZE_MIN + 1))

    with copied(str(path)) as work:
        assert Path(work.path).read_bytes() == work.original == path.read_bytes()
        assert os.path.dirname(os.path.dirname(work.path)) == str(workplace)
        assert work.file_system == file_system(str(tmp_path)) != "unknown"

    assert os.listdir(workplace) == []


def test_a_small_file_is_repeated_and_a_large_one_cut(
    workplace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "small").write_bytes(b"abc")
    with copied(str(tmp_path / "small")) as work:
        assert (work.source_size, len(work.original), work.original[:7]) == (3, SIZE_MIN, b"abcabca")

    monkeypatch.setattr(subject, "SIZE_MAX", SIZE_MIN)
    (tmp_path / "large").write_bytes(bytes(SIZE_MIN + 100))
    with copied(str(tmp_path / "large")) as work:
        assert (work.source_size, len(work.original)) == (SIZE_MIN + 100, SIZE_MIN)


def test_the_copy_is_gone_after_an_interrupt(workplace: Path, file: Path) -> None:
    with pytest.raises(KeyboardInterrupt), copied(str(file)):
        assert os.listdir(workplace)
        raise KeyboardInterrupt

    assert os.listdir(workplace) == []


@pytest.mark.parametrize(
    ("name", "code", "words"),
    [("none", 2, "No such file"), (".", 2, "Is a directory"), ("pipe", 2, "regular"), ("empty", 2, "empty")],
)
def test_what_cannot_be_copied_is_wrong_use(workplace: Path, tmp_path: Path, name: str, code: int, words: str) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "empty").touch()

    result = run("demo", tmp_path / name)

    assert (result.exit_code, words in result.stderr) == (code, True), result.output


def test_too_little_space_is_said_beforehand(workplace: Path, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subject, "_SPACE", 1 << 60)

    result = run("demo", file)

    assert (result.exit_code, "TMPDIR" in result.stderr) == (3, True)


def test_a_temporary_directory_in_memory_is_avoided_or_told(monkeypatch: pytest.MonkeyPatch) -> None:
    kinds = {tempfile.gettempdir(): "tmpfs", "/var/tmp": "ext4"}
    monkeypatch.setattr(subject, "file_system", kinds.__getitem__)
    assert subject._workplace() == "/var/tmp"

    kinds["/var/tmp"] = "tmpfs"
    assert subject._workplace() == tempfile.gettempdir()
    assert subject.Subject("", 1, "", b"", "tmpfs").in_memory


# The speed


def test_both_are_measured_with_the_same_work_and_leave_the_same_content(workplace: Path, file: Path) -> None:
    contents: dict[str, bytes] = {}
    real_unlink = os.unlink

    def unlink(path: str, *, dir_fd: int | None = None) -> None:
        if dir_fd is None:  # else it is a log
            contents["plain"] = Path(path).read_bytes()
        real_unlink(path, dir_fd=dir_fd)

    with copied(str(file)) as work, pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "unlink", unlink)
        patch.setattr("untorn.demo.speed.os.unlink", unlink)
        speed = measure(work, SpeedEffort(warm=2, commits=12, pages=4), 1, lambda done: None)
        contents["untorn"] = Path(work.path).read_bytes()

    assert contents["plain"] == contents["untorn"] != work.original
    assert (speed.pages, speed.commits) == (4, 12)
    assert min(speed.plain, speed.untorn, speed.plain_total, speed.untorn_total) > 0
    assert speed.ratio == speed.untorn / speed.plain


def test_on_a_slow_disk_fewer_commits_are_timed(workplace: Path, file: Path) -> None:
    with copied(str(file)) as work:
        speed = measure(work, SpeedEffort(warm=0, commits=64, pages=1, limit_s=0), 1, lambda done: None)

    assert speed.commits == 16


# The whole


def tiny_json(*arguments: str | Path) -> tuple[int, dict[str, Any]]:
    result = run("demo", "--quick", "--json", *arguments)
    assert result.stderr == "" or result.exit_code
    return result.exit_code, json.loads(result.stdout)


def test_json_has_every_figure_and_the_file_is_only_read(workplace: Path, file: Path) -> None:
    before = file.stat()

    code, found = tiny_json(file)

    assert (code, found["schema"], found["command"]) == (0, 1, "demo")
    assert found["source"] == {"path": str(file), "path_hex": None}
    assert (found["source_size"], found["copy_size"]) == (100_000, SIZE_MIN)
    assert (found["plain_cuts"]["torn"], found["plain_cuts"]["bad"]) == (True, 14)
    assert (found["untorn_cuts"]["certified"], found["untorn_cuts"]["bad"]) == (True, 0)
    assert 2 ** found["untorn_cuts"]["log2_states"] == pytest.approx(found["untorn_cuts"]["states"])
    assert (found["untorn_kills"]["kills"], found["untorn_kills"]["bad"]) == (1, 0)
    assert found["speed"]["ratio"] > 0
    assert (found["bad"], found["blind"], found["holds"]) == (0, False, True)
    after = file.stat()
    assert (after.st_mtime_ns, after.st_size, after.st_ino) == (before.st_mtime_ns, before.st_size, before.st_ino)
    assert os.listdir(workplace) == []


def test_the_table_says_it_in_eighty_columns_and_one_line_what_it_means(workplace: Path, file: Path) -> None:
    result = run("demo", "--quick", file)

    lines = result.stdout.splitlines()
    assert result.exit_code == 0
    assert max(len(line) for line in lines[1:]) <= 80
    bad = [line.split() for line in lines if "neither the old nor the new commit" in line]
    assert [row[-1] for row in bad] == ["0", "0"]
    assert int(bad[0][-2].replace(",", "")) > 0
    text = " ".join(lines)
    for words in (
        "plain: 4 operations; BAD: 14 of 16 recoveries ended in a bad state. ", "For example, the power fails after ",
        "then the file is part old, part new: 7 of the 8 sectors of a commit are new. untorn: ", "; certified: ",
        " states (about 2^", "after a second power cut, within recovery.", "SIGKILL is not a power failure",
        "times the plain speed", "writes that tear", "What it means: ",
    ):  # fmt: skip
        assert words in text
    assert "Cutting the power, untorn writes ..." in result.stderr


@pytest.mark.parametrize("with_rich", [True, False], ids=["rich", "no-rich"])
def test_on_a_terminal_rich_draws_the_table_if_it_is_there(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], with_rich: bool
) -> None:
    from untorn.cli import demo as demo_command

    monkeypatch.setattr(demo_command, "is_terminal", lambda stream: True)
    if not with_rich:
        monkeypatch.setitem(sys.modules, "rich", None)

    demo_command._print_table([("what [bold]", "1,234", "5", False), ("  bad", "12", "0", True)])

    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    assert ["what", "[bold]", "1,234", "5"] in [line.split() for line in lines]
    assert ["bad", "12", "0"] in [line.split() for line in lines]
    assert any("─" in line for line in lines) == with_rich


def test_a_defect_of_ours_is_reported_with_exit_code_1(
    workplace: Path, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forget_to_sync(log: Log) -> None:
        log.synced_through = log.sequence

    monkeypatch.setattr(Log, "sync", forget_to_sync)

    result = run("demo", "--quick", file)

    assert result.exit_code == 1
    assert "untorn FAILED" in result.stdout
    assert "a bad state under untorn: The power fails " in result.stderr
    code, found = tiny_json(file)
    assert (code, found["bad"]) == (1, found["untorn_cuts"]["bad"])
    assert found["bad"] > 0
    assert (found["untorn_cuts"]["certified"], found["holds"]) == (False, False)


def test_a_demo_that_sees_no_plain_write_tear_is_no_success(
    workplace: Path, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("untorn.demo.cuts.Overwriting.check", lambda self, storage, acknowledged: None)

    result = run("demo", "--quick", file)

    assert (result.exit_code, "shows nothing" in result.stdout) == (1, True), result.output
    assert "What it means" not in result.stdout


def test_a_demo_whose_untorn_writes_are_not_certified_is_no_success(
    workplace: Path, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Here a check that is not the same each time."""
    judge = cuts.Overwriting.check
    first = os.getpid()

    def fickle(self: cuts.Overwriting, storage: SimulatedStorage, acknowledged: Acknowledged) -> None:
        judge(self, storage, acknowledged)
        if self.kind is cuts.Kind.UNTORN and os.getppid() != first:
            raise AssertionError("only in the process in which some runs are done again")

    monkeypatch.setattr("untorn.demo.cuts.Overwriting.check", fickle)

    result = run("demo", "--quick", file)

    assert (result.exit_code, "are not certified" in result.stdout) == (1, True), result.output
    assert "What it means" not in result.stdout


def test_a_writer_that_cannot_run_is_the_environments_lack(
    workplace: Path, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")

    result = run("demo", "--quick", file)

    assert (result.exit_code, "the writer did not run" in result.stderr) == (3, True)
    assert os.listdir(workplace) == []


@pytest.mark.usefixtures("signals_as_usual")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("during", ["Cutting the power, untorn", "Killing an untorn writer"])
def test_an_interrupted_demo_leaves_nothing_behind(
    tmp_path: Path, file: Path, number: signal.Signals, during: str
) -> None:
    place = tmp_path / "place"
    place.mkdir()
    environment = {**os.environ, "TMPDIR": str(place)}
    process = subprocess.Popen(
        command("demo", "--quick", file), env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    with process:
        assert process.stderr is not None
        while not process.stderr.readline().startswith(during):
            assert process.poll() is None
        process.send_signal(number)
        output, errors = process.communicate(timeout=60)

    assert (process.returncode, output) == (130 if number == signal.SIGINT else 143, "")
    assert "Traceback" not in errors
    assert os.listdir(place) == []


def test_the_quick_demo_runs_as_a_command_of_its_own(tmp_path: Path) -> None:
    done = run_process("demo", "--quick", "--json", environment={"TMPDIR": str(tmp_path)})

    found = json.loads(done.stdout)
    assert (done.returncode, done.stderr, found["bad"]) == (0, b"", 0)
    assert found["source"]["path"] == python_library()
    assert os.listdir(tmp_path) == []
