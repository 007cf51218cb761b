"""Names and messages on a terminal, and progress."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.commands import command
from untorn.cli.output import path_fields, plural, printable, quoted, size_of, table

NAMES = [
    pytest.param(b"plain.bin", id="plain"),
    pytest.param(b"with a space", id="space"),
    pytest.param(b"it's", id="quote"),
    pytest.param(b"two\nlines", id="newline"),
    pytest.param(b"\xff\xfe not utf-8 \x80", id="not-utf-8"),
    pytest.param("Größe 尺寸".encode(), id="utf-8"),
    pytest.param(b"\x1b[31mred\x07", id="escape-sequence"),
    pytest.param(b"back\\slash and 'quote'\x01", id="all-at-once"),
    pytest.param("\u202egnp.exe".encode(), id="right-to-left"),
    pytest.param(b"\x019", id="digit-after-escape"),
]


@pytest.mark.parametrize("name", NAMES)
def test_a_quoted_name_is_printable_and_bash_reads_it_back(name: bytes) -> None:
    shown = quoted(os.fsdecode(name))

    assert shown.isprintable()
    read = subprocess.run(["bash", "-c", f"printf %s {shown}"], capture_output=True, check=True)
    assert read.stdout == name


@pytest.mark.parametrize("name", NAMES)
def test_a_message_with_a_name_in_it_is_one_printable_line(name: bytes) -> None:
    assert printable(f"cannot open {os.fsdecode(name)}").isprintable()


@pytest.mark.parametrize("name", NAMES)
def test_json_tells_every_name_exactly(name: bytes) -> None:
    fields = path_fields(os.fsdecode(name))

    raw = fields["path_hex"]
    path = fields["path"]
    assert path is not None
    assert (bytes.fromhex(raw) if raw else path.encode()) == name


def test_figures_for_people() -> None:
    assert [size_of(size) for size in (0, 1023, 1024, 7 << 19, 3 << 30, 5 << 40, 5 << 50)] == [
        "0 bytes", "1023 bytes", "1 KiB", "3.5 MiB", "3 GiB", "5 TiB", "5120 TiB",
    ]  # fmt: skip
    assert [plural(1, "commit"), plural(1234, "commit"), plural(2, "entry", "entries")] == [
        "1 commit", "1,234 commits", "2 entries",
    ]  # fmt: skip
    assert table([("A", "B"), ("100", "x")], numbers=(0,)) == ["  A  B", "100  x"]


BLOCKED = "import sys; sys.modules['rich'] = None; from untorn.cli.main import main; main()"


@pytest.mark.parametrize("with_rich", [True, False], ids=["rich", "no-rich"])
def test_a_copy_shows_its_progress_on_a_terminal_and_only_on_standard_error(tmp_path: Path, with_rich: bool) -> None:
    (tmp_path / "source").write_bytes(bytes(3 << 20))
    start = [sys.executable, "-P", "-m", "untorn"] if with_rich else [sys.executable, "-P", "-c", BLOCKED]
    arguments = [*start, "cp", str(tmp_path / "source"), str(tmp_path / "target")]
    environment = {**os.environ, "TERM": "xterm", "NO_COLOR": "1"}

    shown, output, code = on_terminal(arguments, environment)

    assert (code, output) == (0, b"")
    assert b"Copying" in shown
    assert b"Moving it into the file" in shown
    assert (b"\x1b[3" in shown) is False, "NO_COLOR is set"


def on_terminal(arguments: list[str], environment: dict[str, str]) -> tuple[bytes, bytes, int]:
    """Runs with standard error on a terminal; what it showed there, its output and its exit code."""
    ours, theirs = pty.openpty()
    try:
        process = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=theirs, env=environment)
        os.close(theirs)
        shown = b""
        while True:
            try:
                data = os.read(ours, 1 << 16)
            except OSError:  # EIO: the last one closed it
                break
            if not data:
                break
            shown += data
        assert process.stdout is not None
        with process.stdout:
            output = process.stdout.read()
        return shown, output, process.wait(timeout=60)
    finally:
        os.close(ours)


def test_a_copy_shows_nothing_where_nobody_watches(tmp_path: Path) -> None:
    (tmp_path / "source").write_bytes(b"data")

    run = subprocess.run(
        command("cp", tmp_path / "source", tmp_path / "target"), capture_output=True, check=True, timeout=60
    )

    assert (run.stdout, run.stderr) == (b"", b"")
