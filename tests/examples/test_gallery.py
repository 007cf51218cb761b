"""The gallery: each known defect is found, told in a few deviations, and gone where it is mended."""

from __future__ import annotations

import importlib
import pickle
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from examples.gallery.entries import ENTRIES, TARGETS
from examples.gallery.entry import PROGRAMS, Entry, Program
from examples.gallery.refusals import REFUSALS, Refusal
from tests.support.process_kill import deaths
from untorn.errors import UntornError
from untorn.explore.explorer import explore
from untorn.explore.search.engine import recording_of
from untorn.explore.targets.builtin import from_spec
from untorn.explore.targets.protocol import Target
from untorn.explore.targets.python_module import FunctionTarget, ModuleTarget

SAFE = {program.name: program for entry in ENTRIES for program in entry.safe}
DEVIATIONS_MAX = 3


def _needs(missing: list[str]) -> None:
    if missing:
        pytest.skip(f"{' and '.join(missing)} is not installed: pip install --group gallery")


def _module(name: str) -> ModuleType:
    """A file of the programs, as they import one another."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(PROGRAMS)
        return importlib.import_module(name)


def _nothing(classify: Callable[[Sequence[Any]], Any] | None = None) -> Any:
    """What was acknowledged of a program that promised nothing."""
    return classify([]) if classify else []


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
def test_a_known_defect_is_found_and_told_in_few_deviations(entry: Entry) -> None:
    _needs(entry.program.missing())
    result = explore(entry.program)
    assert result.bad
    assert result.counterexamples[0].kind in entry.kinds
    assert len(result.counterexamples[0].deviations) <= DEVIATIONS_MAX


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
def test_a_known_defect_matters_on_file_systems_as_they_are(entry: Entry) -> None:
    _needs(entry.program.missing())
    result = explore(replace(entry.program, machine={"profile": "linux"}))
    assert result.profile == "linux"
    assert result.bad
    assert len(result.counterexamples[0].deviations) <= DEVIATIONS_MAX


@pytest.mark.parametrize("program", SAFE.values(), ids=lambda program: program.name)
def test_a_safe_program_is_certified(program: Program) -> None:
    _needs(program.missing())
    result = explore(program)
    assert not result.bad, result.counterexamples[0].text
    assert result.certified, result.refusal


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
def test_a_program_that_is_not_cut_off_is_good(entry: Entry) -> None:
    """The control of every finding: it is the crash that makes the state bad."""
    for program in (entry.program, *entry.safe):
        _needs(program.missing())
        storage = program.record()
        storage.settle()
        program.recover(storage)
        program.check(storage, _nothing)


def test_every_defect_has_a_safe_program_or_words_why_not() -> None:
    assert all(entry.safe or entry.note for entry in ENTRIES)


def test_a_sync_before_the_mark_does_not_make_zodb_open() -> None:
    """What the note of zodb-refused says."""
    _needs(Program("zodb-refused", ("ZODB",)).missing())
    refused = _module("zodb_refused")
    synced = _module("zodb_commit_synced")
    target = FunctionTarget("synced", workload=synced.workload, check=refused.check, prepare=refused.prepare)
    result = explore(target)
    assert result.bad
    assert result.counterexamples[0].problem.kind == "CorruptedTransactionError"


def _bad_if_killed(target: Target) -> bool:
    """Whether the death of the process is enough, without a power failure."""
    return any(death.problem for death in deaths(target, recording_of(target.record())))


def test_a_server_that_is_killed_loses_no_notebook() -> None:
    """What the note of jupyter-save says."""
    save = Program("jupyter-save", ("jupyter_server",))
    _needs(save.missing())
    assert not _bad_if_killed(save)


def test_a_server_that_is_killed_leaves_other_files_cut_off_and_their_copies() -> None:
    """The control of the test above, and the rest of that note."""
    _needs(Program("jupyter-save", ("jupyter_server",)).missing())
    from jupyter_server.services.contents.fileio import FileManagerMixin

    def save(directory: Path, text: str) -> None:
        FileManagerMixin()._save_file(str(directory / "work.py"), text, "text")

    def check(directory: Path) -> None:
        assert FileManagerMixin()._read_file(str(directory / "work.py"), "text")[0] in ("old", "new")

    def check_copy(directory: Path) -> None:
        if (directory / "work.py").read_text() not in ("old", "new"):
            assert (directory / ".~work.py").read_text() == "old"

    saved = [
        FunctionTarget("save", workload=lambda dir: save(dir, "new"), check=one, prepare=lambda dir: save(dir, "old"))
        for one in (check, check_copy)
    ]
    assert [_bad_if_killed(target) for target in saved] == [True, False]


def test_a_notebook_whose_restoring_is_cut_off_is_in_its_copy() -> None:
    """What the note of jupyter-restore says."""
    _needs(Program("jupyter-restore", ("jupyter_server",)).missing())
    restore = _module("jupyter_restore")

    def check(directory: Path) -> None:
        if not (directory / "work.ipynb").exists():
            (directory / ".~work.ipynb").rename(directory / "work.ipynb")
        restore.check(directory)

    result = explore(FunctionTarget("restore", workload=restore.workload, check=check, prepare=restore.prepare))
    assert result.certified, result.refusal


@pytest.mark.parametrize("refusal", REFUSALS, ids=lambda refusal: refusal.name)
def test_what_the_explorer_cannot_see_is_refused(refusal: Refusal) -> None:
    _needs(refusal.missing())
    assert refusal.words()


def test_a_refusal_would_be_missed_if_the_program_ran() -> None:
    assert Refusal("control", lambda directory: (directory / "seen").write_text("seen"), "").words() == ""


def test_every_program_is_a_target_and_in_the_page() -> None:
    modules = {path.stem.replace("_", "-") for path in PROGRAMS.glob("*.py")} - {"durably", "quietly"}
    assert {target.name for target in TARGETS} == modules
    page = (Path(__file__).parents[2] / "docs" / "design" / "gallery.md").read_text(encoding="utf-8")
    assert all(f"| {name} |" in page for name in modules)


def test_a_target_travels_to_other_processes_and_back_from_its_description() -> None:
    target: Target = replace(TARGETS[0], machine={"sector": 4096})
    assert pickle.loads(pickle.dumps(target)) == target
    again = from_spec(TARGETS[0].spec)
    assert isinstance(again, ModuleTarget)
    assert (again.name, again.spec) == (TARGETS[0].name.replace("-", "_"), TARGETS[0].spec)


def test_a_missing_package_is_named() -> None:
    with pytest.raises(UntornError, match="needs no-such-package: pip install"):
        Program("dbm-dumb", ("no-such-package",)).record()
