"""The manual page is made of the help of the commands, and names what there is."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tests.docs.site import DOCS, build
from tests.support.machine import needs
from untorn.cli import failures
from untorn.cli.main import cli

PAGE = DOCS / "untorn.1"
TEXT = PAGE.read_text(encoding="utf-8").replace("\\-", "-")


def options() -> set[str]:
    """Every long option of every command."""
    found = {name for command in cli.commands.values() for parameter in command.params for name in parameter.opts}
    return {name for name in found if name.startswith("--")}


def test_the_page_is_the_one_that_make_man_makes(tmp_path: Path) -> None:
    assert build(tmp_path / "man", "-b", "man", "-t", "man") == ""

    assert (tmp_path / "man" / "untorn.1").read_text(encoding="utf-8") == PAGE.read_text(encoding="utf-8"), "make man"


@pytest.mark.parametrize("name", cli.commands)
def test_every_command_has_its_entry(name: str) -> None:
    assert f".SS untorn {name}\n" in TEXT


def test_every_option_has_its_entry_and_no_other() -> None:
    named = set(re.findall(r"^\.B (--[a-z-]+)", TEXT, re.MULTILINE))

    assert named == options()


def test_every_exit_code_is_named() -> None:
    codes = {value for name, value in vars(failures).items() if name.isupper() and isinstance(value, int)}
    section = TEXT.partition(".SH EXIT STATUS")[2].partition(".SH")[0]

    assert {int(code) for code in re.findall(r"^\.B (\d+)$", section, re.MULTILINE)} == codes


@needs("groff")
def test_groff_has_nothing_to_say_against_it() -> None:
    done = subprocess.run(["groff", "-man", "-Tutf8", "-ww", PAGE], capture_output=True, check=True, timeout=60)

    assert done.stderr == b""
