"""Every byte of the log, the file ``NAME-untorn`` beside ``NAME`` (its *home*).

All integers are little-endian and unsigned unless said otherwise. Digests are xxh3_64, seeded with the
salt, so that bytes of an older generation never verify.

Layout, in bytes::

    0      slots       eight, each 512 bytes at the start of a 4096-byte block whose rest is zero;
                       generation g has slot (g - 1) % 8
    32768  records     each starts at a multiple of 4096, the next one where the last one ends

Slot (which generation the log is in, and whose it is)::

    0    8  magic           b"untornS\\x01"
    8    2  version         1
    10   1  kind            1 START: home is as recorded. 2 CHECKPOINT: home may be partly rewritten.
    11   1  identity        1 MARK: home carries file_id in an xattr. 2 INODE: by inode and birth time.
    12   4  folio_size      no extent crosses a multiple of it
    16   8  generation      of the valid slots the highest one holds; every slot write raises it
    24   8  salt            drawn anew by each START; guards against records of an earlier generation
    32   16 file_id         random; guards against a log of another file
    48   8  home_inode
    56   8  home_birth_ns   0 where the file system has none
    64   8  home_size       home's size and (signed) mtime when the slot was written: guards against
    72   8  home_mtime_ns   writing over another program's changes
    80   8  synced_through  CHECKPOINT: every record up to this sequence was durable before home was touched,
                            and none behind it counts
    88   8  durable         highest generation whose slot was known to be durable when this one was written
    96   8  copy_after      CHECKPOINT: the records behind this sequence are read from the copy, if there is one
    104  8  copy_start      where in the log the copy starts and ends, multiples of 4096; both 0 if there is none:
    112  8  copy_end        the same bytes once more, of records that recovery could not prove to be durable
    504  8  checksum        of bytes 0 to 503, seed 0; what is between is zero

Record (one header sector, an extent table, a payload; each starts on a sector of its own)::

    0    8  magic           b"untornR\\x01"
    8    2  version         1
    10   2  kind            1 DATA: uncommitted data (a spill). 2 COMMIT: ends a transaction.
    12   4  extent_count
    16   8  salt            of the generation
    24   8  sequence        1, 2, 3... within a generation, no gaps
    32   8  parent          sequence of the record that this one builds on: DATA records between are rolled back
    40   8  previous        checksum of the previous record's header (of the first: the salt). A chain:
                            a later record cannot come back to life behind a rewritten one
    48   8  synced_through  highest sequence known durable when this was written: tells a torn tail from damage
    56   8  size            of the file after this record
    64   8  size_min        smallest size since the parent, at most size: bytes beyond it were cut, whatever followed
    72   8  payload_length
    80   8  table_digest    of the extent table
    504  8  checksum        of bytes 0 to 503, seeded with the salt; what is between is zero

    512          extent table, 24 bytes an extent, zero to the next sector:
                 0 4 file (0; one log may later serve a tree)   4 4 length (1 to folio_size)
                 8 8 offset (in home, a multiple of 512)       16 8 digest (of the extent's bytes)
                 an extent ends at a multiple of 512 too, or at the file's size
    next sector  payload: the extents' bytes in the table's order, zero to the next multiple of 4096

A record is valid if and only if (1) its header's magic, version, salt and checksum are right, (2) its sequence
is the expected one, ``previous`` is the header before it, ``parent`` is the last commit or a DATA record that
still counts, (3) its table has its digest and every extent obeys the limits, (4) every extent has its digest.
The file's content is home, changed by every COMMIT in order: cut to ``size_min``, extents written over, set to
``size``; a COMMIT brings with it the DATA records on its path of parents. The log ends before the first record
that is not valid. If that record is known to have been durable (``synced_through`` of the slot or of any valid
header further on reaches it) the log is damaged; otherwise its tail is torn, which is what crashes do.

Within a generation a log byte is written once. A restart (START with a new salt) empties the log. The slots of
generations before are zeroed with the first record of the new one, so that damage to the new slot cannot
bring an old generation back.

The writer logs whole blocks of 4096 bytes, as far as the file goes, and the block in which home is cut, or from
whose middle on it grows: a checkpoint then sends no byte to home that is not in the log, and a device that turns
what it is writing into garbage takes nothing with it.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from enum import IntEnum
from typing import Final, NamedTuple

from xxhash import xxh3_64_intdigest

from untorn.sizes import BLOCK, SECTOR, is_folio_size, round_up

VERSION: Final = 1
SLOTS: Final = 8
SLOT_OFFSETS: Final = tuple(range(0, SLOTS * BLOCK, BLOCK))
RECORDS_OFFSET: Final = SLOTS * BLOCK
EXTENTS_MAX: Final = 1 << 16
"""Most extents in one record: a table of 1.5 MiB, the most that recovery holds of unproven length."""
PAYLOAD_MAX: Final = 1 << 26
"""Most payload bytes in one record, so that evidence of damage is never searched far."""
SIZE_MAX: Final = (1 << 63) - 1
"""Largest size of a file, as off_t has it."""

_SLOT_MAGIC: Final = b"untornS\x01"
_RECORD_MAGIC: Final = b"untornR\x01"
_SLOT: Final = struct.Struct("<8sHBBIQQ16sQQQqQQQQQ")
_RECORD: Final = struct.Struct("<8sHHIQQQQQQQQQ")
_EXTENT: Final = struct.Struct("<IIQQ")
_CHECKSUM: Final = struct.Struct("<Q")
_BODY: Final = SECTOR - _CHECKSUM.size
_RECORD_PAD: Final = bytes(_BODY - _RECORD.size)

EXTENT_BYTES: Final = _EXTENT.size
assert (_SLOT.size, _RECORD.size, _EXTENT.size) == (120, 88, 24)


class SlotKind(IntEnum):
    START = 1
    CHECKPOINT = 2


class Identity(IntEnum):
    MARK = 1
    INODE = 2


class RecordKind(IntEnum):
    DATA = 1
    COMMIT = 2


class Slot(NamedTuple):
    """Which generation the log is in, and whose it is. Fields as in the module's table."""

    kind: SlotKind
    identity: Identity
    folio_size: int
    generation: int
    salt: int
    file_id: bytes
    home_inode: int
    home_birth_ns: int
    home_size: int
    home_mtime_ns: int
    synced_through: int
    durable: int = 0
    copy_after: int = 0
    copy_start: int = 0
    copy_end: int = 0


