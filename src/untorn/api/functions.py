"""``untorn.open`` and the functions on a file's log: what ``import untorn`` gives."""

from __future__ import annotations

import operator
import os
from dataclasses import dataclass
from typing import Any, Final, get_args, overload

from untorn.api.file import File
from untorn.api.open_inode import open_inode, open_locked
from untorn.api.options import (
    TIMEOUT,
    BinaryMode,
    CommitMode,
    DesignName,
    Mode,
    OnDamage,
    Options,
    TextMode,
    parse_mode,
)
from untorn.api.text import TextFile
from untorn.errors import UntornError
from untorn.log import recovery
from untorn.log.misplaced import remove_orphan
from untorn.log.recovery import examine
from untorn.sizes import FOLIO_SIZE
from untorn.storage.interface import FileSystem, Storage
from untorn.storage.linux import LinuxStorage

_READ: Final = Mode("r", text=False, readable=True, writable=False)
_UPDATE: Final = Mode("r", text=False, readable=True, writable=True)

AnyPath = str | bytes | os.PathLike[str] | os.PathLike[bytes]


@overload
def open(
    path: AnyPath, mode: TextMode = "r", buffering: int = -1, encoding: str | None = None, errors: str | None = None,
    newline: str | None = None, *, commit: CommitMode = "flush", design: DesignName = "cow",
    folio_size: int = FOLIO_SIZE, cache_bytes: int = 1 << 26, checkpoint_bytes: int = 1 << 26,
    timeout: float | None = TIMEOUT, storage: Storage | None = None,
) -> TextFile: ...  # fmt: skip


@overload
def open(
    path: AnyPath, mode: BinaryMode, buffering: int = -1, encoding: None = None, errors: None = None,
    newline: None = None, *, commit: CommitMode = "flush", design: DesignName = "cow",
    folio_size: int = FOLIO_SIZE, cache_bytes: int = 1 << 26, checkpoint_bytes: int = 1 << 26,
    timeout: float | None = TIMEOUT, storage: Storage | None = None,
) -> File: ...  # fmt: skip


@overload
def open(
    path: AnyPath, mode: str, buffering: int = -1, encoding: str | None = None, errors: str | None = None,
    newline: str | None = None, *, commit: CommitMode = "flush", design: DesignName = "cow",
    folio_size: int = FOLIO_SIZE, cache_bytes: int = 1 << 26, checkpoint_bytes: int = 1 << 26,
    timeout: float | None = TIMEOUT, storage: Storage | None = None,
) -> Any: ...  # fmt: skip


def open(  # noqa: PLR0913 - builtins.open alone has eight
    path: AnyPath,
    mode: str = "r",
    buffering: int = -1,
    encoding: str | None = None,
    errors: str | None = None,
    newline: str | None = None,
    *,
    commit: CommitMode = "flush",
    design: DesignName = "cow",
    folio_size: int = FOLIO_SIZE,
    cache_bytes: int = 1 << 26,
    checkpoint_bytes: int = 1 << 26,
    timeout: float | None = TIMEOUT,
    storage: Storage | None = None,
) -> Any:
    """Opens a file as ``builtins.open`` does, such that a crash cannot tear what is written to it.

    ``commit`` says what makes written data the state that a crash returns to: ``"flush"`` (flush and a normal
    close), ``"close"`` (a normal close only), ``"write"`` (any prefix of the writes; flush and close make it
    durable) or ``"explicit"`` (``commit()`` only). An exception that leaves ``with`` rolls back in every mode.

    ``design`` is how writes become whole: ``"cow"`` (copy-on-write, the only one with transactions and rollback), or
    for comparison one of the designs that Linux's developers debate: ``"folio-flag"``, ``"mapping-flag"``,
    ``"writethrough"`` (these keep whole only what is written with RWF_ATOMIC, within ``statx()``'s limits) and
    ``"plain"`` (nothing: today's buffered write). With them ``commit`` is ``"flush"``, when writeback happens at
    the latest.

    ``timeout`` is how many seconds to wait for another handle that has the file, and later, when another thread has
    a transaction open, for its end; 0 not to wait, None for ever.

    ``folio_size`` is the page cache's unit, ``cache_bytes`` bounds its committed folios (as much again may be
    dirty or on its way), ``checkpoint_bytes`` is how large the log grows before its commits are moved into the file;
    all in bytes. ``buffering`` is accepted for the sake of callers; 0 is refused and 1 means line buffering of text,
    as for builtins.open.

    Returns a :class:`File`, or a :class:`TextFile` without ``b`` in the mode. Raises what builtins.open raises;
    LockedError if another handle has the file; LogError or ForeignEditError if its log cannot be applied.
    """
    parsed = parse_mode(mode)
    if not parsed.text:
        for name, value in (("encoding", encoding), ("errors", errors), ("newline", newline)):
            if value is not None:
                raise ValueError(f"binary mode doesn't take {'an' if name[0] == 'e' else 'a'} {name} argument")
    elif newline is not None and not isinstance(newline, str):
        raise TypeError(f"open() argument 'newline' must be str or None, not {type(newline).__name__}")
    elif newline not in (None, "", "\n", "\r", "\r\n"):
        raise ValueError(f"illegal newline value: {newline!r}")
    if operator.index(buffering) == 0:
        raise ValueError("can't have unbuffered I/O: untorn is a buffer")
    options = Options(
        commit=commit, design=design, folio_size=folio_size, cache_bytes=cache_bytes, checkpoint_bytes=checkpoint_bytes,
        timeout=timeout,
    )  # fmt: skip
    inode = open_inode(storage or LinuxStorage(), _name(path), parsed, options)
    file = File(inode, os.fspath(path), parsed, commit)
    if not parsed.text:
        return file
    try:
        return TextFile(file, mode, encoding, errors, newline, line_buffering=buffering == 1)
    except BaseException:
        file._roll_back_and_close("not opened as text")
        raise


