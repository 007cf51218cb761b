"""Building the documentation as ``make docs`` and ``make man`` do."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
DOCS: Final = ROOT / "docs"


def build(output: Path, *options: str, docs: Path = DOCS) -> str:
    """Builds into ``output``, with warnings as errors; returns what Sphinx had to say, nothing if all is well."""
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", *options, "-d", f"{output}.doctrees"]
    done = subprocess.run([*command, docs, output], capture_output=True, text=True, check=False, timeout=300)
    return done.stdout + done.stderr if done.returncode else ""
