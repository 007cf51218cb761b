"""Builds what is given away and tries it where nothing else is installed: ``make dist``.

``python -m tests.dist [arguments of pytest]``: the tests that run from the unpacked sources, a quick part if none are
named, ``tests`` for all of them.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import venv
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

import untorn

ROOT: Final = Path(__file__).parents[1]
DIST: Final = ROOT / "dist"
NAME: Final = f"untorn-{untorn.__version__}"
CONSTRAINTS: Final = ROOT / "constraints.txt"

QUICK: Final = ("tests/docs", "tests/log", "tests/api/test_like_builtin.py", "tests/test_dist.py")
"""Tests of the unpacked sources, unless others are named: documentation, format, recovery, and files as builtin."""

IN_WHEEL: Final = (
    "untorn/__init__.py",
    "untorn/py.typed",
    f"{NAME}.data/data/share/man/man1/untorn.1",
    f"{NAME}.dist-info/METADATA",
    f"{NAME}.dist-info/entry_points.txt",
    f"{NAME}.dist-info/licenses/LICENSE",
)
IN_SOURCES: Final = tuple(
    f"{NAME}/{name}"
    for name in (
        "ARCHITECTURE.md", "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "Makefile", "PKG-INFO", "README.md",
        "SECURITY.md", "bench/__main__.py", "constraints.txt", "docs/conf.py", "docs/index.md", "docs/untorn.1",
        "examples/crash_test.py", "pyproject.toml", "src/untorn/py.typed", "tests/conftest.py", "tests/packages.txt",
    )
)  # fmt: skip

SCRIPT: Final = """
import os, signal, untorn
with untorn.open("f", "wb") as file:
    file.write(b"old")
