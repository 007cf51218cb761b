"""The command as a whole: help, exit codes, and never a traceback."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import click
import pytest

import untorn
from tests.support.commands import COMMANDS, command, leave_log, run
from untorn.cli import main as main_module
from untorn.cli.failures import code_of, words_of, worst
from untorn.cli.main import cli
from untorn.errors import (
    CheckpointError,
    CorruptLogError,
    ForeignEditError,
    HandleFailedError,
    LockedError,
    MissingLogError,
    UntornError,
    UntrustedLogError,
)


def test_every_command_is_there_and_has_help() -> None:
    assert tuple(cli.commands) == COMMANDS
    for name in COMMANDS:
        result = run(name, "-h")
        assert (result.exit_code, result.output.startswith(f"Usage: cli {name} ")) == (0, True)


def test_the_version_is_that_of_the_package() -> None:
    assert run("--version").stdout == f"untorn {untorn.__version__}\n"


@pytest.mark.parametrize(
    "arguments", [[], ["nonsense"], ["--nonsense"], ["status"], ["log", "a", "b"], ["cp", "a"], ["demo", "--seed", "x"]]
)
def test_wrong_use_is_exit_code_2(arguments: list[str]) -> None:
    assert run(*arguments).exit_code == 2


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (LockedError("m", "p", 1), 4),
        (CorruptLogError("m", "p"), 1),
        (MissingLogError("m", "p"), 1),
        (UntrustedLogError("m", "p"), 1),
        (ForeignEditError("m", "p"), 1),
        (CheckpointError("m", "p"), 3),
        (HandleFailedError("m", "p"), 3),
        (UntornError("m"), 3),
        (FileNotFoundError(2, "m", "p"), 2),
        (IsADirectoryError(21, "m", "p"), 2),
        (PermissionError(13, "m", "p"), 3),
        (OSError(28, "m", "p"), 3),
        (OSError(5, "m", "p"), 3),
        (OSError("m"), 3),
    ],
)
def test_every_error_has_its_exit_code(error: Exception, code: int) -> None:
    assert code_of(error) == code


def test_a_bad_state_weighs_more_than_a_lock_and_that_more_than_wrong_use() -> None:
    assert [worst(codes) for codes in ([], [0, 0], [2, 0], [2, 4], [4, 3, 2], [3, 1, 4])] == [0, 0, 2, 4, 3, 1]


def test_an_error_of_the_system_is_told_with_its_file_and_a_remedy() -> None:
    assert words_of(OSError(28, os.strerror(28), "/a b")) == (
        "'/a b': No space left on device: free some space and run it again"
    )
    assert words_of(PermissionError(13, os.strerror(13), b"\xff")).startswith(r"$'\xff': Permission denied: run it as ")
    assert words_of(UntornError("two\nlines")) == r"two\nlines"


@pytest.mark.parametrize("error", [ZeroDivisionError("a\x1b[31mb"), AssertionError(), RecursionError("deep")])
def test_a_fault_of_ours_is_one_line_that_can_be_reported(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def broken(**arguments: object) -> None:
        raise error

    monkeypatch.setattr(cli.commands["status"], "callback", broken)

    result = run("status", "file")

    assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (70, "", 1)
    assert type(error).__name__ in result.stderr
    assert "test_main.py:" in result.stderr
    assert result.stderr.rstrip("\n").isprintable()


def test_errors_of_click_keep_their_own_words_and_codes(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(**arguments: object) -> None:
        raise click.UsageError("so not")

    monkeypatch.setattr(cli.commands["status"], "callback", broken)

    result = run("status", "file")

    assert (result.exit_code, "so not" in result.stderr) == (2, True)


def test_an_output_that_nobody_reads_ends_the_command_quietly(tmp_path: Path) -> None:
    leave_log(tmp_path / "file")
    read_end, write_end = os.pipe()
    os.close(read_end)
    try:
        done = subprocess.run(
            command("log", "--json", tmp_path / "file"),
            stdout=write_end,
            stderr=subprocess.PIPE,
            check=False,
            timeout=60,
        )
    finally:
        os.close(write_end)

    assert (done.returncode, done.stderr) == (141, b"")


def test_closed_standard_streams_do_no_harm(tmp_path: Path) -> None:
    leave_log(tmp_path / "file")
    closing = ["bash", "-c", 'exec "$@" >&- 2>&-', "bash", *command("recover", tmp_path / "file")]

    assert subprocess.run(closing, check=False, timeout=60).returncode == 0
    assert not (tmp_path / "file-untorn").exists()


def test_help_waits_neither_for_rich_nor_for_the_explorer() -> None:
    program = (
        "import sys\n"
        "from untorn.cli.main import cli\n"
        "cli(['--help'], standalone_mode=False)\n"
        "assert not [name for name in sys.modules if (name + '.').startswith(('rich.', 'untorn.explore.'))]\n"
    )
    subprocess.run([sys.executable, "-P", "-c", program], check=True, capture_output=True, timeout=60)


def test_a_signal_that_is_ignored_stays_ignored() -> None:
    """As under nohup."""
    program = (
        "import signal, sys\n"
        "from untorn.cli import main\n"
        "signal.signal(signal.SIGHUP, signal.SIG_IGN)\n"
        "sys.argv = ['untorn', '--version']\n"
        "try:\n"
        "    main.main()\n"
        "finally:\n"
        "    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN\n"
        "    assert signal.getsignal(signal.SIGTERM) is main._end\n"
    )
    subprocess.run([sys.executable, "-P", "-c", program], check=True, capture_output=True, timeout=60)


def test_the_installed_command_is_this_one() -> None:
    from importlib.metadata import entry_points

    (entry,) = entry_points(group="console_scripts", name="untorn")
    assert entry.load() is main_module.main