@dataclass(frozen=True)
class Status:
    """What stands beside a file. Sizes in bytes; ``problem`` says what is wrong and what to do, or is None."""

    path: str
    state: str
    log_path: str | None
    log_bytes: int
    commits: int
    size: int
    """Of the file as untorn reads it."""
    size_on_disk: int
    """Of the file as other programs read it."""
    problem: UntornError | None
    filesystem: FileSystem | None = None
    """What the file lies on, as far as the system tells."""


def status(path: str | bytes | os.PathLike[Any], *, storage: Storage | None = None) -> Status:
    """What stands beside the file, without writing anything.

    LockedError if a handle has it open for writing. What is wrong with its log is not raised but in ``problem``.
    """
    storage = storage or LinuxStorage()
    home = open_locked(storage, _name(path), _READ)
    try:
        found = examine(storage, home, writable=False)
        try:
            size = home.stat().size
            replay = found.replay if found.state is recovery.LogState.HOT else None
            return Status(
                path=home.path,
                state=found.shown_state.value,
                log_path=found.log_path if found.log is not None else None,
                log_bytes=replay.tail if replay else 0,
                commits=replay.commits if replay else 0,
                size=replay.size if replay and replay.commits else size,
                size_on_disk=size,
                problem=found.problem,
                filesystem=home.filesystem(),
            )
        finally:
            found.close()
    finally:
        home.close()


def verify(path: str | bytes | os.PathLike[Any], *, storage: Storage | None = None) -> Status:
    """As status, but raises what is wrong with the file's log: a LogError or a ForeignEditError."""
    found = status(path, storage=storage)
    if found.problem is not None:
        raise found.problem
    return found


def recover(
    path: str | bytes | os.PathLike[Any],
    *,
    on_damage: OnDamage = "raise",
    storage: Storage | None = None,
) -> int:
    """Brings the file to its last commit and takes its log away; returns the number of commits installed.

    ``on_damage`` says what to do if the log is damaged or missing, or another program changed the file: ``"raise"``
    the LogError or ForeignEditError and change nothing, ``"apply"`` the commits that can be proved, or ``"discard"``
    the commits and keep the file as it is. The last two keep the log under another name; ``"apply"`` raises, too,
    if the log is not there or is another file's. ``"discard"`` also gives up the commits of a log that is sound.

    LockedError if a handle has the file open. OSError if reading, writing or syncing fails; call it again then.
    """
    if on_damage not in get_args(OnDamage):
        raise ValueError(f"on_damage must be one of {', '.join(get_args(OnDamage))}, not {on_damage!r}")
    storage = storage or LinuxStorage()
    try:
        home = open_locked(storage, _name(path), _UPDATE)
    except FileNotFoundError:
        if _name(path) and remove_orphan(storage, storage.resolve(_name(path))):
            return 0
        raise
    try:
        found = examine(storage, home, writable=True)
        try:
            if on_damage == "discard":
                recovery.discard(storage, home, found)
                return 0
            return recovery.recover(storage, home, found, apply=on_damage == "apply")
        finally:
            found.close()
    finally:
        home.close()


def _name(path: Any) -> str:
    if isinstance(path, int):
        raise TypeError("untorn opens files by path, not by descriptor")
    name = os.fsdecode(path)
    if "\0" in name:
        raise ValueError("embedded null byte")
    return name