class Record(NamedTuple):
    """A record's header. Fields as in the module's table; ``checksum`` is the header's own."""

    kind: RecordKind
    extent_count: int
    salt: int
    sequence: int
    parent: int
    previous: int
    synced_through: int
    size: int
    size_min: int
    payload_length: int
    table_digest: int
    checksum: int = 0

    @property
    def table_length(self) -> int:
        """Bytes of the extent table, without padding."""
        return self.extent_count * EXTENT_BYTES

    @property
    def payload_start(self) -> int:
        """Bytes from the record's start to its payload."""
        return payload_start(self.extent_count)

    @property
    def total_length(self) -> int:
        """Bytes from the record's start to where the next one starts."""
        return round_up(self.payload_start + self.payload_length, BLOCK)


class Extent(NamedTuple):
    """``length`` bytes of home at ``offset``, held in the log at ``position``, with their digest.

    Of them those in ``[start, stop)``, in home's offsets, are not overwritten or cut since.
    """

    start: int
    stop: int
    offset: int
    length: int
    digest: int
    position: int


def record_length_max(extents: int, payload: int) -> int:
    """Most bytes that a record of at most so many extents and payload bytes takes in the log."""
    return round_up(payload_start(extents) + payload, BLOCK)


def slot_offset(generation: int) -> int:
    """Where in the log the slot of a generation is."""
    return SLOT_OFFSETS[(generation - 1) % SLOTS]


