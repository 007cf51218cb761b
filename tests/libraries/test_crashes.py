"""Sessions of h5py, zipfile and tifffile, cut after every storage operation.

Through untorn every cut gives the old or the new commit, which the library opens; the same sessions on a plain
file leave files that it cannot open, or that it reads as what was never committed.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

import untorn
from tests.libraries.cutting import (
    Cut,
    Progress,
    content,
    disk,
    plainly,
    power_cuts,
    process_deaths,
    real,
    recovered,
    run,
    simulated,
    through_untorn,
)
from tests.libraries.describing import UNREADABLE, Describer, describe
from tests.libraries.sessions import SESSIONS, SMALL, Session
from untorn.crashmodel.file import SimulatedFile
from untorn.crashmodel.storage import SimulatedStorage
from untorn.crashmodel.variables import oldest

SAMPLES = 4
"""Choices by chance for each power cut, besides all old and all new."""

CHANGING = ("allocate", "fsync", "pwritev", "sync_directory", "truncate")
"""Calls at which the control dies: others leave what the one before them left."""


def check_untorn(session: Session, cuts: Iterable[Cut]) -> set[bytes]:
    """Recovers every cut and has the library open what is found; returns the images that were found."""
    known: dict[bytes, bytes] = {}
    texts: dict[bytes, str] = {}
    for cut in cuts:
        if isinstance(cut.storage, SimulatedStorage):
            key = disk(cut.storage)
            if key not in known:
                known[key] = recovered(cut.storage, cut.path)
                # What recovery gave back is durable.
                assert content(cut.storage.power_cut(oldest), cut.path) == known[key], cut.where
            image = known[key]
        else:
            image = recovered(cut.storage, cut.path)
        assert image in cut.legal, f"{cut.where}: {len(image)} bytes, which is none of the legal commits"
        if image not in texts:
            texts[image] = describe(session.library, image)
    assert len(set(texts.values())) > len(session.parts), "the cuts fell before or behind the work"
    return set(texts)


@dataclass
class Tally:
    """What the cuts of a plain file left."""

    whole: int = 0
    unreadable: int = 0
    neither: int = 0
    """Read, as something that no commit was."""


def check_plain(session: Session, cuts: Iterable[Cut]) -> Tally:
    """Has the library open what each cut of a plain file left; fails if that was always whole."""
    result = Tally()
    with closing(Describer(session.library)) as read:
        for cut in cuts:
            image = content(cut.storage, cut.path)
            text = read(image)
            assert not any(read(committed).startswith(UNREADABLE) for committed in cut.images)
            if image in cut.images or text in map(read, cut.images):
                result.whole += 1
            elif text.startswith(UNREADABLE):
                result.unreadable += 1
            else:
                result.neither += 1
    assert result.whole
    assert result.unreadable + result.neither > 0, "the checker does not see torn files"
    return result


@pytest.mark.parametrize("name", SESSIONS)
def test_process_death_at_every_storage_call_and_a_power_cut_after_it_leave_the_old_or_the_new_commit(
    name: str,
) -> None:
    session = SESSIONS[name]
    check_untorn(session, process_deaths(session, through_untorn(session), simulated, power_too=True))


@pytest.mark.parametrize("name", SMALL)
def test_process_death_at_every_storage_call_on_a_real_file_leaves_the_old_or_the_new_commit(
    tmp_path: Path, name: str
) -> None:
    session = SESSIONS[name]
    check_untorn(session, process_deaths(session, through_untorn(session), partial(real, directory=tmp_path)))


@pytest.mark.parametrize("name", SESSIONS)
def test_power_cuts_after_every_storage_event_with_sampled_losses_leave_the_old_or_the_new_commit(name: str) -> None:
    session = SESSIONS[name]
    check_untorn(session, power_cuts(session, through_untorn(session), SAMPLES))


def test_a_commit_in_mid_append_has_the_pages_written_so_far(caplog: pytest.LogCaptureFixture) -> None:
    session = SESSIONS["tifffile-append-flush"]
    storage, path, _ = simulated(session)
    progress = Progress([session.first_image or b""])
    assert run(session, storage, path, through_untorn(session), progress)
    pages = [describe("tifffile", image).split("; ") for image in progress.images]
    assert all(found == pages[-1][: len(found)] for found in pages)
    assert {len(found) for found in pages} == {2, 3, 4, 5}
    assert "invalid page offset" in caplog.text


@pytest.mark.parametrize("name", SESSIONS)
def test_control_process_deaths_tear_a_plain_file(name: str) -> None:
    session = SESSIONS[name]
    check_plain(session, process_deaths(session, plainly(session), simulated, names=CHANGING))


@pytest.mark.parametrize("name", SMALL)
def test_control_process_deaths_tear_a_plain_file_of_a_real_file_system(tmp_path: Path, name: str) -> None:
    session = SESSIONS[name]
    check_plain(session, process_deaths(session, plainly(session), partial(real, directory=tmp_path), names=CHANGING))


@pytest.mark.parametrize("name", SESSIONS)
def test_control_sampled_power_cuts_tear_a_plain_file(name: str) -> None:
    session = SESSIONS[name]
    check_plain(session, power_cuts(session, plainly(session), 1))


@pytest.mark.parametrize("name", SMALL)
def test_control_power_cuts_of_a_disk_that_ignores_syncs_tear_through_untorn_too(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    session = SESSIONS[name]
    cuts = list(power_cuts(session, through_untorn(session), 1))
    for sync in ("fdatasync", "fsync"):
        monkeypatch.setattr(SimulatedFile, sync, lambda file: None)
    lied_to = list(power_cuts(session, through_untorn(session), 1))
    monkeypatch.undo()
    check_untorn(session, cuts)
    with pytest.raises((AssertionError, untorn.UntornError)):
        check_untorn(session, lied_to)