file = untorn.open("f", "r+b")
file.write(b"new")
file.flush()
os.kill(os.getpid(), signal.SIGKILL)
"""
"""Leaves a file with a commit in its log."""


def lacking(names: Iterable[str], expected: Sequence[str]) -> list[str]:
    """What is expected and not there."""
    there = set(names)
    return [name for name in expected if name not in there]


def too_much(names: Iterable[str], allowed: Sequence[str]) -> list[str]:
    """What is there and does not begin with any of these."""
    return [name for name in names if not name.startswith(tuple(allowed)) or "__pycache__" in name]


def build() -> tuple[Path, Path]:
    """The wheel and the sources; the wheel is made of the sources."""
    shutil.rmtree(DIST, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "build", "--no-isolation", "--outdir", DIST, ROOT], check=True)
    wheel, sources = DIST / f"{NAME}-py3-none-any.whl", DIST / f"{NAME}.tar.gz"
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        readme = archive.read(f"{NAME}.dist-info/METADATA").decode().partition("\n\n")[2]
    _hold(not lacking(names, IN_WHEEL), f"the wheel lacks {lacking(names, IN_WHEEL)}")
    extra = too_much(names, ("untorn/", f"{NAME}.d"))
    _hold(not extra, f"the wheel has {extra}")
    _hold(readme == (ROOT / "README.md").read_text(encoding="utf-8"), "the wheel's description is not README.md")
    with tarfile.open(sources) as archive_of_sources:
        names = archive_of_sources.getnames()
    _hold(not lacking(names, IN_SOURCES), f"the sources lack {lacking(names, IN_SOURCES)}")
    return wheel, sources


def try_installed(artefact: Path, folder: Path) -> None:
    """Installs it into an environment of its own, with what it needs and nothing else, and uses the command."""
    place = folder / "venv"
    venv.create(place, with_pip=True)

    def pip(*arguments: str | Path) -> str:
        command = [place / "bin" / "python", "-m", "pip", "--disable-pip-version-check", *arguments]
        return subprocess.run(command, env=_alone(), check=True, text=True, stdout=subprocess.PIPE).stdout

    pins = ("--quiet", "--constraint", CONSTRAINTS)
    pip("install", *pins, "--upgrade", "pip")
    pip("install", *pins, "--build-constraint", CONSTRAINTS, artefact)
    listed = pip("list", "--format=freeze")
    installed = {line.partition("==")[0] for line in listed.splitlines()} - {"pip", "setuptools"}
    _hold(installed == {"untorn", "click", "xxhash"}, f"{artefact.name} brings {sorted(installed)}")
    _hold((place / "share/man/man1/untorn.1").is_file(), f"{artefact.name} brings no manual page")
    _use(place / "bin", folder)


def _alone() -> dict[str, str]:
    """The environment, without what would lead to the checkout."""
    return {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}


def _use(commands: Path, folder: Path) -> None:
    """The smoke test: each command once, on files of its own."""
    work = folder / "work"
    work.mkdir()

    def run(*arguments: str | Path, code: int = 0) -> str:
        done = subprocess.run(
            [commands / arguments[0], *arguments[1:]], cwd=work, env=_alone(), check=False, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=120,
        )  # fmt: skip
        _hold(done.returncode == code, f"{arguments} ended with {done.returncode}:\n{done.stdout}")
        return done.stdout

    version = f"untorn {untorn.__version__}\n"
    _hold(run("python", "-m", "untorn", "--version") == version, "python -m untorn --version")
    _hold(run("untorn", "--version") == version, "untorn --version")
    _hold("Your files:" in run("untorn", "--help"), "untorn --help")
    run("python", "-c", SCRIPT, code=-signal.SIGKILL)
    _hold("waiting commits" in run("untorn", "status", "f"), "untorn status")
    _hold("1 commit " in run("untorn", "check", "f"), "untorn check")
    _hold("COMMIT" in run("untorn", "log", "f"), "untorn log")
    run("untorn", "cp", "f", "copy")
    _hold((work / "copy").read_bytes() == b"new", "untorn cp")
    _hold("1 commit was moved" in run("untorn", "recover", "f"), "untorn recover")
    _hold((work / "f").read_bytes() == b"new", "untorn recover")
    _hold(sorted(os.listdir(work)) == ["copy", "f"], "something is left beside the files")
    module = ROOT / "examples" / "crash_test.py"
    _hold("certified" in run("untorn", "explore", module), "untorn explore")
    said = run("untorn", "explore", "--report", "report.html", module, code=3)
    _hold("pip install '.[report]'" in said, "what is missing is not told")


def test_sources(sources: Path, folder: Path, arguments: Sequence[str]) -> None:
    """Unpacks them and runs their own tests, on their own code."""
    with tarfile.open(sources) as archive:
        archive.extractall(folder, filter="data")
    place = folder / NAME
    environment = {**os.environ, "PYTHONPATH": str(place / "src")}
    where = [sys.executable, "-c", "import untorn; print(untorn.__file__)"]
    found = subprocess.run(where, cwd=place, env=environment, check=True, capture_output=True, text=True).stdout
    _hold(found == f"{place}/src/untorn/__init__.py\n", f"the tests would try {found}")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments]
    _hold(subprocess.run(command, cwd=place, env=environment, check=False).returncode == 0, "tests failed")


def _hold(condition: bool, otherwise: str) -> None:
    if not condition:
        sys.exit(f"make dist: {otherwise}")


def main(arguments: list[str]) -> None:
    """Builds, installs and tests; ends the process with words if something is not as it should be."""
    wheel, sources = build()
    with tempfile.TemporaryDirectory(prefix="untorn-dist-") as name:
        for artefact in (wheel, sources):
            folder = Path(name) / artefact.suffix[1:]
            folder.mkdir()
            try_installed(artefact, folder)
            print(f"{artefact.name}: installed and used without extras", flush=True)
        test_sources(sources, Path(name), arguments or ["-n", "2", *QUICK])
    print(f"The wheel and the sources are in {DIST}.")


if __name__ == "__main__":
    main(sys.argv[1:])