def encode_slot(slot: Slot) -> bytes:
    """The slot's 512 bytes."""
    kind, identity, *rest = slot
    folio_size, generation, *tail = rest
    body = _SLOT.pack(_SLOT_MAGIC, VERSION, kind, identity, folio_size, generation, *tail).ljust(_BODY, b"\0")
    return body + _CHECKSUM.pack(xxh3_64_intdigest(body))


def decode_slot(sector: bytes) -> Slot | None:
    """The slot, or None if these 512 bytes are not a valid one."""
    if len(sector) != SECTOR or not sector.startswith(_SLOT_MAGIC):
        return None
    if _CHECKSUM.unpack_from(sector, _BODY)[0] != xxh3_64_intdigest(sector[:_BODY]):
        return None
    _, version, kind, identity, folio_size, *rest = _SLOT.unpack_from(sector)
    if version != VERSION or not is_folio_size(folio_size):
        return None
    try:
        slot = Slot(SlotKind(kind), Identity(identity), folio_size, *rest)
    except ValueError:
        return None
    # Sizes are off_t. Generations are counted, so one near the end of the field was made up.
    counted = max(slot.home_size, slot.generation, slot.copy_end) <= SIZE_MAX and slot.durable <= slot.generation
    aligned = not slot.copy_start % BLOCK and not slot.copy_end % BLOCK
    if slot.kind is SlotKind.CHECKPOINT and slot.copy_end:
        placed = RECORDS_OFFSET <= slot.copy_start < slot.copy_end
    else:
        placed = slot.copy_after == slot.copy_start == slot.copy_end == 0
    return slot if counted and aligned and placed else None


def encode_record(record: Record) -> tuple[bytes, int]:
    """The header's 512 bytes and the checksum in them."""
    body = _RECORD.pack(_RECORD_MAGIC, VERSION, *record[:-1]) + _RECORD_PAD
    checksum = xxh3_64_intdigest(body, record.salt)
    return body + _CHECKSUM.pack(checksum), checksum


def decode_record(sector: bytes, salt: int) -> Record | None:
    """The header, or None if these 512 bytes are not a valid one of the generation with this salt."""
    if len(sector) != SECTOR or not sector.startswith(_RECORD_MAGIC):
        return None
    checksum: int = _CHECKSUM.unpack_from(sector, _BODY)[0]
    if checksum != xxh3_64_intdigest(sector[:_BODY], salt):
        return None
    _, version, kind, extent_count, *rest = _RECORD.unpack_from(sector)
    if version != VERSION or kind not in (RecordKind.DATA, RecordKind.COMMIT):
        return None
    record = Record._make((RecordKind(kind), extent_count, *rest, checksum))
    if record.salt != salt or record.extent_count > EXTENTS_MAX or record.payload_length > PAYLOAD_MAX:
        return None
    return record if record.size_min <= record.size <= SIZE_MAX else None


def encode_table(extents: Sequence[Extent]) -> bytes:
    """The extents' table, without padding."""
    # The first two fields as one: file is 0, and one pack of all is several times as fast as one for each.
    words = [word for _, _, offset, length, digest, _ in extents for word in (length << 32, offset, digest)]
    return struct.pack(f"<{len(words)}Q", *words)


def payload_start(extents: int) -> int:
    """Bytes from a record's start to its payload."""
    return SECTOR + round_up(extents * EXTENT_BYTES, SECTOR)


def decode_table(table: bytes, record: Record, position: int, folio_size: int) -> list[Extent] | None:
    """The extents of the record that starts at ``position``, or None if one breaks the rules."""
    at = position + record.payload_start
    extents = []
    for file, length, offset, digest in _EXTENT.iter_unpack(table):
        inside = 0 < length <= folio_size and offset % folio_size + length <= folio_size
        if file != 0 or not inside or offset + length > record.size:
            return None
        # Else a log could cut a folio into so many pieces that recovery takes for ever.
        if offset % SECTOR or (length % SECTOR and offset + length != record.size):
            return None
        extents.append(Extent(offset, offset + length, offset, length, digest, at))
        at += length
    if at != position + record.payload_start + record.payload_length:
        return None
    return extents
