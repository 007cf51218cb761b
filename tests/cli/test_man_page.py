"""The manual page names what there is, and nothing that there is not."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tests.support.machine import needs
from untorn.cli import failures
from untorn.cli.main import cli

PAGE = Path(__file__).parents[2] / "docs" / "untorn.1"
TEXT = PAGE.read_text(encoding="utf-8").replace("\\-", "-")


def options() -> set[str]:
    """Every long option of every command."""
    found = {name for command in cli.commands.values() for parameter in command.params for name in parameter.opts}
    return {name for name in found if name.startswith("--")} | {"--help", "--version"}


@pytest.mark.parametrize("name", cli.commands)
def test_every_command_has_its_entry(name: str) -> None:
    assert re.search(rf'^\.(B|BR|BI) "?untorn {name}\b', TEXT.partition(".SH COMMANDS")[2], re.MULTILINE)
    assert re.search(rf"^\.B untorn {name}$", TEXT.partition(".SH DESCRIPTION")[0], re.MULTILINE)


def test_every_option_is_named_and_no_other() -> None:
    named = set(re.findall(r"--[a-z]+(?:-[a-z]+)*", TEXT))

    assert named == options()


def test_every_exit_code_is_named() -> None:
    codes = {value for name, value in vars(failures).items() if name.isupper() and isinstance(value, int)}
    named = re.findall(r"^\.B (\d+)$", TEXT.partition(".SH EXIT STATUS")[2], re.MULTILINE)

    assert {int(code) for code in named} == codes


def test_it_has_no_macro_that_other_pages_do_not_have() -> None:
    known = {
        ".TH",
        ".SH",
        ".TP",
        ".PP",
        ".B",
        ".BR",
        ".BI",
        ".I",
        ".IR",
        ".RB",
        ".RI",
        ".RS",
        ".RE",
        ".br",
        ".nf",
        ".fi",
        '.\\"',
    }
    macros = {line.split()[0] for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith(".")}

    assert macros <= known


@needs("groff")
def test_groff_has_nothing_to_say_against_it() -> None:
    done = subprocess.run(["groff", "-man", "-Tutf8", "-ww", PAGE], capture_output=True, check=True, timeout=60)

    assert done.stderr == b""
