"""What a file that takes RWF_ATOMIC has to do: the list.

The sources are the kernel's own test suites: ``generic/``, ``xfs/`` and ``ext4/`` are tests of xfstests, ``nvme/``
and ``scsi/`` of blktests; *errno table* is the order in which the kernel checks (pwritev2(2) and
generic_atomic_write_valid); *6.18* are two holes that were found in that kernel. What only a power failure can
show (generic/775 and 778, xfs/839 and 840) is not here: ``untorn explore`` and ``compare`` cut the power.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from untorn.debate.probe import rules, torn_write
from untorn.debate.probe.probe_file import Probed


@dataclass(frozen=True)
class Assertion:
    """One thing that must hold."""

    name: str
    words: str
    source: str
    run: Callable[[Probed], str | None]
    """Raises Broken or Unsupported; may return what was tried."""
    promised: bool = True
    """Asked only of a file that offers atomic writes; False: only of one that does not."""


ASSERTIONS: Final = (
    Assertion("limits", "The limits make sense", "generic/765", rules.limits),
    Assertion("every-size", "Every power of two within the limits is taken whole", "generic/767 768", rules.every_size),
    Assertion("too-small", "Half the smallest size is refused", "generic/767 768", rules.too_small),
    Assertion("too-large", "Twice the largest size is refused", "generic/767 768", rules.too_large),
    Assertion("odd-size", "A size that is no power of two is refused", "generic/765", rules.odd_sizes),
    Assertion("offset", "An offset that is no multiple of the size is refused", "generic/765 768", rules.offsets),
    Assertion("two-buffers", "Two buffers are refused", "generic/765", rules.two_buffers),
    Assertion("memory", "Memory at an odd address: whole, or refused", "errno table", rules.memory),
    Assertion("fault", "Memory of which half is not there is refused", "errno table", rules.fault),
    Assertion("nothing", "A write of nothing returns 0", "errno table", rules.nothing),
    Assertion("unknown-flag", "An unknown flag is refused", "errno table", rules.unknown_flag),
    Assertion("read", "A read with the flag is refused", "errno table", rules.reading),
    Assertion("read-only", "A file opened for reading refuses", "errno table", rules.read_only),
    Assertion("durable", "RWF_DSYNC and RWF_SYNC may be asked for too", "generic/775", rules.durable),
    Assertion("nowait", "RWF_NOWAIT: whole, or refused", "errno table", rules.nowait),
    Assertion("no-promise", "Without a promise every atomic write is refused", "generic/765", rules.no_promise, False),
    Assertion("written", "Whole over written blocks", "generic/765 769", torn_write.on_written),
    Assertion("hole", "Whole in a hole", "generic/765 770", torn_write.on_hole),
    Assertion("unwritten", "Whole over reserved blocks", "generic/765 770", torn_write.on_unwritten),
    Assertion("mixed", "Whole over blocks and holes at once", "generic/774 ext4/063", torn_write.on_mixture),
    Assertion("end", "Whole at, across and beyond the end", "generic/770 775", torn_write.at_end),
    Assertion("shared", "Whole over shared blocks, and the clone stays", "generic/769", torn_write.on_shared),
    Assertion("dirty-cache", "Whole over dirty pages of the page cache", "generic/774", torn_write.beside_cache),
    Assertion("mapping", "Whole, or refused, over stores to a mapping", "errno table", torn_write.beside_mapping),
    Assertion("random", "Atomic and plain writes mixed match a model", "generic/776", torn_write.random_work),
    Assertion("parallel", "Threads that write side by side do no harm", "generic/773", torn_write.parallel),
    Assertion("reopened", "It is all there when opened again", "generic/770 775", torn_write.reopened),
    Assertion("size-limit", "Never short under RLIMIT_FSIZE", "6.18", torn_write.under_limit),
    Assertion("append", "An append leaves the bytes before it alone", "6.18", torn_write.append_in_block),
    Assertion("append-place", "An append lands where it may, or is refused", "6.18", torn_write.append_unaligned),
)
