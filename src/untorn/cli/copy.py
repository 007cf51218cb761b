"""``untorn cp``: a copy into place, as one commit."""

from __future__ import annotations

import os
import stat
from typing import Any, Final

import click

from untorn.api.file import File
from untorn.api.functions import open as untorn_open
from untorn.cli.help import examples
from untorn.cli.output import Progress, printable, progress, quoted, size_of
from untorn.errors import UntornError

CHUNK: Final = 1 << 20
"""Bytes copied at a time, and in a folio: then each goes to the log as it was read."""

_OPTIONS: Final[dict[str, Any]] = {"folio_size": CHUNK, "cache_bytes": 16 * CHUNK}


@click.command(short_help="Copy a file into place as one commit.", epilog=examples("untorn cp new.h5 run.h5"))
@click.argument("source", type=click.Path(), metavar="SRC")
@click.argument("target", type=click.Path(), metavar="DST")
def cp(source: str, target: str) -> None:
    """Copy SRC into place at DST, or into DST if it is a directory, as one commit: after a crash DST is whole, the old
    content or the new.

    An existing DST keeps its inode, owner and permissions; a new one gets the permissions of SRC. Commits that wait in
    the log of SRC are copied too. The new content is written twice, to the log and to the file, and takes as much free
    space again until the command ends.
    """
    if os.path.isdir(source):
        raise click.UsageError(f"{printable(source)} is a directory; cp copies one file")
    if os.path.isdir(target):
        target = os.path.join(target, os.path.basename(source))
    if os.path.exists(source) and os.path.exists(target) and os.path.samefile(source, target):
        raise click.UsageError(f"{quoted(source)} and {quoted(target)} are the same file")
    with _open_source(source) as reader, progress() as show:
        _Copy(reader, source, target, show).run()


def _open_source(source: str) -> Any:
    """The committed content of a file, by its log if it has one; pipes and devices as they are."""
    if stat.S_ISREG(os.stat(source).st_mode):
        return untorn_open(source, "rb", **_OPTIONS)
    return open(source, "rb", buffering=0)


class _Copy:
    """One copy, and what is on disk if it ends early."""

    def __init__(self, reader: Any, source: str, target: str, show: Progress) -> None:
        self._reader = reader
        self._source = source
        self._target = target
        self._show = show
        self._left = f"{quoted(target)} was not changed"
        """What is true of the target when something fails now."""

    def run(self) -> None:
        try:
            self._run()
        except (UntornError, OSError, KeyboardInterrupt) as error:
            # Our own errors say themselves what is on disk.
            if not isinstance(error, UntornError):
                notes = getattr(error, "__notes__", [])
                error.__notes__ = [self._left, *(note for note in notes if "while rolling back" in note)]
            raise

    def _run(self) -> None:
        name = quoted(self._target)
        try:
            file, created = untorn_open(self._target, "xb", commit="explicit", **_OPTIONS), True
        except FileExistsError:
            file, created = untorn_open(self._target, "r+b", commit="explicit", **_OPTIONS), False
        try:
            with file:
                if created:
                    self._left = f"{name} was not created"
                    self._take_permissions()
                size = self._fill(file)
                file.truncate(size)
                self._left = f"{name} is whole, with its old or its new content"
                self._show("Committing", 1.0)
                file.commit()
                self._left = (
                    f"{name} has its new content, which is committed and is waiting in the log beside it; the next "
                    f"open or 'untorn recover {name}' moves it into the file"
                )
                created = False
                self._show("Moving it into the file", 1.0)
        except BaseException:
            if created:
                self._unmake()
            raise

    def _fill(self, file: Any) -> int:
        """Writes everything there is; returns how many bytes."""
        reader, done, whole = self._reader, 0, 0
        if isinstance(reader, File):
            whole = reader.seek(0, os.SEEK_END)
            reader.seek(0)
        self._show("Copying", 0.0)
        while data := reader.read(CHUNK):
            file.write(data)
            done += len(data)
            self._show(f"Copying, {size_of(done)}", done / whole if whole else 0.0)
        return done

    def _take_permissions(self) -> None:
        """As cp does for a new file: the source's permissions, less the umask."""
        info = os.stat(self._source)
        if stat.S_ISREG(info.st_mode):
            umask = os.umask(0o077)
            os.umask(umask)
            os.chmod(self._target, info.st_mode & 0o777 & ~umask)

    def _unmake(self) -> None:
        """Takes away the empty file that was made for a copy that did not come."""
        try:
            if os.stat(self._target).st_size == 0:
                os.unlink(self._target)
        except OSError:
            self._left = f"{quoted(self._target)} was created and is empty"
