"""Checkpoints of torch through untorn. ``make test-torch`` runs this; torch is too large for ``make test``."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import Any, Final

import pytest
import torch

import untorn
from tests.libraries.rows import Stopped, after_exception, commits_at, rows, seen
from tests.libraries.uses import Stop, Stopping, Use

MODES: Final = ["flush", "close", "write", "explicit"]
FORMATS: Final = {"zip": True, "the old one": False}


def checkpoint(seed: int) -> dict[str, Any]:
    """As of a model in training, the same every time."""
    torch.manual_seed(seed)
    model = torch.nn.Sequential(torch.nn.Linear(40, 30), torch.nn.Linear(30, 5))
    optimizer = torch.optim.Adam(model.parameters())
    model(torch.ones(2, 40)).sum().backward()
    optimizer.step()
    return {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "epoch": seed}


def same(one: Any, other: Any) -> bool:
    if isinstance(one, torch.Tensor):
        return bool(torch.equal(one, other))
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


def save(file: Any, stop: Stop, *, form: bool = True) -> None:
    value = checkpoint(2) | {"last": Stopping(stop)}
    torch.save(value, file, _use_new_zipfile_serialization=form)


USE: Final = Use("w+b", save)


def test_the_row_says_what_torch_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "data"
    row = rows()["torch.save"]
    assert row["commits at"] == commits_at(path, USE)
    assert row["seen"] == seen(path, USE, monkeypatch)
    assert row["an exception inside leaves"] == after_exception(path, USE, "flush")
    assert row["choose"] == "`flush`"


@pytest.mark.parametrize("form", FORMATS.values(), ids=FORMATS)
@pytest.mark.parametrize("commit", MODES)
def test_a_checkpoint_that_fails_leaves_the_one_before(tmp_path: Path, commit: Any, form: bool) -> None:
    path = tmp_path / "data"

    def before() -> bytes:
        torch.save(checkpoint(1), path)
        return path.read_bytes()

    for mode in ("w+b", "wb", "r+b"):
        use = Use(mode, partial(save, form=form), before)
        assert after_exception(path, use, commit) == "old"
        assert after_exception(path, use, commit, transaction=True) == "old"
    assert same(torch.load(path), checkpoint(1))
    assert os.listdir(tmp_path) == ["data"]


def _failing(path: Path, form: bool) -> None:
    def stop() -> None:
        raise Stopped

    with open(path, "w+b") as file:
        save(file, stop, form=form)


@pytest.mark.parametrize("form", FORMATS.values(), ids=FORMATS)
def test_control_a_checkpoint_that_fails_destroys_a_plain_file(tmp_path: Path, form: bool) -> None:
    path = tmp_path / "data"
    torch.save(checkpoint(1), path)
    with pytest.raises(Stopped):
        _failing(path, form)
    with pytest.raises((EOFError, RuntimeError)):
        torch.load(path)


@pytest.mark.parametrize("form", FORMATS.values(), ids=FORMATS)
@pytest.mark.parametrize("mode", ["wb", "w+b", "r+b", "xb"])
@pytest.mark.parametrize("commit", MODES)
def test_a_checkpoint_is_saved_and_loaded_as_a_plain_one(tmp_path: Path, commit: Any, mode: str, form: bool) -> None:
    ours, theirs = tmp_path / "data", tmp_path / "plain" / "data"
    theirs.parent.mkdir()
    for path in (ours, theirs):
        if mode != "xb":
            path.write_bytes(b"old")
    with untorn.open(ours, mode, commit=commit) as file:
        torch.save(checkpoint(1), file, _use_new_zipfile_serialization=form)
        if commit == "explicit":
            file.commit()
    with open(theirs, mode) as file:
        torch.save(checkpoint(1), file, _use_new_zipfile_serialization=form)
    if form:  # the old one holds addresses of objects
        assert ours.read_bytes() == theirs.read_bytes()
    for opener in (open, untorn.open):
        for reading in ("rb", "r+b"):
            with opener(ours, reading) as file:
                assert same(torch.load(file), checkpoint(1)), (opener, reading)
    assert sorted(os.listdir(tmp_path)) == ["data", "plain"]


def test_an_old_checkpoint_behind_other_bytes_is_read_from_where_the_file_stands(tmp_path: Path) -> None:
    path = tmp_path / "data"
    with untorn.open(path, "wb") as file:
        file.write(b"a header")
        torch.save(checkpoint(1), file, _use_new_zipfile_serialization=False)
        torch.save(checkpoint(2), file, _use_new_zipfile_serialization=False)
    for reading in ("rb", "r+b"):
        with untorn.open(path, reading) as file:
            file.seek(8)
            assert same(torch.load(file), checkpoint(1))
            assert same(torch.load(file), checkpoint(2))


def test_checkpoints_in_transactions_are_commits_of_their_own(tmp_path: Path) -> None:
    path = tmp_path / "data"
    with pytest.raises(Stopped), untorn.open(path, "w+b", commit="flush") as file:
        for epoch in range(3):
            with file.transaction():
                file.seek(0)
                file.truncate()
                torch.save(checkpoint(epoch), file)
                if epoch == 2:
                    raise Stopped
    assert same(torch.load(path), checkpoint(1))
