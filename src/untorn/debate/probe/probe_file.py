"""A scratch file, and what it must hold: the oracle of every assertion."""

from __future__ import annotations

import errno
import os
import random
from collections.abc import Callable, Sequence
from typing import Final, TypeVar

from untorn.debate.probe.scratch_file import Subject, Unsupported
from untorn.errors import HandleFailedError, UntornError
from untorn.storage.interface import RWF_ATOMIC, Buffer

SIZE_TRIED_MAX: Final = 2 << 20
"""Bytes of the largest write that is made; files may offer far more."""

T = TypeVar("T")

_MIDDLE: Final = 64 << 10
_LACKING: Final = {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EMFILE, errno.ENOMEM}
"""Errno that tells something of the machine and nothing of the promise."""


class Broken(Exception):
    """The file did what it must not; says what."""


def is_lacking(error: OSError) -> bool:
    """Whether the machine is at fault: no space, a failed device."""
    return error.errno in _LACKING and not isinstance(error, UntornError)


def name_of(error: Exception) -> str:
    """EINVAL for an OSError with that errno; else the error in words."""
    if isinstance(error, OSError) and error.errno is not None:
        return errno.errorcode.get(error.errno, f"errno {error.errno}").replace("ENOTSUP", "EOPNOTSUPP", 1)
    return f"{type(error).__name__}: {error}"


def pattern(tag: int, length: int) -> bytes:
    """Bytes that differ from those of every other tag, and at every place."""
    return random.Random(tag).randbytes(length)


