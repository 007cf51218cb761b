"""``untorn status``, ``check`` and ``recover`` on every state that a crash or a neighbour leaves."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import untorn
from tests.support.commands import PAGE, damage_record, leave_log, run, run_process, tree
from tests.support.mounts import mounted
from untorn.api.functions import verify
from untorn.errors import CorruptLogError, UntornError


def plain(path: Path) -> None:
    path.write_bytes(b"data")


def hot(path: Path) -> None:
    leave_log(path)


def unfinished(path: Path) -> None:
    leave_log(path, 0, unfinished=True)


def stray(path: Path) -> None:
    leave_log(path.with_name("other"))
    path.write_bytes(b"data")
    path.with_name("other-untorn").rename(path.with_name("file-untorn"))
    path.with_name("other").unlink()


def untrusted_beside_plain(path: Path) -> None:
    path.write_bytes(b"data")
    os.mkfifo(path.with_name("file-untorn"))


def damaged(path: Path) -> None:
    leave_log(path)
    damage_record(path, 2)


def missing(path: Path) -> None:
    leave_log(path)
    path.with_name("file-untorn").rename(path.with_name("elsewhere"))


def untrusted(path: Path) -> None:
    missing(path)
    path.with_name("file-untorn").mkdir()


def edited(path: Path) -> None:
    leave_log(path)
    path.write_bytes(b"another program's")


def of_another_file(path: Path) -> None:
    missing(path)
    leave_log(path.with_name("other"))
    path.with_name("other-untorn").rename(path.with_name("file-untorn"))


FINE = {plain: "plain", hot: "waiting commits", unfinished: "empty log", stray: "foreign log"}
BAD = {
    damaged: "log damaged",
    missing: "log missing",
    untrusted: "log not trusted",
    untrusted_beside_plain: "log not trusted",
    edited: "edited meanwhile",
    of_another_file: "log of another file",
}
STATES = [pytest.param(make, name, 0, id=make.__name__) for make, name in FINE.items()]
STATES += [pytest.param(make, name, 1, id=make.__name__) for make, name in BAD.items()]
Make = Callable[[Path], None]


@pytest.mark.parametrize(("make", "name", "code"), STATES)
def test_status_names_the_state_and_exits_1_if_it_is_bad(tmp_path: Path, make: Make, name: str, code: int) -> None:
    make(tmp_path / "file")

    result = run("status", tmp_path / "file")

    assert (result.exit_code, result.stdout.splitlines()[1].startswith(name)) == (code, True), result.output


@pytest.mark.parametrize(("make", "name", "code"), STATES)
def test_check_says_fine_or_what_where_and_the_ways_out(tmp_path: Path, make: Make, name: str, code: int) -> None:
    make(tmp_path / "file")

    result = run("check", tmp_path / "file")

    assert result.exit_code == code
    if code:
        assert f"{tmp_path}/file: {name.upper()}\n" in result.stdout
        for heading in ("  what  ", "  where  ", "  on disk  ", "  ways out"):
            assert f"\n{heading}" in result.stdout
        assert "file-untorn" in result.stdout
    else:
        assert result.stdout.startswith(f"{tmp_path}/file: fine. ")


@pytest.mark.parametrize("command", ["status", "check", "log"])
@pytest.mark.parametrize(("make", "name", "code"), STATES)
def test_the_readers_write_nothing(tmp_path: Path, make: Make, name: str, code: int, command: str) -> None:
    make(tmp_path / "file")
    before = tree(tmp_path)

    run(command, tmp_path / "file")
    run(command, "--json", tmp_path / "file")

    assert tree(tmp_path) == before


def test_the_comparison_that_proves_it_sees_what_recover_changes(tmp_path: Path) -> None:
    hot(tmp_path / "file")
    before = tree(tmp_path)

    run("recover", tmp_path / "file")

    assert tree(tmp_path) != before


@pytest.mark.parametrize(("make", "name", "code"), STATES)
def test_json_of_status_and_check_has_the_same_fields_in_every_state(
    tmp_path: Path, make: Make, name: str, code: int
) -> None:
    make(tmp_path / "file")

    status = json.loads(run("status", "--json", tmp_path / "file").stdout)
    check = json.loads(run("check", "--json", tmp_path / "file").stdout)

    assert (status["schema"], status["command"], check["command"]) == (1, "status", "check")
    fields = {
        "path", "path_hex", "state", "log_bytes", "commits", "size", "size_on_disk", "log", "filesystem", "problem",
        "error",
    }  # fmt: skip
    (of_status,) = status["files"]
    (of_check,) = check["files"]
    assert of_status.keys() == fields
    assert of_check.keys() == fields | {"fine", "diagnosis"}
    assert of_check["fine"] is (code == 0)
    assert (of_check["problem"] is None) == (of_check["diagnosis"] is None) == (code == 0)
    assert of_status["path"] == f"{tmp_path}/file"


def test_status_says_what_the_file_system_is_once_for_files_on_the_same_one(tmp_path: Path) -> None:
    plain(tmp_path / "file")
    plain(tmp_path / "other")
    found = untorn.status(tmp_path / "file").filesystem
    assert found is not None

    lines = run("status", tmp_path / "file", tmp_path / "other", tmp_path / "no such").stdout.splitlines()
    (first, *_) = json.loads(run("status", "--json", tmp_path / "file").stdout)["files"]

    assert lines[-1] == f"file system: {found.sentence}"
    assert len(lines) == 5
    assert first["filesystem"] == {
        "kind": found.kind, "network": False, "survives_power_failure": found.survives_power_failure,
        "sentence": found.sentence,
    }  # fmt: skip


@pytest.mark.needs_root
def test_status_names_the_files_where_there_are_several_file_systems(tmp_path: Path) -> None:
    plain(tmp_path / "file")
    with mounted("ramfs", tmp_path) as folder:
        plain(folder / "file")
        lines = run("status", tmp_path / "file", folder / "file").stdout.splitlines()

    assert len(lines) == 5
    assert lines[-1] == f"file system of {folder}/file: ramfs, in memory: a power failure leaves nothing of it"


def test_json_of_a_damaged_log_says_where(tmp_path: Path) -> None:
    leave_log(tmp_path / "file")
    start = damage_record(tmp_path / "file", 2)

    (found,) = json.loads(run("check", "--json", tmp_path / "file").stdout)["files"]

    assert (found["problem"]["kind"], found["problem"]["offset"]) == ("CorruptLogError", start)
    assert "record 2" in found["problem"]["reason"]
    assert found["diagnosis"]["where"] == f"byte {start} of {tmp_path}/file-untorn"
    with pytest.raises(CorruptLogError) as caught:
        verify(tmp_path / "file")
    assert caught.value.offset == start


@pytest.mark.parametrize("make", BAD)
def test_every_command_among_the_ways_out_leads_to_a_file_that_is_fine(tmp_path: Path, make: Make) -> None:
    make(tmp_path / "file")
    (found,) = json.loads(run("check", "--json", tmp_path / "file").stdout)["files"]
    ways = [shlex.split(way) for way, _ in found["diagnosis"]["ways_out"] if way.startswith("untorn ")]
    if make in (untrusted, untrusted_beside_plain):
        assert not ways, "what is not ours is the user's to move"
        return
    assert ways

    for number, way in enumerate(ways):
        directory = tmp_path / str(number)
        directory.mkdir()
        make(directory / "file")
        arguments = [argument.replace(f"{tmp_path}/file", f"{directory}/file") for argument in way[1:]]
        assert run(*arguments).exit_code == 0
        assert run("check", directory / "file").exit_code == 0


@pytest.mark.parametrize("make", [damaged, missing, edited, of_another_file])
def test_every_command_in_a_message_can_be_run_as_it_stands_and_keeps_the_log(tmp_path: Path, make: Make) -> None:
    make(tmp_path / "file")
    with pytest.raises(UntornError) as caught:
        untorn.recover(tmp_path / "file")
    ways = re.findall(r"'(untorn recover [^']*)'", str(caught.value))
    assert ways
    for number, way in enumerate(ways):
        directory = tmp_path / str(number)
        directory.mkdir()
        make(directory / "file")
        before = len(tree(directory))
        arguments = [word.replace(f"{tmp_path}/file", f"{directory}/file") for word in shlex.split(way)[1:]]
        assert arguments[-1] == f"{directory}/file"
        assert run(*arguments).exit_code == 0
        assert run("check", directory / "file").exit_code == 0
        assert len(tree(directory)) == before


def test_a_check_within_a_cut_checkpoint_says_that_the_file_itself_may_be_torn(tmp_path: Path) -> None:
    from untorn.log.format import SLOT_OFFSETS, SlotKind, decode_slot, encode_slot

    leave_log(tmp_path / "file")
    damage_record(tmp_path / "file", 2)
    with open(tmp_path / "file-untorn", "r+b") as log:
        slot = decode_slot(log.read(512))
        assert slot is not None
        log.seek(SLOT_OFFSETS[1])
        log.write(encode_slot(slot._replace(kind=SlotKind.CHECKPOINT, generation=2, synced_through=3)))

    result = run("check", tmp_path / "file")

    assert "may hold parts of several commits" in result.stdout
    assert "compare with a backup" in result.stdout


# Recover


def test_recover_brings_commits_home_and_leaves_one_file(tmp_path: Path) -> None:
    content = leave_log(tmp_path / "file", 3, unfinished=True)

    result = run("recover", tmp_path / "file")

    assert (result.exit_code, result.stdout) == (0, f"{tmp_path}/file: 3 commits were moved into the file\n")
    assert {name: data for name, (_, _, _, data) in tree(tmp_path).items()} == {b"file": content}
    assert run("recover", tmp_path / "file").stdout == f"{tmp_path}/file: there was nothing to recover\n"


def test_recover_changes_nothing_where_something_is_wrong(tmp_path: Path) -> None:
    damaged(tmp_path / "file")
    before = tree(tmp_path)

    result = run("recover", tmp_path / "file")

    assert result.exit_code == 1
    assert "record 2" in result.stderr
    assert tree(tmp_path) == before


def test_recover_with_apply_installs_what_is_proved_and_keeps_the_log(tmp_path: Path) -> None:
    damaged(tmp_path / "file")

    result = run("recover", "--on-damage", "apply", tmp_path / "file")

    assert result.exit_code == 0
    assert "1 commit was moved into the file; the log was set aside as" in result.stdout
    assert (tmp_path / "file").read_bytes() == bytes(PAGE) + b"\x01" * PAGE + bytes(6 * PAGE)
    assert [name.split(b".")[0] for name in sorted(tree(tmp_path))] == [b"file", b"file-untorn"]


def test_recover_with_discard_keeps_the_file_and_the_log(tmp_path: Path) -> None:
    edited(tmp_path / "file")

    result = run("recover", "--on-damage", "discard", tmp_path / "file")

    assert result.exit_code == 0
    assert "kept as it is; the log was set aside as" in result.stdout
    assert (tmp_path / "file").read_bytes() == b"another program's"


def test_recover_knows_three_words_of_what_to_do_on_damage(tmp_path: Path) -> None:
    hot(tmp_path / "file")

    for arguments in (("--on-damage", "both"), ("--force",), ("--discard",)):
        assert run("recover", *arguments, tmp_path / "file").exit_code == 2
    assert (tmp_path / "file-untorn").exists()


# Several files, locks, names


def test_one_bad_file_does_not_keep_the_others_from_being_looked_at(tmp_path: Path) -> None:
    damaged(tmp_path / "file")
    plain(tmp_path / "last")

    for command in ("status", "check"):
        result = run(command, tmp_path / "no such", tmp_path / "file", tmp_path / "last")
        assert result.exit_code == 1
        assert f"untorn: '{tmp_path}/no such': No such file or directory" in result.stderr
        assert f"{tmp_path}/last" in result.stdout
    assert run("recover", tmp_path / "file", tmp_path / "last").exit_code == 1
    assert run("status", tmp_path / "no such", tmp_path / "last").exit_code == 2


@contextmanager
def held_by_another_process(path: Path) -> Iterator[int]:
    """The pid of a process that has the file open through untorn."""
    program = f"import untorn; f = untorn.open({str(path)!r}, 'r+b'); print('open', flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-P", "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "open\n"
        yield holder.pid
        holder.communicate("\n", timeout=60)


def test_a_file_that_is_open_elsewhere_gives_exit_code_4_and_its_holder(tmp_path: Path) -> None:
    path = tmp_path / "file"
    plain(path)
    with held_by_another_process(path) as pid:
        commands: list[list[str | Path]] = [
            ["status", path], ["check", path], ["log", path], ["recover", path], ["cp", path, tmp_path / "copy"],
            ["cp", __file__, path],
        ]  # fmt: skip
        for arguments in commands:
            result = run(*arguments)
            assert (result.exit_code, f"process {pid} has" in result.stderr) == (4, True), result.output
        (found,) = json.loads(run("status", "--json", path).stdout)["files"]
        assert (found["error"]["kind"], found["error"]["pid"]) == ("LockedError", pid)
        assert run("status", path).stdout.splitlines()[1].startswith("in use")
    assert not (tmp_path / "copy").exists()
    assert run("status", path).exit_code == 0


def test_an_odd_name_prints_safely_in_every_command_whatever_the_locale(tmp_path: Path) -> None:
    path = os.path.join(os.fsencode(tmp_path), "two\nlines, ü".encode() + b" \xff\xfe \x1b[31mred")
    leave_log(os.fsdecode(path))

    for arguments in (["status"], ["check"], ["log", "--json"], ["recover"]):
        done = run_process(*arguments, path, environment={"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"})
        assert (done.returncode, done.stderr) == (0, b""), arguments
        assert done.stdout.decode("ascii").replace("\n", "").isprintable()


def test_a_directory_a_pipe_and_no_file_are_wrong_use(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for command in ("status", "check", "recover", "log"):
        for path in (tmp_path, tmp_path / "pipe", tmp_path / "none"):
            result = run(command, path)
            assert (result.exit_code, result.stderr.count("\n")) == (2, 1), result.output
