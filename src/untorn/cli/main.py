"""The command ``untorn``: its commands, and what becomes of their errors."""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType
from typing import Any, NoReturn

import click

from untorn import __version__
from untorn.cli.compare import compare
from untorn.cli.copy import cp
from untorn.cli.demo import demo
from untorn.cli.explore import explore
from untorn.cli.failures import FAULT, INTERRUPTED, NO_READER, code_of, fault, words_of
from untorn.cli.help import Sections
from untorn.cli.log import log
from untorn.cli.output import printable, tell
from untorn.cli.probe import probe
from untorn.cli.state import check, recover, status
from untorn.cli.trace import trace
from untorn.errors import UntornError


class Commands(Sections):
    """Turns every error into words and an exit code, never into a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (click.exceptions.Exit, click.ClickException):
            raise
        except KeyboardInterrupt as error:
            notes = getattr(error, "__notes__", ())
            tell("; ".join(["interrupted", *map(printable, notes)]))
            code = INTERRUPTED
        except BrokenPipeError:
            _forget_output()
            code = NO_READER
        except (UntornError, OSError) as error:
            tell(words_of(error))
            code = code_of(error)
        except Exception as error:
            tell(fault(error))
            code = FAULT
        raise click.exceptions.Exit(code)


def _forget_output() -> None:
    """What is still buffered must not be written to the closed pipe at exit."""
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (OSError, ValueError):
        pass


@click.group(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    sections={
        "Your files": (demo, cp, status, check, recover, log),
        "Your file format": (explore,),
        "The kernel's debate about atomic buffered writes": (compare, trace, probe),
    },
    epilog="Exit codes: 0 all is fine, 1 a bad state was found, 2 the command was used wrongly, 3 the environment "
    "lacks something, 4 another process has the file, 5 nothing was measured, 130 interrupted. "
    "'untorn COMMAND --help' has examples.",
)
@click.version_option(__version__, prog_name="untorn", message="%(prog)s %(version)s")
def cli() -> None:
    """Writes files such that a crash cannot tear them, and finds out what crashes do to files of yours."""


def _end(number: int, frame: FrameType | None) -> NoReturn:
    """As Ctrl-C does: what is open is rolled back, and no temporary file stays."""
    raise SystemExit(128 + number)


def main() -> NoReturn:
    """Runs the command line of this process."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_DFL:  # else nohup, or a parent, wants it ignored
            signal.signal(number, _end)
    for stream in (sys.stdout, sys.stderr):
        # A name that the locale cannot show is escaped, rather than the end of the command.
        if stream is not None:
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    cli(prog_name="untorn")
    raise SystemExit(0)