class Probed:
    """A scratch file that is written and compared; Broken where it differs from what it must hold."""

    def __init__(self, subject: Subject) -> None:
        self._subject = subject
        self.file = subject.create()
        self.limits = self.file.limits()
        self.exact = subject.exact(self.limits)
        self.block_size = subject.block_size
        self.expected = bytearray()
        self.relaxed = False
        """Whether a write against the kernel's rules was taken, and rightly so."""
        self._tag = 0

    def fresh(self, length: int) -> bytes:
        """Bytes that are nowhere yet."""
        self._tag += 1
        return pattern(self._tag, length)

    def sizes(self) -> list[int]:
        """Every power of two that the file takes and that is tried."""
        first, last = self.limits.unit_min, min(self.limits.unit_max, SIZE_TRIED_MAX)
        return [1 << power for power in range(first.bit_length() - 1, last.bit_length()) if 1 << power >= first]

    def units(self, *, at_least: int = 1) -> list[int]:
        """The smallest, a middling and the largest size; Unsupported if none is large enough."""
        sizes = [size for size in self.sizes() if size >= at_least]
        if not sizes:
            raise Unsupported(f"no size of {at_least} bytes or more is offered")
        return sorted({sizes[0], min(sizes, key=lambda size: abs(size - _MIDDLE)), sizes[-1]})

    # Making the ground

    def renew(self) -> None:
        """Goes on with another file, which is empty."""
        self.file.close()
        self.file = self._subject.create()
        self.expected.clear()

    def plain(self, data: bytes, offset: int, flags: int = 0) -> None:
        """A plain write, in as many calls as it takes."""
        done = 0
        while done < len(data):
            count = self.file.pwritev([data[done:]], offset + done, flags)
            if not count:
                raise Broken(f"a plain write of {len(data) - done} bytes returned 0")
            done += count
        self._now(data, offset)

    def truncate(self, size: int) -> None:
        """Cuts, or extends with a hole."""
        self.file.truncate(size)
        del self.expected[size:]
        self.expected += bytes(size - len(self.expected))

    def ground(self, size: int) -> None:
        """The file holds that many bytes, which were written before."""
        self.clear()
        granule = self.file.granule
        self.plain(self.fresh(-(-size // granule) * granule), 0)

    def clear(self) -> None:
        """Nothing is left."""
        self.truncate(0)

    def allocate(self, offset: int, length: int) -> None:
        """Blocks that were never written."""
        self.file.allocate(offset, length)
        self.expected += bytes(max(0, offset + length - len(self.expected)))

    def cached(self, data: bytes, offset: int) -> None:
        """A plain write to the page cache, past the file."""
        self.file.write_cached(data, offset)
        self._now(data, offset)

    def _now(self, data: bytes, offset: int) -> None:
        end = offset + len(data)
        self.expected += bytes(max(0, end - len(self.expected)))
        self.expected[offset:end] = data

    # What is asserted

    def whole(self, length: int, offset: int, flags: int = 0, words: str = "") -> None:
        """An atomic write that must be taken, whole."""
        refusal = self.either([self.fresh(length)], offset, flags=flags, words=words)
        if refusal is not None:
            raise Broken(f"{length} bytes at {offset}{words}: refused with {name_of(refusal)}")

    def refused(self, buffers: Sequence[Buffer], offset: int, code: int, flags: int = 0) -> None:
        """An atomic write against the rules: refused with that errno, or, by a file that takes more, taken whole."""
        error = self.either(buffers, offset, flags=flags)
        self.relaxed = self.relaxed or error is None
        if self.exact and (error is None or error.errno != code):
            got = "taken" if error is None else name_of(error)
            raise Broken(f"{_lengths(buffers)} at {offset}: {got}, not {errno.errorcode[code]}")

    def either(
        self,
        buffers: Sequence[Buffer],
        offset: int,
        *,
        flags: int = 0,
        words: str = "",
        append: bool = False,
        raw: bool = False,
    ) -> OSError | None:
        """An atomic write that is taken whole or changes nothing; returns the refusal."""
        write = self.file.pwritev_raw if raw else self.file.pwritev
        length = sum(map(len, buffers))
        what = f"{_lengths(buffers)} at {'the end' if append else offset}{words}"
        before = bytes(self.expected)
        start = len(before) if append else offset
        try:
            count = write(buffers, offset, RWF_ATOMIC | flags)
        except OSError as error:
            if is_lacking(error):
                raise
            self._check_refusal(f"{what}: refused with {name_of(error)}, yet", b"".join(map(bytes, buffers)), start)
            return error
        if count:
            self._now(b"".join(map(bytes, buffers)), start)
        if count != length:
            raise Broken(f"{what}: returned {count}; {self._mixture(before)}")
        self.check(what + ":")
        return None

    def _check_refusal(self, words: str, data: bytes, offset: int) -> None:
        """Nothing changed; or the file refuses all work until it is opened again, and then is old or new."""
        try:
            self.check(words)
        except HandleFailedError:
            content = self.file.reread()
            before = bytes(self.expected)
            self._now(data, offset)
            if content != self.expected:
                self.expected[:] = before
                self.compare(content, words)
            self.renew()

    def check(self, words: str) -> None:
        """Compares the whole file with what it must hold."""
        self.compare(self.file.content(), words)

    def compare(self, content: bytes, words: str) -> None:
        """Broken, if ``content`` is not what the file must hold."""
        if content == self.expected:
            return
        if len(content) != len(self.expected):
            raise Broken(f"{words} the file has {len(content)} bytes, not {len(self.expected)}")
        wrong = [at for at, (is_, must) in enumerate(zip(content, self.expected, strict=True)) if is_ != must]
        zeros = "are zero" if not any(content[wrong[0] : wrong[-1] + 1]) else "are not what they must be"
        raise Broken(f"{words} bytes {wrong[0]} to {wrong[-1]} {zeros}")

    def _mixture(self, before: bytes) -> str:
        """How much of the file is the new content and how much the old."""
        content = self.file.content()
        new = sum(
            is_ == must != old
            for is_, must, old in zip(content, self.expected, before.ljust(len(self.expected), b"\0"), strict=False)
        )
        return f"about {new} bytes of the file are new, {len(content) - new} are not"


def _lengths(buffers: Sequence[Buffer]) -> str:
    return " + ".join(str(len(buffer)) for buffer in buffers) + " bytes"


def attempt(call: Callable[[], T]) -> T:
    """Makes the call; Broken where it fails in a way that no rule foresees."""
    try:
        return call()
    except UntornError as error:
        raise Broken(str(error)) from error
    except OSError as error:
        if is_lacking(error):
            raise
        raise Broken(f"{name_of(error)}: {os.strerror(error.errno or 0)}") from error
