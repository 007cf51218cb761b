"""Runs the samples of a page of the documentation, from top to bottom, in a directory of their own.

==========  ===========================================================================================================
language    what is done
==========  ===========================================================================================================
python      Run, in one namespace for the page. A sample whose first line is ``# NAME.py`` is a file instead, for a
            later command to run. What a reader need not see is a comment: ``<!--- invisible-code-block: python``.
sh          Run by bash, and has to succeed. ``make`` only looks whether the Makefile has the target.
console     Each line that begins with ``$`` is run by bash and has to print what follows it; ``...`` stands for
            anything.
text        Not run: what is printed elsewhere, takes too long, or needs what a test does not have.
==========  ===========================================================================================================

Other languages, but for directives of MyST, are an error, so that no sample is left out by mistake.
"""

from __future__ import annotations

import doctest
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Final

from sybil import Document, Example, Region
from sybil.evaluators.python import PythonEvaluator
from sybil.parsers.markdown import CodeBlockParser
from sybil.parsers.markdown.lexers import RawFencedCodeBlockLexer

LANGUAGES: Final = ("python", "sh", "console", "text", "")
_FILE: Final = re.compile(r"# (\S+\.py)\n")
_SECONDS: Final = 120


class Samples:
    """The samples of one page, and the directory that they work in."""

    def __init__(self, page: Path, folder: Path) -> None:
        self.folder = folder
        self._commands = _commands(folder)
        self._unused: dict[str, int] = {}
        """Files that no command has run yet, with their line."""
        self._python = PythonEvaluator()
        parsers = [CodeBlockParser(name, getattr(self, f"run_{name}")) for name in ("python", "sh", "console")]
        self.document = Document.parse(str(page), *parsers)
        self.document.namespace.update(__name__="sample", EXAMPLES=Path(__file__).parents[2] / "examples")

    def run(self) -> int:
        """Runs all of them in the current directory; returns how many. AssertionError tells what is wrong."""
        if unknown := {name for name in _languages(self.document) if name not in LANGUAGES and name[:1] != "{"}:
            raise AssertionError(f"{self.document.path}: samples in {unknown}; known are {LANGUAGES}")
        examples = list(self.document.examples())
        for example in examples:
            example.evaluate()
        if self._unused:
            raise AssertionError(f"{self.document.path}: no command runs {self._unused}")
        return len(examples)

    def run_python(self, example: Example) -> None:
        source = str(example.parsed)
        if named := _FILE.match(source):
            compile(source, named[1], "exec")
            (self.folder / named[1]).write_text(source, encoding="utf-8")
            self._unused[named[1]] = example.line
            return
        self._python(example)

    def run_sh(self, example: Example) -> str | None:
        code, output = self._shell(str(example.parsed))
        return f"ended with {code}:\n{output}" if code else None

    def run_console(self, example: Example) -> str | None:
        steps = re.split(r"^\$ ", str(example.parsed), flags=re.MULTILINE)
        if steps[0].strip() or len(steps) == 1:
            return "does not begin with a command: $ ..."
        for step in steps[1:]:
            command, _, expected = step.partition("\n")
            _, output = self._shell(command)
            if not doctest.OutputChecker().check_output(expected, output, doctest.ELLIPSIS):
                return f"$ {command}\nprinted:\n{output}\nwhere the page has:\n{expected}"
        return None

    def _shell(self, script: str) -> tuple[int, str]:
        for name in [name for name in self._unused if name in script or name.removesuffix(".py") in script]:
            del self._unused[name]
        path = f"{self._commands}{os.pathsep}{os.environ['PATH']}"
        done = subprocess.run(
            ["bash", "-e", "-c", script], cwd=self.folder, env={**os.environ, "PATH": path}, text=True, check=False,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=_SECONDS,
        )  # fmt: skip
        return done.returncode, "".join(f"{line.rstrip()}\n" for line in done.stdout.splitlines())


def _commands(folder: Path) -> Path:
    """A directory with the commands that samples run and a machine may not have by these names."""
    place = folder.with_name(f"{folder.name}-commands")
    place.mkdir()
    root = Path(__file__).parents[2]
    for name, line in {
        "untorn": f"'{sys.executable}' -P -m untorn",
        "python": f"'{sys.executable}'",
        "make": f"make --dry-run -C '{root}' >/dev/null",
    }.items():
        own = f'PATH="${{PATH#*:}}" exec {line} "$@"' if name == "make" else f'exec {line} "$@"'
        (place / name).write_text(f"#!/bin/sh\n{own}\n", encoding="utf-8")
        (place / name).chmod(0o755)
    return place


def _languages(document: Document) -> set[str]:
    """What the fences of a page say that is in them."""
    fences = RawFencedCodeBlockLexer(re.compile(r"(?P<language>[^\n]*)$\n?", re.MULTILINE))
    regions: list[Region] = list(fences(document))
    return {str(region.lexemes["language"]).strip() for region in regions}
