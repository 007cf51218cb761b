"""The report of the explorer: one file that parses, loads nothing, tells everything and believes nobody."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any
from xml.etree import ElementTree

import pytest

from untorn.crashmodel.storage import SimulatedStorage
from untorn.explore.explorer import explore
from untorn.explore.result import Counterexample, Coverage, Deviation, Fate, Result, Survival
from untorn.explore.search_record import Problem
from untorn.explore.targets.protocol import Acknowledged
from untorn.report.explored import SHOWN_MAX, page

EVIL = "</title></style><script>alert(1)</script><img src=//x.example/i.png onerror=a>'\"&\x1b[31m\u202e\udcff"


def operations(count: int, path: str = "/d/f", site: str = "app.py:3 in save") -> list[dict[str, Any]]:
    """Writes, every tenth a sync."""
    return [
        {
            "index": n, "name": "pwritev" if n % 10 else "fdatasync", "path": path, "issued": 2 * n + 1,
            "completed": 2 * n + 2, "site": site, "text": f"operation {n} of {path}", "offset": 0, "length": 4096,
        }
        for n in range(count)
    ]  # fmt: skip


def story(text: str, after: int) -> Counterexample:
    return Counterexample(
        "torn", Problem("ValueError", text, "check", f"app.py:9 in check {text}"), "power", 2 * after + 1, after,
        [Deviation(after, f"the write {text}", "torn", f"app.py:3 in {text}", (1, 8))],
        f"The power fails.\n  lost: {text}\nThen check says no", {"target": {"module": text}, "events": [1]},
        [Survival(f"/d/{text}", 512, 4096, 4096, None, [(Fate.NEW, 3), (Fate.OLD, 4), (Fate.GARBAGE, 1)])],
    )  # fmt: skip


def bad(text: str = "half a page", count: int = 40) -> Result:
    return Result(
        f"target {text}", "strict", Coverage.TEARS, coverages=[f"coverage {text}"], recoveries=9, bad=2,
        scope=[f"scope {text}"], refusal=f"why {text}",
        operations=operations(count, f"/d/{text}", f"app.py:3 in {text}"),
        counterexamples=[story(text, 12), story(f"other {text}", 30)],
    )  # fmt: skip


def certified(name: str = "fine") -> Result:
    return Result(
        name, "strict", Coverage.EXHAUSTIVE, recoveries=46, states=2**38, certified=True, scope=["this trace"],
        operations=operations(12), seconds=0.2,
    )  # fmt: skip


def uncertain(name: str = "maybe") -> Result:
    return Result(name, "linux", Coverage.SAMPLED, recoveries=5, refusal="the budget ended the search")


def parsed(text: str) -> ElementTree.Element:
    """Strictly: every element is closed, every attribute quoted."""
    return ElementTree.fromstring(text)


def texts(root: ElementTree.Element) -> str:
    """Everything that is shown, hovered over or read out; not the style."""
    parts: list[str] = []
    for element in root.iter():
        if element.tag != "style":
            parts += [element.text or "", element.get("aria-label", "")]
        parts.append(element.tail or "")
    return re.sub(r"\s+", " ", " ".join(parts))


def references(root: ElementTree.Element) -> Iterator[str]:
    """Everything that an element could load or lead to, and any script."""
    for element in root.iter():
        for name, value in element.attrib.items():
            if name.rpartition("}")[2] in ("href", "src", "srcset", "action", "data", "poster", "background"):
                yield value
            elif name.startswith("on"):
                yield f"{name}={value}"
            yield from re.findall(r"url\(([^)]*)\)", value)
        if element.tag in ("script", "link", "iframe", "object", "embed", "base", "img", "image", "use"):
            yield f"<{element.tag}>"
        if element.tag == "style":
            yield from re.findall(r"url\([^)]*\)|@import[^;]*|https?://[^\s)]*", element.text or "")


@pytest.mark.parametrize("results", [[bad()], [certified()], [uncertain()], [bad(), certified(), uncertain()]])
def test_it_is_one_file_that_parses_and_loads_nothing(results: list[Result]) -> None:
    text = page(results)
    root = parsed(text)

    assert text.startswith("<!DOCTYPE html>")
    assert root.tag == "html"
    assert [reference for reference in references(root) if not reference.startswith("#")] == []
    policy = next(one.get("content") for one in root.iter("meta") if one.get("http-equiv"))
    assert policy == "default-src 'none'; style-src 'unsafe-inline'"


def test_a_reference_that_loads_would_be_seen() -> None:
    page_with = '<html><style>@import "a.css";</style><img src="b.png" onerror="c" /><p style="x: url(d)" /></html>'

    assert len(list(references(parsed(page_with)))) == 5


@pytest.mark.parametrize("place", ["alone", "among others"])
def test_hostile_text_is_shown_as_text(place: str) -> None:
    results = [bad(EVIL)] if place == "alone" else [bad(EVIL), certified(EVIL), uncertain(EVIL), certified("x")]
    text = page(results)
    root = parsed(text)

    text.encode("utf-8")
    assert "<script" not in text
    assert "<img" not in text
    assert [reference for reference in references(root) if not reference.startswith("#")] == []
    shown = texts(root)
    assert "<script>alert(1)</script>" in shown
    assert r"\x1b[31m\u202e\udcff" in shown
    assert not {"\x1b", "\u202e", "\udcff"} & set(text)


def test_the_verdict_is_the_headline() -> None:
    def headline(*results: Result) -> str:
        (found,) = parsed(page(list(results))).iter("h1")
        return str(found.text)

    assert headline(bad()) == "Bad state found: torn"
    assert headline(certified()) == "Certified: it held in every crash"
    assert headline(uncertain()) == "Nothing bad found, not certified"
    assert headline(certified(), bad(), uncertain()) == "Bad states found in 1 of 3 targets"
    assert headline(certified(), uncertain()) == "Nothing bad found; 1 target not certified"
    assert headline(certified(), certified()) == "All 2 targets certified"


@pytest.mark.parametrize("result", [bad(), uncertain()])
def test_only_what_is_certified_says_so(result: Result) -> None:
    assert "certified" not in re.sub("not certified", "", texts(parsed(page([result]))).lower()).replace(
        "a certificate holds", ""
    )
    assert "certified" in texts(parsed(page([certified()]))).lower()


def test_every_story_is_told_with_its_crash_files_and_call_sites() -> None:
    result = bad()
    root = parsed(page([result]))
    shown = texts(root)

    stories = list(root.iter("article"))
    assert len(stories) == len(result.counterexamples)
    for found, one in zip(stories, result.counterexamples, strict=True):
        inside = texts(found)
        assert one.problem.message in inside
        assert one.problem.place in inside
        assert all(line.strip() in inside for line in one.text.splitlines())
        assert all(deviation.site in inside for deviation in one.deviations)
        assert all(file.path in inside for file in one.files)
        assert "sectors 3 to 6: old: newer content is lost" in inside
        assert "sector 7: garbage" in inside
        assert len([mark for mark in found.iter("path") if mark.get("class") == "body cut"]) == 1
    assert "crash 1" in shown
    assert "crash 2" in shown
    assert "scope half a page" in shown


def test_every_target_has_its_row_and_its_section() -> None:
    results = [bad(), certified(), uncertain(), *(certified(f"n{n}") for n in range(5))]
    root = parsed(page(results))

    links = [one.get("href", "") for one in root.iter("a")]
    sections = [one.get("id") for one in root.iter("section") if one.get("class") == "target"]
    assert links == [f"#{anchor}" for anchor in sections]
    assert len(sections) == len(results)


@pytest.mark.parametrize("count", [3, 300, 3000])
def test_every_operation_is_in_the_picture_and_in_the_table(count: int) -> None:
    result = certified()
    result.operations = operations(count)
    root = parsed(page([result]))

    titles = [
        title.text or "" for mark in root.iter("g") if mark.get("class") == "mark" for title in mark.iter("title")
    ]
    assert [int(title.partition(":")[0]) for title in titles] == list(range(count))
    assert all("app.py:3 in save" in title for title in titles)
    assert f"All {count:,} operations" in texts(root)


def test_where_not_all_operations_are_shown_it_says_how_many_are() -> None:
    result = bad(count=SHOWN_MAX + 2000)
    root = parsed(page([result]))

    assert f"{SHOWN_MAX:,} of {SHOWN_MAX + 2000:,} operations" in texts(root)
    assert f"24 operations of {SHOWN_MAX + 2000:,}, around what the story is about." in texts(root)


def test_the_same_results_make_the_same_page() -> None:
    assert page([bad(), certified()]) == page([bad(), certified()])


# From a real search


class Torn:
    """Two sectors over two, and then a file made and never synced."""

    name = "torn"

    def record(self) -> SimulatedStorage:
        machine = SimulatedStorage(sites=True)
        machine.write_file("/f", b"o" * 1536)
        machine.settle()
        file = machine.open("/f", 2)
        file.pwritev([b"n" * 1024], 512)
        file.fdatasync()
        machine.acknowledge("done")
        return machine

    def recover(self, storage: SimulatedStorage) -> None:
        pass

    def check(self, storage: SimulatedStorage, acknowledged: Acknowledged) -> None:
        found = storage.read_file("/f")
        if found[512:] not in (b"o" * 1024, b"n" * 1024):
            raise ValueError("torn")


def test_a_search_tells_which_sectors_survived_and_the_report_shows_them() -> None:
    result = explore(Torn())
    (told,) = result.counterexamples
    (file,) = told.files

    assert (file.path, file.unit, file.size, file.newest, file.oldest) == ("/f", 512, 1536, 1536, 1536)
    assert sorted(file.sectors[1:]) == [(Fate.NEW, 1), (Fate.OLD, 1)]
    assert file.sectors[0] == (Fate.SAME, 1)
    shown = texts(parsed(page([result])))
    assert "sector 0: durable and newest" in shown
    assert "test_explored.py:" in shown
