"""What docs/guides/libraries.md says of each library is what happens."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import h5py
import pytest

import untorn
from tests.libraries.rows import DOCUMENT, Stopped, after_exception, commits_at, rows, seen, stop
from tests.libraries.uses import USES
from tests.libraries.works import grid
from untorn.errors import UntornWarning

TORCH: Final = "torch.save"
"""Too large for the tests of every day; torch_checkpoints.py tries it."""

late_ends = pytest.mark.filterwarnings(
    "ignore:Exception ignored in. <function ZipFile.__del__:pytest.PytestUnraisableExceptionWarning",
    "ignore:Exception ignored in. <PIL.TiffImagePlugin.AppendingTiffWriter:pytest.PytestUnraisableExceptionWarning",
)
"""openpyxl and Pillow leave something open when they fail, which is ended as it is collected, after the file was
closed; over a plain file, too."""


def test_the_table_has_a_row_for_each_library() -> None:
    assert list(rows()) == [*USES, TORCH]


@pytest.mark.filterwarnings("ignore:.*implicitly cleaning up:ResourceWarning")
@late_ends
@pytest.mark.parametrize("name", USES)
def test_the_row_says_when_the_library_commits_and_what_an_exception_does(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "data"
    row = rows()[name]
    assert row["commits at"] == commits_at(path, USES[name])
    assert row["seen"] == seen(path, USES[name], monkeypatch)
    assert row["an exception inside leaves"] == after_exception(path, USES[name], "flush")
    best = re.match(r"`(\w+)`", row["choose"])
    assert best is not None
    assert after_exception(path, USES[name], best[1]) == "old"
    assert list(tmp_path.iterdir()) == [path]


@late_ends
@pytest.mark.parametrize("name", USES)
def test_an_exception_leaves_the_old_file_in_the_other_modes_and_in_a_transaction(tmp_path: Path, name: str) -> None:
    path = tmp_path / "data"
    for commit in ("close", "explicit"):
        assert after_exception(path, USES[name], commit) == "old"
    for commit in ("flush", "close", "write", "explicit"):
        assert after_exception(path, USES[name], commit, transaction=True) == "old"


@late_ends
@pytest.mark.parametrize("name", USES)
def test_outside_a_with_the_mode_close_leaves_the_old_file_and_says_what_was_rolled_back(
    tmp_path: Path, name: str
) -> None:
    path = tmp_path / "data"
    before = USES[name].before()
    path.write_bytes(before)

    def save() -> None:
        file = untorn.open(path, USES[name].mode, commit="close")
        try:
            USES[name].work(file, stop)
        finally:
            file.close()

    with (
        pytest.warns(UntornWarning, match="was closed while Stopped was being handled") as said,
        pytest.raises(Stopped),
    ):
        save()
    # The library may have closed the file itself: the line that called it is told, not one of its own.
    assert [Path(warning.filename).parent for warning in said] == [Path(__file__).parent]
    assert path.read_bytes() == before


@pytest.mark.parametrize("name", USES)
def test_a_good_run_is_committed_in_every_mode_and_in_a_transaction(tmp_path: Path, name: str) -> None:
    path = tmp_path / "data"
    use = USES[name]

    def made(commit: Any, *, transaction: bool) -> bytes:
        path.write_bytes(use.before())
        with untorn.open(path, use.mode, commit=commit) as file:
            if transaction:
                with file.transaction():
                    use.work(file, lambda: None)
            else:
                use.work(file, lambda: None)
            if commit == "explicit" and not (transaction and file.closed):
                file.commit()
        return path.read_bytes()

    for commit in ("flush", "close", "write", "explicit"):
        for transaction in (False, True):
            assert made(commit, transaction=transaction) != use.before(), (commit, transaction)


@late_ends
@pytest.mark.parametrize("name", USES)
def test_control_an_exception_leaves_half_a_plain_file(tmp_path: Path, name: str) -> None:
    path = tmp_path / "data"
    use = USES[name]
    path.write_bytes(use.before())
    with pytest.raises(Stopped), open(path, use.mode) as file:
        use.work(file, stop)
    assert path.read_bytes() != use.before()


def test_transactions_around_a_library_are_commits_of_their_own(tmp_path: Path) -> None:
    path = tmp_path / "data"
    commits = []
    with pytest.raises(Stopped), untorn.open(path, "w+b") as file:
        for step in range(3):
            with file.transaction(), h5py.File(file, "a" if step else "w") as archive:
                archive[f"step{step}"] = grid(step)
                archive.flush()
                if step == 2:
                    raise Stopped
            commits.append(file.stats()["commits"])
    assert commits == [1, 2]
    with h5py.File(path) as archive:
        assert sorted(archive) == ["step0", "step1"]
        assert (archive["step1"][...] == grid(1)).all()


def _tests() -> Iterator[str]:
    for path in Path(__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                yield node.name


def test_every_test_that_the_document_names_is_there() -> None:
    named = set(re.findall(r"\btest_\w+", DOCUMENT.read_text(encoding="utf-8")))
    modules = {path.stem for path in Path(__file__).parent.glob("test_*.py")}
    assert named
    assert named <= set(_tests()) | modules
    for name, row in rows().items():
        assert "test_" in row["tests"], name
