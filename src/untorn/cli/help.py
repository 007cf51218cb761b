"""What the commands' help has in common: groups of commands, examples, and what a shell completes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

import click
from click.shell_completion import BashComplete, CompletionItem, FishComplete, add_completion_class

_PLAIN: Final = "-_./,"
"""What needs no backslash in bash, beside letters and digits."""

Complete = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]


def examples(*lines: str) -> str:
    """For below a command's help: commands to try, one on a line. The manual page has them too."""
    return "\n".join(["\b", "Examples:", *(f"  {line}" for line in lines)])


class Sections(click.Group):
    """Shows its commands in sections, in the order in which they are given."""

    def __init__(self, *, sections: dict[str, Sequence[click.Command]], **settings: Any) -> None:
        super().__init__(**settings)
        self.sections = sections
        for command in (command for commands in sections.values() for command in commands):
            self.add_command(command)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        width = max(map(len, self.commands))
        for title, commands in self.sections.items():
            with formatter.section(title):
                formatter.write_dl([(str(one.name).ljust(width), one.get_short_help_str(200)) for one in commands])


def one_of(known: Callable[[], Iterable[str]], *, or_file: bool = False) -> Complete:
    """Completes names that are looked up when a shell asks; with ``or_file`` also a path."""

    def complete(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
        # The file first: bash forgets for it what came before.
        found = [CompletionItem(incomplete, type="file")] if or_file else []
        return found + [CompletionItem(name) for name in known() if name.startswith(incomplete)]

    return complete


class _Bash(BashComplete):
    """As click's, for names with spaces: bash puts what it gets on the command line as it is."""

    def format_completion(self, item: CompletionItem) -> str:
        value = str(item.value)
        if item.type == "plain":
            # Twice, for click's script reads it as bash reads a line.
            value = "".join(char if char.isalnum() or char in _PLAIN else "\\\\" + char for char in value)
        return f"{item.type},{value}"


class _Fish(FishComplete):
    """As click's, for names with commas."""

    source_template = FishComplete.source_template.replace("string split", "string split --max 1")


add_completion_class(_Bash)
add_completion_class(_Fish)
