"""TinyDB: one document more, and then one less. Its storage writes in place, syncs, and then truncates."""

from __future__ import annotations

from pathlib import Path

from tinydb import TinyDB

from untorn.explore.interpose import ack, acknowledged

DOCUMENTS = [{"name": f"document {number}", "text": "x" * 300} for number in range(4)]


def prepare(dir: Path) -> None:
    with TinyDB(dir / "db.json") as database:
        database.insert_multiple(DOCUMENTS[:2])


def insert(dir: Path) -> None:
    with TinyDB(dir / "db.json") as database:
        database.insert(DOCUMENTS[2])
    ack(3)


def remove(dir: Path) -> None:
    with TinyDB(dir / "db.json") as database:
        database.remove(doc_ids=[2])
    ack(2)


steps = [insert, remove]


def check(dir: Path) -> None:
    with TinyDB(dir / "db.json", access_mode="r") as database:
        found = [dict(document) for document in database.all()]
    states = [DOCUMENTS[:2], DOCUMENTS[:3], [DOCUMENTS[0], DOCUMENTS[2]]]
    assert found in states, "neither the old documents nor the new ones"
    assert states.index(found) >= len(acknowledged()), "an acknowledged change is lost"
