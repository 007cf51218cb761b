"""Every sample of README.md and of the pages below docs/ does what it says."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest

from tests.docs.samples import Samples
from tests.docs.site import DOCS, ROOT
from tests.support.machine import needs

PAGES: Final = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]


def run(page: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    place = folder / "work"
    place.mkdir()
    monkeypatch.chdir(place)
    return Samples(page, place).run()


@needs("bash", "cp", "ls", "make", "mkdir", "mv", "tail", "wc")
@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_samples_of_a_page_do_what_they_say(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(page, tmp_path, monkeypatch)


GOOD: Final = """
<!--- invisible-code-block: python
three = 3
-->

```python
# program.py
print("some output")
```

```python
assert three == 3
```

```console
$ python program.py
some ...
$ untorn nonsense
...No such command 'nonsense'.
```

```sh
untorn --version
make test
```
"""

FENCE: Final = "```"
BROKEN: Final = {
    "Python that raises": ("python", "assert 3 == 4", "AssertionError"),
    "Python that is none": ("python", "assert 3 ==", "SyntaxError"),
    "a file that is no Python": ("python", '# program.py\nprint("some output"', "SyntaxError"),
    "other output": ("console", "$ echo some output\nother ...", "where the page has"),
    "output that is not told": ("console", "$ echo some output", "where the page has"),
    "output without a command": ("console", "some output", "does not begin with a command"),
    "a command that fails": ("sh", "untorn --nonsense", "ended with 2"),
    "a command that fails before others": ("sh", "untorn --nonsense\ntrue", "ended with 2"),
    "no target of make": ("sh", "make nonsense", "ended with 2"),
    "a file that is not run": ("python", '# program.py\nprint("some output")', "no command runs"),
    "a language that is not run": ("bash", "true", "samples in"),
}
"""A language, a sample, and what is said of it."""


@needs("bash", "make")
def test_good_samples_are_all_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = tmp_path / "page.md"
    page.write_text(GOOD, encoding="utf-8")

    assert run(page, tmp_path, monkeypatch) == 5


@needs("bash", "make")
@pytest.mark.parametrize("name", BROKEN)
def test_control_a_broken_sample_fails(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    language, sample, said = BROKEN[name]
    page = tmp_path / "page.md"
    page.write_text(f"Text.\n\n{FENCE}{language}\n{sample}\n{FENCE}\n", encoding="utf-8")

    with pytest.raises((AssertionError, SyntaxError)) as failure:
        run(page, tmp_path, monkeypatch)

    assert said in f"{type(failure.value).__name__}: {failure.value}"
