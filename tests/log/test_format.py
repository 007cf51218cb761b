"""The bytes of the log: what is written is what is read, as the module's tables say, and nothing else passes."""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st
from xxhash import xxh3_64_intdigest

from untorn.log import format as log_format
from untorn.log.format import (
    EXTENT_BYTES,
    EXTENTS_MAX,
    PAYLOAD_MAX,
    RECORDS_OFFSET,
    SLOT_OFFSETS,
    Extent,
    Identity,
    Record,
    RecordKind,
    Slot,
    SlotKind,
    decode_record,
    decode_slot,
    decode_table,
    encode_record,
    encode_slot,
    encode_table,
    record_length_max,
    slot_offset,
)
from untorn.sizes import BLOCK, FOLIO_SIZE_MAX, SECTOR

U64 = st.integers(0, (1 << 64) - 1)
SIZES = st.integers(0, (1 << 63) - 1)
"""Of files, as off_t has it."""
FOLIO_SIZES = st.sampled_from([BLOCK << shift for shift in range(9)])

SLOTS = st.builds(
    Slot,
    kind=st.sampled_from(SlotKind),
    identity=st.sampled_from(Identity),
    folio_size=FOLIO_SIZES,
    generation=st.integers(1, (1 << 62)),
    salt=U64,
    file_id=st.binary(min_size=16, max_size=16),
    home_inode=U64,
    home_birth_ns=U64,
    home_size=SIZES,
    home_mtime_ns=st.integers(-(1 << 63), (1 << 63) - 1),
    synced_through=U64,
    durable=st.just(0),
    copy_after=st.just(0),
    copy_start=st.just(0),
    copy_end=st.just(0),
)
RECORDS = st.builds(
    Record,
    kind=st.sampled_from(RecordKind),
    extent_count=st.integers(0, EXTENTS_MAX),
    salt=U64,
    sequence=U64,
    parent=U64,
    previous=U64,
    synced_through=U64,
    size=SIZES,
    size_min=st.just(0),
    payload_length=st.integers(0, PAYLOAD_MAX),
    table_digest=U64,
).flatmap(lambda record: st.integers(0, record.size).map(lambda size_min: record._replace(size_min=size_min)))

SLOT = Slot(
    SlotKind.CHECKPOINT, Identity.MARK, BLOCK, 7, 0x5A17, bytes(range(16)), 12, 34, 56, -78, 9, 6, 8, 65536, 69632
)  # fmt: skip
RECORD = Record(RecordKind.COMMIT, 2, 0x5A17, 3, 2, 0xCAFE, 1, 9000, 4096, 5000, 0xD16E)


@dataclass(frozen=True)
class Field:
    """One row of a table of the module's docstring."""

    offset: int
    length: int
    name: str


def documented(title: str) -> list[Field]:
    """The rows of the table under the heading that starts with ``title``."""
    assert log_format.__doc__ is not None
    _, _, rest = log_format.__doc__.partition(f"\n{title} (")
    table = rest.partition("::\n\n")[2].partition("\n\n")[0]
    rows = re.findall(r"^ {4}(\d+) +(\d+) +([a-z_]+)", table, re.MULTILINE)
    return [Field(int(offset), int(length), name) for offset, length, name in rows]


def extent(offset: int, length: int, digest: int = 5, position: int = 0) -> Extent:
    """An extent of which nothing is overwritten yet."""
    return Extent(offset, offset + length, offset, length, digest, position)


def fixed(sector: bytes, seed: int) -> bytes:
    """The sector with the checksum that its other bytes want."""
    return sector[:504] + struct.pack("<Q", xxh3_64_intdigest(sector[:504], seed))


COPIES = st.tuples(U64, st.integers(0, 1 << 40), st.integers(1, 1 << 20))
"""Of a copy: after which sequence, in which block it starts and how many it has."""


@given(SLOTS, COPIES, st.data())
def test_a_slot_is_read_as_it_was_written(slot: Slot, copy: tuple[int, int, int], data: st.DataObject) -> None:
    slot = slot._replace(durable=data.draw(st.integers(0, slot.generation)))
    assert decode_slot(encode_slot(slot)) == slot

    after, start, blocks = copy
    start = RECORDS_OFFSET + start * BLOCK
    copied = slot._replace(copy_after=after, copy_start=start, copy_end=start + blocks * BLOCK)
    assert decode_slot(encode_slot(copied)) == (copied if slot.kind is SlotKind.CHECKPOINT else None)


