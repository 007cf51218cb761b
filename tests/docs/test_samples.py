"""Every sample of README.md and of the pages below docs/ does what it says."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest

from tests.docs.samples import Samples
from tests.docs.site import DOCS, ROOT
from tests.machine import needs

PAGES: Final = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]


def run(page: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    place = folder / "work"
    place.mkdir()
    monkeypatch.chdir(place)
    return Samples(page, place).run()


@needs("bash", "make")
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

BROKEN: Final = {
    "Python that raises": ("assert three == 3", "assert three == 4", "AssertionError"),
    "Python that is none": ("assert three == 3", "assert three ==", "SyntaxError"),
    "a file that is no Python": ('print("some output")', 'print("some output"', "SyntaxError"),
    "other output": ("some ...", "other ...", "where the page has"),
    "output that is not told": ("some ...\n", "", "where the page has"),
    "a command that fails": ("untorn --version", "untorn --nonsense", "ended with 2"),
    "no target of make": ("make test", "make nonsense", "ended with 2"),
    "a file that is not run": ("python program.py\nsome ...", "untorn -h\n...", "no command runs"),
    "a language that is not run": ("```sh", "```bash", "samples in"),
}


@needs("bash", "make")
def test_good_samples_are_all_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = tmp_path / "page.md"
    page.write_text(GOOD, encoding="utf-8")

    assert run(page, tmp_path, monkeypatch) == 5


@needs("bash", "make")
@pytest.mark.parametrize("name", BROKEN)
def test_control_a_broken_sample_fails(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    good, broken, said = BROKEN[name]
    assert good in GOOD
    page = tmp_path / "page.md"
    page.write_text(GOOD.replace(good, broken), encoding="utf-8")

    with pytest.raises((AssertionError, SyntaxError)) as failure:
        run(page, tmp_path, monkeypatch)

    assert said in f"{type(failure.value).__name__}: {failure.value}"
