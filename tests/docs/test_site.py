"""The documentation is built without a warning: every link leads somewhere, and every page is in the contents."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from tests.docs.site import DOCS, ROOT, build

BROKEN = {
    "link": ("[nowhere](nowhere.md)", "'nowhere.md'"),
    "name": ("```{eval-rst}\n.. py:function:: f() -> untorn.Nothing\n```", "untorn.Nothing"),
    "alone": ("In no contents.", "isn't included in any toctree"),
}
"""Pages, and what Sphinx says of each."""


def test_the_site_is_built_without_a_warning(tmp_path: Path) -> None:
    assert build(tmp_path / "site", "-b", "dummy") == ""


def test_control_a_broken_page_is_seen_and_a_page_asks_for_nothing_from_the_network(tmp_path: Path) -> None:
    docs = tmp_path / "docs"
    docs.mkdir()
    shutil.copy(DOCS / "conf.py", docs)
    (docs / "index.md").write_text("# Home\n\n```{toctree}\nlink\nname\nmissing\n```\n", encoding="utf-8")
    for name, (text, _) in BROKEN.items():
        (docs / f"{name}.md").write_text(f"# {name}\n\n{text}\n", encoding="utf-8")

    said = build(tmp_path / "site", "-b", "html", docs=docs)

    assert [name for name, (_, words) in BROKEN.items() if words not in said] == []
    assert "nonexisting document 'missing'" in said
    page = (tmp_path / "site" / "index.html").read_text(encoding="utf-8")
    assert "untorn" in page
    assert re.findall(r"<(?:script|link|img)[^>]*=\"(?:https?:)?//[^>]*>", page) == []


def lost_links(text: str, folder: Path) -> list[str]:
    """Links of a page in Markdown that lead to no file; those of pages below docs/ Sphinx looks after."""
    links = re.findall(r"\]\((?!https?:)([^)#]+)[^)]*\)", text)
    return [link for link in links if not (folder / link).exists()]


def test_the_links_of_the_pages_beside_the_site_lead_somewhere() -> None:
    pages = [*ROOT.glob("*.md"), DOCS / "index.md"]

    assert len(pages) > 5
    assert [(page.name, lost_links(page.read_text(encoding="utf-8"), page.parent)) for page in pages] == [
        (page.name, []) for page in pages
    ]


def test_control_a_lost_link_is_seen() -> None:
    assert lost_links("[a](README.md) [b](nowhere.md#part) [c](https://example.org)", ROOT) == ["nowhere.md"]
