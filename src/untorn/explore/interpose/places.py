"""Which paths are below the explored directory."""

from __future__ import annotations

import errno
import os
import posixpath
from typing import Any

from untorn.explore.interpose.descriptors import Descriptors
from untorn.explore.interpose.errors import UnseenAccessError


class Places:
    """Tells explored paths from real ones, by their text alone: nothing is looked up."""

    def __init__(self, root: str, descriptors: Descriptors) -> None:
        self.root = root
        self._below = root + "/"
        self._descriptors = descriptors

    def find(self, path: Any, dir_fd: int | None = None) -> str | None:
        """The absolute path if it is explored, else None; ``path`` as the functions of ``os`` take it."""
        try:
            text = os.fsdecode(path)
        except (TypeError, ValueError):  # the real function has its own words for it
            return None
        if not text.startswith("/"):
            if dir_fd is not None and dir_fd in self._descriptors:
                text = posixpath.join(self._descriptors[dir_fd].path, text) if text else ""
            elif self.root[1:] in text:
                text = posixpath.join(os.getcwd(), text)
            else:
                return None
            if not text:
                raise OSError(errno.ENOENT, os.strerror(errno.ENOENT))
        if "\0" in text:
            if text.startswith(self._below):
                raise ValueError("embedded null byte")
            return None
        if text == self.root or text.startswith(self._below):
            if "/../" in text + "/" and not self._is_below(posixpath.normpath(text)):
                raise UnseenAccessError(f"{text!r} leads out of the explored directory {self.root!r} by '..'")
            return text
        if self.root not in text:
            return None
        clean = "/" + posixpath.normpath(text).lstrip("/")
        return clean if self._is_below(clean) else None

    def _is_below(self, path: str) -> bool:
        return path == self.root or path.startswith(self._below)

    def names(self, text: str) -> bool:
        """Whether a message or an address speaks of a path below the root."""
        return self.root in text

    def holds(self, target: str, link: str) -> bool:
        """Whether a symbolic link at ``link`` that says ``target`` stays inside."""
        return self._is_below(posixpath.normpath(posixpath.join(posixpath.dirname(link), target)))
