"""What the tests need of the machine: one list, which is installed, which CONTRIBUTING.md repeats, and nothing else."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import machine
from tests.support.real_files import NOBODY, in_child, let_in

ROOT = Path(__file__).parents[1]
LIST = "# a comment\nbash bash\nzebra-tools mkfs.zebra python:no_such_module\n"


def test_contributing_names_the_packages_of_the_list() -> None:
    (named,) = re.findall(r"^apt-get install (.+)$", (ROOT / "CONTRIBUTING.md").read_text(), re.MULTILINE)

    assert named.split() == list(machine.packages())


def test_the_tests_find_the_commands_of_the_list_and_no_others() -> None:
    found = {command for command in machine.PACKAGE_OF if shutil.which(command)}

    assert found == {command for command in machine.PACKAGE_OF if machine.why_missing(command) is None}
    assert set(os.listdir(os.environ["PATH"])) == found
    assert os.access("/bin/cat", os.X_OK), "the control: there is more"
    assert shutil.which("cat") is None


@pytest.mark.parametrize("told", [False, True])
def test_the_reason_for_a_skip_names_the_package_and_what_hindered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: bool
) -> None:
    monkeypatch.setattr(machine, "_FOLDERS", str(tmp_path))
    monkeypatch.setattr(machine, "_NOTE", tmp_path / "note")
    if told:
        (tmp_path / "note").write_text("bash (bash) is missing: no\nxfsprogs (mkfs.xfs) is missing: no network\n")

    with pytest.raises(pytest.skip.Exception) as caught:
        machine.require("mkfs.xfs")
    skipping = machine.needs("mkfs.xfs", "mount")

    reason = "xfsprogs (mkfs.xfs) is missing: " + ("no network" if told else "install that Debian package")
    assert str(caught.value) == reason
    assert skipping.args == (True,)
    assert skipping.kwargs == {"reason": f"{reason}; mount (mount) is missing: install that Debian package"}


# The installer


class Installer:
    """install-packages with a list of its own, and an apt-get that tells what it was called with."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / "commands"
        self.path.mkdir()
        shutil.copy(ROOT / "tests" / "install-packages", folder)
        self.wants(LIST)
        self.apt("exit 0")

    def wants(self, text: str) -> None:
        """What packages.txt says."""
        (self.folder / "packages.txt").write_text(text)

    def apt(self, body: str) -> None:
        """What the apt-get does; `$*` ends with install ... PACKAGE, or is update."""
        apt = self.path / "apt-get"
        apt.write_text(f'#!/bin/sh\necho "$*" >> "{self.folder}/calls"\n{body}\n')
        apt.chmod(0o755)

    def run(self, *packages: str, **environment: str) -> str:
        """What it says; the note says the same of what is missing."""
        note = self.folder / "note"
        if os.geteuid() == 0:
            note.write_text("of an earlier run")
        search = f"{self.path}:{os.defpath}"
        variables = {"PATH": search, "PYTHON": sys.executable, "NOTE": str(note), **environment}
        done = subprocess.run(
            ["/bin/sh", self.folder / "install-packages", *packages],
            env=variables, capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert done.stderr == ""
        missing = [line for line in done.stdout.splitlines(keepends=True) if "is missing" in line]
        assert note.read_text() == "".join(missing)
        return done.stdout

    def calls(self) -> list[str]:
        """The last words of each call of apt-get."""
        calls = self.folder / "calls"
        return [line.split()[-1] for line in calls.read_text().splitlines()] if calls.exists() else []


@pytest.fixture
def installer(tmp_path: Path) -> Installer:
    return Installer(tmp_path)


def test_what_is_there_is_not_installed(installer: Installer) -> None:
    installer.wants("bash bash\ncoreutils cp\npython3-venv python:sys\n")

    assert installer.run() == ""
    assert installer.calls() == []


@pytest.mark.needs_root
def test_what_is_missing_is_installed_without_asking_for_new_lists(installer: Installer) -> None:
    installer.wants("bash bash\nzebra-tools mkfs.zebra\n")
    installer.apt(f'cp "$0" "{installer.path}/mkfs.zebra"')

    assert installer.run() == "Installing Debian packages: zebra-tools ...\n"
    assert installer.calls() == ["zebra-tools"]
    assert installer.run() == ""
    assert installer.calls() == ["zebra-tools"]


@pytest.mark.needs_root
def test_lists_are_renewed_once_when_a_package_is_not_found(installer: Installer) -> None:
    installer.wants("zebra-tools mkfs.zebra\nyak-tools mkfs.yak\n")
    installer.apt(
        f'case $* in *update) touch "{installer.folder}/new" ;; esac\n'
        f'[ -e "{installer.folder}/new" ] || exit 100\n'
        f'case $* in *zebra-tools) cp "$0" "{installer.path}/mkfs.zebra" ;; esac'
    )

    assert "yak-tools (mkfs.yak) is missing: apt-get installed it, and yet it is not there\n" in installer.run()
    assert installer.calls() == ["zebra-tools", "update", "zebra-tools", "yak-tools"]


@pytest.mark.needs_root
def test_why_apt_failed_is_told(installer: Installer) -> None:
    installer.apt("echo Reading lists; echo 'E: Unable to fetch a/b & c'; echo 'E: Maybe later'; exit 100")

    assert installer.run() == (
        "Installing Debian packages: zebra-tools ...\n"
        "zebra-tools (mkfs.zebra python:no_such_module) is missing: "
        "apt-get could not install it: E: Unable to fetch a/b & c\n"
    )


@pytest.mark.needs_root
def test_only_what_is_named_is_looked_at(installer: Installer) -> None:
    assert installer.run("bash") == ""
    assert installer.calls() == []


@pytest.mark.parametrize(
    ("apt", "why"),
    [
        ("", "APT is empty, so that nothing is installed"),
        pytest.param(
            "no-such-apt",
            "there is no no-such-apt here, so install what this system has in its place",
            marks=pytest.mark.needs_root,
        ),
    ],
)
def test_where_nothing_can_be_installed_the_reason_is_told(installer: Installer, apt: str, why: str) -> None:
    assert installer.run(APT=apt) == f"zebra-tools (mkfs.zebra python:no_such_module) is missing: {why}\n"
    assert installer.calls() == []


@pytest.mark.needs_root
def test_an_ordinary_user_is_told_what_root_has_to_install(installer: Installer) -> None:
    let_in(installer.folder)
    (installer.folder / "note").touch()
    (installer.folder / "note").chmod(0o666)

    said = in_child(lambda: installer.run(PYTHON="/bin/false"), user=NOBODY)

    assert said.endswith(" is missing: only root can install it: apt-get install zebra-tools\n")
    assert installer.calls() == []


# The Makefile


@machine.needs("make")
def test_make_does_not_clear_a_folder_that_holds_something_else(tmp_path: Path) -> None:
    (tmp_path / "my work").mkdir()
    (tmp_path / "my work" / "thesis").touch()

    arguments = ["make", "--no-print-directory", "venv", f"VENV={tmp_path}/my work", f"PYTHON={sys.executable}"]
    done = subprocess.run(arguments, cwd=ROOT, capture_output=True, text=True, check=False)

    assert done.returncode != 0
    assert "holds something else than an environment of Python" in done.stderr
    assert os.listdir(tmp_path / "my work") == ["thesis"]
