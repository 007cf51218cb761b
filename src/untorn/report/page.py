"""The frame of every report: one HTML file with its style inside, that loads nothing and runs nothing.

What comes from outside (names, messages, call sites) is escaped by jinja2, and shown in printable characters only.
The markup is also well-formed XML, so that a test can read it strictly.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from untorn.report.text import plural, power_of_two, printable, size_of


def _finalize(value: object) -> object:
    if isinstance(value, float):
        return f"{value:.1f}".removesuffix(".0")
    return printable(value) if isinstance(value, str) and not isinstance(value, Markup) else value


@lru_cache(maxsize=1)
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("untorn.report"), autoescape=True, undefined=StrictUndefined, finalize=_finalize,
        trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True,
    )  # fmt: skip
    environment.filters |= {"plural": plural, "power_of_two": power_of_two, "size_of": size_of}
    return environment


def render(template: str, **values: Any) -> str:
    """The page that a template makes of ``values``."""
    return _environment().get_template(template).render(**values)
