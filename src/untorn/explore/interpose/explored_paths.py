"""Which paths are below the explored directory."""

from __future__ import annotations

import errno
import os
import posixpath
from typing import Any

from untorn.explore.interpose.bypass_watch import ROOT
from untorn.explore.interpose.descriptors import Descriptors
from untorn.explore.interpose.errors import UnseenAccessError


class Places:
    """Tells explored paths from real ones, by their text alone: nothing is looked up.

    What is given back is the path in the storage, where the explored directory is always ``ROOT``.
    """

    def __init__(self, root: str, descriptors: Descriptors) -> None:
        self.root = root
        self._below = root + "/"
        self._tail = "/".join(root.rsplit("/", 2)[1:])
        self._descriptors = descriptors

    def find(self, path: Any, dir_fd: int | None = None) -> str | None:
        """The path in the storage if it is explored, else None; ``path`` as the functions of ``os`` take it."""
        try:
            text = os.fsdecode(path)
        except (TypeError, ValueError):  # the real function has its own words for it
            return None
        if not text.startswith("/"):
            if dir_fd is not None and dir_fd in self._descriptors:
                text = posixpath.join(self.root + self._descriptors[dir_fd].place[len(ROOT) :], text) if text else ""
            elif self._tail in text:
                text = posixpath.join(os.getcwd(), text)
            else:
                return None
            if not text:
                raise OSError(errno.ENOENT, os.strerror(errno.ENOENT))
        if "\0" in text:
            if text.startswith(self._below):
                raise ValueError("embedded null byte")
            return None
        if self._tail in text and not text.startswith(self._below):
            text = self._straight(text)
        if text == self.root or text.startswith(self._below):
            if "/../" in text + "/" and not self._is_below(posixpath.normpath(text)):
                raise UnseenAccessError(f"{text!r} leads out of the explored directory {self.root!r} by '..'")
            return ROOT + text[len(self.root) :]
        if self._tail not in text:
            return None
        clean = "/" + posixpath.normpath(text).lstrip("/")
        return ROOT + clean[len(self.root) :] if self._is_below(clean) else None

    def _straight(self, text: str) -> str:
        """Without detours on the way to the root, as ``/tmp/a/../ROOT/f`` takes one from the directory ``/tmp/a``."""
        head, tail, rest = text.partition(self._tail)
        leads_there = rest[:1] in ("", "/") and "/" + posixpath.normpath(head + tail).lstrip("/") == self.root
        return self.root + rest if leads_there else text

    def _is_below(self, path: str) -> bool:
        return path == self.root or path.startswith(self._below)

    def names(self, text: str) -> bool:
        """Whether a message or an address speaks of a path below the root."""
        return self.root in text

    def stored(self, target: str, link: str) -> str | None:
        """What a symbolic link at ``link`` in the storage holds for ``target``; None if it leads out."""
        if target.startswith("/"):
            clean = posixpath.normpath(target)
            return ROOT + clean[len(self.root) :] if self._is_below(clean) else None
        end = posixpath.normpath(posixpath.join(posixpath.dirname(link), target))
        return target if end == ROOT or end.startswith(f"{ROOT}/") else None

    def shown(self, target: str) -> str:
        """What a link in the storage says to the program."""
        return self.root + target[len(ROOT) :] if target == ROOT or target.startswith(f"{ROOT}/") else target
