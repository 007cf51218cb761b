"""Help: every command in a section, with examples that its options take; and what a shell completes."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import click
import pytest
from click.shell_completion import ShellComplete, get_completion_class

from tests.support.commands import COMMANDS, run
from tests.support.machine import needs
from untorn.cli.main import cli

ROOT = Path(__file__).parents[2]
SHELLS = ("bash", "zsh", "fish")


def examples_of(name: str) -> list[str]:
    """The commands below the help of a command."""
    lines = [line.strip() for line in (cli.commands[name].epilog or "").splitlines()]
    return [line for line in lines if line.startswith("untorn ")]


def parse(line: str) -> None:
    """Parses a command as a shell and then click do, and does not run it."""
    words = shlex.split(line.partition(" | ")[0])
    assert words[0] == "untorn"
    cli.commands[words[1]].make_context(words[1], words[2:])


def test_each_command_is_shown_in_one_section_in_the_order_of_all() -> None:
    shown = re.findall(r"^  ([a-z]+) {2,}", run("--help").output.partition("Your files:")[2], re.MULTILINE)

    assert tuple(shown) == COMMANDS
    assert list(cli.sections) == re.findall(r"^(\S.*[^.]):$", run("--help").output.partition("--help")[2], re.MULTILINE)


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_has_examples_that_its_options_take(name: str) -> None:
    examples = examples_of(name)

    assert examples
    for line in examples:
        assert line.startswith(f"untorn {name} ")
        assert line in run(name, "--help").output
        parse(line)


@pytest.mark.parametrize("line", ["untorn cp a", "untorn status --nonsense a", "untorn explore --sector 5 a.py"])
def test_control_an_example_that_a_command_does_not_take_is_seen(line: str) -> None:
    with pytest.raises(click.UsageError):
        parse(line)


@pytest.mark.parametrize("name", COMMANDS)
def test_help_is_whole_sentences(name: str) -> None:
    command = cli.commands[name]
    texts = [command.help, command.short_help]
    texts += [option.help for option in command.params if isinstance(option, click.Option)]

    assert [text for text in texts if not text or (not text[0].isupper() and not text.startswith("--"))] == []
    assert [text for text in texts if text and not re.search(r"\.(  \[default: .*\])?$", text.strip())] == []


def completing(shell: str) -> ShellComplete:
    """What click makes of the command for a shell."""
    kind = get_completion_class(shell)
    assert kind is not None
    return kind(cli, {}, "untorn", "_UNTORN_COMPLETE")


def completions(line: str) -> list[tuple[str, str]]:
    """Kind and value of what the last word of a command may become."""
    *words, last = line.split(" ")
    return [(item.type, item.value) for item in completing("zsh").get_completions(words[1:], last)]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("untorn st", "status"),
        ("untorn explore commit", "commits, 4096"),
        ("untorn trace checkp", "checkpoint"),
        ("untorn trace --device nvme-16k-", "nvme-16k-b128k"),
        ("untorn compare --workload random-1", "random-16k"),
        ("untorn compare --design writ", "writethrough"),
    ],
)
def test_names_are_completed(line: str, expected: str) -> None:
    assert ("plain", expected) in completions(line)


@pytest.mark.parametrize("line", ["untorn status run", "untorn cp run", "untorn explore run", "untorn trace run"])
def test_where_a_file_is_asked_for_the_shell_completes_files(line: str) -> None:
    assert completions(line)[0] == ("file", "run")


@needs("bash")
def test_in_bash_a_name_with_spaces_is_one_word_of_the_command_line(tmp_path: Path) -> None:
    (tmp_path / "untorn").write_text(f'#!/bin/sh\nexec "{sys.executable}" -P -m untorn "$@"\n')
    (tmp_path / "untorn").chmod(0o755)
    program = (
        f'PATH="{tmp_path}:$PATH"\n'
        "compopt() { :; }\n"  # which works only where a shell is waiting for keys
        'eval "$(_UNTORN_COMPLETE=bash_source untorn)"\n'
        r"COMP_WORDS=(untorn explore 'commits,\ garbage\ of'); COMP_CWORD=2" + "\n"
        'env() { /usr/bin/env "$@"; }\n'
        "_untorn_completion untorn\n"
        'printf "%s\\n" "${COMPREPLY[@]}"'
    )
    done = subprocess.run(["bash", "-c", program], capture_output=True, check=True, timeout=60)

    assert done.stdout.decode().splitlines() == [r"commits,\ garbage\ of\ 4096"]


@pytest.mark.parametrize("shell", SHELLS)
def test_each_shell_gets_its_script(shell: str) -> None:
    script = completing(shell).source()

    assert "_UNTORN_COMPLETE" in script
    assert shell != "fish" or "string split --max 1" in script


def extras_in_messages() -> set[str]:
    """The extras that messages tell users to install."""
    sources = [path.read_text(encoding="utf-8") for path in (ROOT / "src").rglob("*.py")]
    assert not any("'untorn[" in text for text in sources), "untorn is in no registry"
    found = {name for text in sources for name in re.findall(r"'\.\[([a-z{}]+)\]'", text)}
    calls = {name for text in sources for name in re.findall(r'check_extra\("\w+", "(\w+)"', text)}
    return found - {"{extra}"} | calls


def test_every_extra_that_a_message_names_exists() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

    assert extras_in_messages() == set(project["optional-dependencies"]) - {"cli"}