@given(RECORDS)
def test_a_record_header_is_read_as_it_was_written(record: Record) -> None:
    sector, checksum = encode_record(record)
    assert decode_record(sector, record.salt) == record._replace(checksum=checksum)


@given(RECORDS, U64)
def test_a_header_of_another_generation_is_not_read(record: Record, salt: int) -> None:
    sector, _ = encode_record(record)
    assert (decode_record(sector, salt) is not None) == (salt == record.salt)


@given(st.data())
def test_a_table_is_read_as_it_was_written(data: st.DataObject) -> None:
    folio_size = data.draw(FOLIO_SIZES)
    extents = []
    for _ in range(data.draw(st.integers(0, 20))):
        base = data.draw(st.integers(0, 1 << 40)) * folio_size
        start = data.draw(st.integers(0, folio_size // SECTOR - 1))
        sectors = data.draw(st.integers(1, folio_size // SECTOR - start))
        extents.append(extent(base + start * SECTOR, sectors * SECTOR, data.draw(U64)))
    length = sum(one.length for one in extents)
    record = RECORD._replace(extent_count=len(extents), payload_length=length, size=(1 << 63) - 1)

    table = encode_table(extents)
    read = decode_table(table, record, RECORDS_OFFSET, folio_size)

    assert len(table) == record.table_length
    assert read is not None
    assert [one._replace(position=0) for one in read] == extents
    at = RECORDS_OFFSET + record.payload_start
    for one in read:
        assert one.position == at
        at += one.length


@pytest.mark.parametrize("kind", ["slot", "record"])
def test_every_flipped_bit_of_a_header_is_noticed(kind: str) -> None:
    sector = encode_slot(SLOT) if kind == "slot" else encode_record(RECORD)[0]

    def read(data: bytes) -> object:
        return decode_slot(data) if kind == "slot" else decode_record(data, RECORD.salt)

    assert read(sector) is not None
    for bit in range(8 * SECTOR):
        damaged = bytearray(sector)
        damaged[bit // 8] ^= 1 << bit % 8
        assert read(bytes(damaged)) is None, f"bit {bit % 8} of byte {bit // 8} may flip unnoticed"


@pytest.mark.parametrize("length", [0, 1, 8, 511, 513, 1024])
def test_only_a_whole_sector_is_read(length: int) -> None:
    slot = (encode_slot(SLOT) * 2)[:length]
    record = (encode_record(RECORD)[0] * 2)[:length]
    assert decode_slot(slot) is None
    assert decode_record(record, RECORD.salt) is None


def test_the_headers_lie_as_the_tables_say() -> None:
    values: dict[str, bytes | int] = {
        "magic": b"untornS\x01", "version": 1, "kind": 2, "identity": 1, "folio_size": BLOCK, "generation": 7,
        "salt": 0x5A17, "file_id": bytes(range(16)), "home_inode": 12, "home_birth_ns": 34, "home_size": 56,
        "home_mtime_ns": -78, "synced_through": 9, "durable": 6, "copy_after": 8, "copy_start": 65536,
        "copy_end": 69632,
    }  # fmt: skip
    sector = encode_slot(SLOT)
    check_layout("Slot", sector, {**values, "checksum": xxh3_64_intdigest(sector[:504])})

    sector, checksum = encode_record(RECORD)
    assert checksum == xxh3_64_intdigest(sector[:504], RECORD.salt)
    values = {
        "magic": b"untornR\x01", "version": 1, "kind": 2, "extent_count": 2, "salt": 0x5A17, "sequence": 3,
        "parent": 2, "previous": 0xCAFE, "synced_through": 1, "size": 9000, "size_min": 4096,
        "payload_length": 5000, "table_digest": 0xD16E, "checksum": checksum,
    }  # fmt: skip
    check_layout("Record", sector, values)


def check_layout(title: str, sector: bytes, values: dict[str, bytes | int]) -> None:
    """Every documented field has its value in its place; what lies between them is zero."""
    assert len(sector) == SECTOR
    fields = documented(title)
    assert [field.name for field in fields] == list(values)
    at = 0
    for field in fields:
        assert field.offset >= at, f"{field.name} overlaps the field before it"
        assert not any(sector[at : field.offset]), f"what is before {field.name} is not zero"
        at = field.offset + field.length
        value = values[field.name]
        found = sector[field.offset : at]
        if isinstance(value, int):
            assert int.from_bytes(found, "little", signed=value < 0) == value, field.name
        else:
            assert found == value, field.name
    assert at == SECTOR


def test_the_extent_table_lies_as_the_docstring_says() -> None:
    table = encode_table([extent(0x1122, 0x33, 0x44)])
    assert EXTENT_BYTES == len(table) == 24
    assert struct.unpack("<IIQQ", table) == (0, 0x33, 0x1122, 0x44)


def test_the_log_is_laid_out_as_the_docstring_says() -> None:
    assert log_format.__doc__ is not None
    places = dict(re.findall(r"^ {4}(\d+) +(slots|records) ", log_format.__doc__, re.MULTILINE))
    assert {int(place): name for place, name in places.items()} == {0: "slots", RECORDS_OFFSET: "records"}
    assert "generation g has slot (g - 1) % 8" in log_format.__doc__
    assert SLOT_OFFSETS == (0, 4096, 8192, 12288, 16384, 20480, 24576, 28672)
    assert RECORDS_OFFSET == 32768
    assert [slot_offset(generation) for generation in (1, 2, 8, 9)] == [0, 4096, 28672, 0]


def test_the_numbers_of_kinds_are_as_the_docstring_says() -> None:
    assert {kind.name: kind.value for kind in SlotKind} == {"START": 1, "CHECKPOINT": 2}
    assert {kind.name: kind.value for kind in RecordKind} == {"DATA": 1, "COMMIT": 2}
    assert {kind.name: kind.value for kind in Identity} == {"MARK": 1, "INODE": 2}


def test_what_recovery_holds_of_unproven_length_stays_small() -> None:
    assert EXTENTS_MAX * EXTENT_BYTES <= 2 << 20
    assert PAYLOAD_MAX <= 64 << 20
    assert FOLIO_SIZE_MAX <= 1 << 20


@pytest.mark.parametrize(
    ("extents", "payload", "start", "total"),
    [
        pytest.param(0, 0, 512, 4096, id="empty"),
        pytest.param(1, 1, 1024, 4096, id="a-byte"),
        pytest.param(1, 3072, 1024, 4096, id="a-full-block"),
        pytest.param(1, 3073, 1024, 8192, id="a-byte-more"),
        pytest.param(21, 4096, 1024, 8192, id="a-full-sector-of-extents"),
        pytest.param(22, 4096, 1536, 8192, id="one-extent-more"),
        pytest.param(64, 64 * 16384, 2048, 2048 + 64 * 16384 + 2048, id="64-folios"),
    ],
)
def test_a_record_takes_whole_blocks(extents: int, payload: int, start: int, total: int) -> None:
    record = RECORD._replace(extent_count=extents, payload_length=payload)
    assert (record.payload_start, record.total_length) == (start, total)
    assert record_length_max(extents, payload) == total


@given(RECORDS, st.integers(0, 1 << 16), st.integers(0, 1 << 26))
def test_the_longest_record_is_never_underestimated(record: Record, extents: int, payload: int) -> None:
    fits = record.extent_count <= extents and record.payload_length <= payload
    assert not fits or record.total_length <= record_length_max(extents, payload)


# Headers that a hostile hand gave the right checksum

HOSTILE_SLOTS = {
    "version": (8, "<H", 2),
    "kind": (10, "<B", 3),
    "no kind": (10, "<B", 0),
    "identity": (11, "<B", 3),
    "folio too small": (12, "<I", 2048),
    "folio too large": (12, "<I", 2 << 20),
    "folio odd": (12, "<I", 12288),
    "no folio": (12, "<I", 0),
    "last generation": (16, "<Q", (1 << 64) - 1),
    "home beyond off_t": (64, "<Q", 1 << 63),
    "a later one known to be durable": (88, "<Q", 8),
    "a copy over the slots": (104, "<Q", 28672),
    "a copy that starts within a block": (104, "<Q", 65537),
    "a copy that ends within a block": (112, "<Q", 69633),
    "a copy that ends before it starts": (112, "<Q", 61440),
    "an empty copy": (112, "<Q", 65536),
    "a copy without an end": (112, "<Q", 0),
    "a copy beyond off_t": (112, "<Q", 1 << 63),
}
HOSTILE_RECORDS = {
    "version": (8, "<H", 2),
    "kind": (10, "<H", 3),
    "no kind": (10, "<H", 0),
    "too many extents": (12, "<I", EXTENTS_MAX + 1),
    "most extents": (12, "<I", (1 << 32) - 1),
    "another salt": (16, "<Q", 1),
    "size beyond off_t": (56, "<Q", 1 << 63),
    "smallest size above the size": (64, "<Q", 9001),
    "payload too long": (72, "<Q", PAYLOAD_MAX + 1),
    "longest payload": (72, "<Q", (1 << 64) - 1),
}


@pytest.mark.parametrize("change", HOSTILE_SLOTS)
def test_a_slot_that_breaks_a_rule_is_refused_whatever_its_checksum(change: str) -> None:
    at, form, value = HOSTILE_SLOTS[change]
    sector = bytearray(encode_slot(SLOT))
    struct.pack_into(form, sector, at, value)
    assert decode_slot(fixed(bytes(sector), 0)) is None


@pytest.mark.parametrize("change", HOSTILE_RECORDS)
def test_a_header_that_breaks_a_rule_is_refused_whatever_its_checksum(change: str) -> None:
    at, form, value = HOSTILE_RECORDS[change]
    sector = bytearray(encode_record(RECORD)[0])
    struct.pack_into(form, sector, at, value)
    assert decode_record(fixed(bytes(sector), RECORD.salt), RECORD.salt) is None


def test_the_checksum_is_what_lets_a_hostile_header_pass() -> None:
    """The control: with a value that is allowed, the same hand passes."""
    slot, record = bytearray(encode_slot(SLOT)), bytearray(encode_record(RECORD)[0])
    struct.pack_into("<I", slot, 12, 8192)
    struct.pack_into("<I", record, 12, 3)
    assert decode_slot(fixed(bytes(slot), 0)) == SLOT._replace(folio_size=8192)
    read = decode_record(fixed(bytes(record), RECORD.salt), RECORD.salt)
    assert read is not None
    assert read.extent_count == 3


@pytest.mark.parametrize(
    ("extents", "payload"),
    [
        pytest.param([extent(0, 0)], 0, id="no length"),
        pytest.param([extent(0, 4097)], 4097, id="longer than a folio"),
        pytest.param([extent(4000, 97)], 97, id="across two folios"),
        pytest.param([extent(8192, 809)], 809, id="beyond the size"),
        pytest.param([extent((1 << 64) - 4096, 4096)], 4096, id="at the end of the world"),
        pytest.param([extent(0, 512)], 513, id="payload too long"),
        pytest.param([extent(0, 512)], 511, id="payload too short"),
        pytest.param([extent(100, 412)], 412, id="starts within a sector"),
        pytest.param([extent(0, 100)], 100, id="ends within a sector that goes on"),
        pytest.param([extent(0, (1 << 32) - 1)], PAYLOAD_MAX, id="longest"),
    ],
)
def test_an_extent_that_breaks_a_rule_is_refused(extents: list[Extent], payload: int) -> None:
    record = RECORD._replace(extent_count=len(extents), payload_length=payload, size=9000)
    assert decode_table(encode_table(extents), record, RECORDS_OFFSET, BLOCK) is None


def test_an_extent_of_another_file_is_refused() -> None:
    table = struct.pack("<IIQQ", 1, 512, 0, 5)
    record = RECORD._replace(extent_count=1, payload_length=512)
    assert decode_table(table, record, RECORDS_OFFSET, BLOCK) is None
    table = struct.pack("<IIQQ", 0, 512, 0, 5)
    at = RECORDS_OFFSET + record.payload_start
    assert decode_table(table, record, RECORDS_OFFSET, BLOCK) == [extent(0, 512, 5, at)]


def test_an_extent_may_end_where_the_file_does() -> None:
    """The control of those that end within a sector."""
    record = RECORD._replace(extent_count=1, payload_length=9000 - 8192, size=9000)
    table = encode_table([extent(8192, 9000 - 8192)])
    assert decode_table(table, record, RECORDS_OFFSET, BLOCK) is not None
