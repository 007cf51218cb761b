"""docs/design/guarantees.md names tests, targets and planted defects: each exists, and no guarantee is left out."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path
from typing import Final

import pytest

from tests.defects.catalogue import DEFECTS
from untorn.explore.selftest.targets import TARGETS

ROOT: Final = Path(__file__).parents[2]
PAGE: Final = (ROOT / "docs" / "design" / "guarantees.md").read_text()
_NAME: Final = re.compile(r"`(?:(tests/[^`:]+\.py)::(\w+)|(target|defect) ([^`]+))`")


@cache
def functions_of(path: Path) -> frozenset[str]:
    """The test functions of a module, by reading it only."""
    tree = ast.parse(path.read_text())
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))


def unknown(text: str) -> list[str]:
    """Names in the text that mean nothing."""
    targets = {target.name for target in TARGETS}
    wrong = []
    for path, test, kind, name in _NAME.findall(text):
        if kind:
            known = name in (targets if kind == "target" else DEFECTS)
        else:
            known = test.startswith("test_") and (ROOT / path).is_file() and test in functions_of(ROOT / path)
        if not known:
            wrong.append(f"{path}::{test}" if path else f"{kind} {name}")
    return wrong


def rows(text: str) -> list[list[str]]:
    """The cells of each row of the tables of four columns, without their heads."""
    lines = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| ")]
    return [cells for cells in lines if len(cells) >= 3 and cells[0] != "when"]


def test_every_name_on_the_page_exists() -> None:
    body = PAGE.split("## Where the promises stand")[1]

    assert len(_NAME.findall(body)) > 150, "the page was not read"
    assert unknown(body) == []


def test_every_name_on_the_page_of_file_systems_exists() -> None:
    page = (ROOT / "docs" / "guides" / "filesystems.md").read_text()

    assert _NAME.findall(page)
    assert unknown(page) == []
    assert [path for path in re.findall(r"`(tests/[^`:]+)`", page) if not (ROOT / path).is_file()] == []


@pytest.mark.parametrize(
    "name",
    [
        "`tests/api/test_endings.py::test_that_is_not_there`",
        "`tests/cache/test_nothing.py::test_racing_writers_never_mix`",
        "`tests/inode/test_threads.py::together`",
        "`target nothing`",
        "`defect nothing is wrong`",
    ],
)
def test_control_a_name_that_means_nothing_is_seen(name: str) -> None:
    assert len(unknown(name)) == 1


def test_every_workload_holds_a_guarantee() -> None:
    """On one device at least; others may be left to the row's words."""
    named = {name for _, _, kind, name in _NAME.findall(PAGE) if kind == "target"}
    held = {target.workload for target in TARGETS if target.name in named}

    assert [target.name for target in TARGETS if target.workload not in held] == []


@pytest.mark.parametrize("document", ["README.md", "ARCHITECTURE.md"])
def test_every_guarantee_has_rows_and_its_section_the_document_s_number(document: str) -> None:
    sections = re.findall(r"^## I(\d) (\w+)$", PAGE, re.MULTILINE)
    pattern = r"^(\d)\. \*\*(\w+)\.\*\*" if document == "README.md" else r"^- \*\*I(\d) (\w+)\.\*\*"

    found = re.findall(pattern, (ROOT / document).read_text(), re.MULTILINE)

    assert [(number, word.lower()) for number, word in found] == sections
    for number, word in sections:
        assert rows(PAGE.split(f"## I{number} {word}")[1].split("\n## ")[0]), number
