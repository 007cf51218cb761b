"""What file system a file is on is told as it is: of real ones, and by their numbers of those that no test can mount.

A network file system needs a server. There the test answers for fstatfs(2), at the ctypes seam, and puts a file of its
own in the place of /proc/self/mountinfo.
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import untorn
from tests.support.mounts import mounted, overlaid
from untorn.api import open_inode
from untorn.errors import UntornWarning
from untorn.storage import filesystem
from untorn.storage.filesystem import Mount, describe, mount_of, on_network
from untorn.storage.interface import FileSystem

EXT4, NFS, CIFS, NINE_P, CEPH, AFS, FUSE, OVERLAY = (
    0xEF53, 0x6969, 0xFF534D42, 0x01021997, 0x00C36400, 0x5346414F, 0x65735546, 0x794C7630,
)  # fmt: skip


def described(folder: Path) -> FileSystem:
    """Of a file in ``folder``; all three ways to ask agree."""
    path = folder / "file"
    path.write_bytes(b"data")
    with path.open("rb") as file:
        found = describe(file.fileno())
        assert on_network(file.fileno()) is found.network
    assert untorn.status(path).filesystem == found
    return found


# Real ones


@pytest.mark.needs_root
def test_ext4_with_a_journal_survives_a_power_failure(tmp_path: Path) -> None:
    with mounted("ext4", tmp_path, "-O", "has_journal") as folder:
        found = described(folder)

    assert (found.kind, found.network, found.survives_power_failure) == ("ext4", False, True)


@pytest.mark.needs_root
def test_ext4_without_a_journal_does_not(tmp_path: Path) -> None:
    with mounted("ext4", tmp_path, "-O", "^has_journal") as folder:
        found = described(folder)

    assert (found.kind, found.survives_power_failure) == ("ext4", False)
    assert "without a journal" in found.sentence


@pytest.mark.needs_root
def test_of_ext4_without_barriers_nobody_can_tell(tmp_path: Path) -> None:
    with mounted("ext4", tmp_path, "-O", "has_journal", options="nobarrier") as folder:
        found = described(folder)

    assert (found.kind, found.survives_power_failure) == ("ext4", None)
    assert "without barriers" in found.sentence


@pytest.mark.needs_root
@pytest.mark.parametrize("kind", ["xfs", "btrfs"])
def test_xfs_and_btrfs_survive_a_power_failure(tmp_path: Path, kind: str) -> None:
    with mounted(kind, tmp_path) as folder:
        found = described(folder)
        with (folder / "file").open("rb") as file:
            mount = mount_of(file.fileno())

    assert (found.kind, found.network, found.survives_power_failure) == (kind, False, True)
    assert (mount.point, mount.kind) == (str(folder), kind)
    assert mount.device == os.makedev(7, int(mount.source.removeprefix("/dev/loop")))


@pytest.mark.needs_root
@pytest.mark.parametrize("kind", ["tmpfs", "ramfs"])
def test_memory_survives_nothing(tmp_path: Path, kind: str) -> None:
    with mounted(kind, tmp_path) as folder:
        found = described(folder)

    assert (found.kind, found.network, found.survives_power_failure) == (kind, False, False)


@pytest.mark.needs_root
@pytest.mark.parametrize(("options", "survives"), [("", None), ("volatile", False)])
def test_an_overlay_is_as_what_is_below_it_unless_it_leaves_out_syncs(
    tmp_path: Path, options: str, survives: bool | None
) -> None:
    below = tmp_path / "below"
    below.mkdir()
    with overlaid(below, tmp_path, options=options) as folder:
        found = described(folder)

    assert (found.kind, found.network, found.survives_power_failure) == ("overlay", False, survives)


# By numbers and lines


Scene = Callable[[int, bytes], int]


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Scene]:
    """An open file on a file system of which fstatfs(2) and, as its mount, mountinfo say what is given."""
    path = tmp_path / "file"
    path.write_bytes(b"data")
    descriptor = os.open(path, os.O_RDONLY)
    text = Path(f"/proc/self/fdinfo/{descriptor}").read_text()
    number = next(line.split()[1] for line in text.splitlines() if line.startswith("mnt_id:")).encode()

    def play(kind: int, line: bytes) -> int:
        def fstatfs(_: int, buffer: ctypes.Array[ctypes.c_char]) -> int:
            filesystem._TYPE.from_buffer(buffer).value = kind
            return 0

        monkeypatch.setattr(filesystem, "_fstatfs", fstatfs)
        mountinfo = tmp_path / "mountinfo"
        mountinfo.write_bytes(
            b"1 0 254:9 / / rw - xfs /dev/vdx rw\n" + (number + b" 1 " + line if line else b"broken\n")
        )
        monkeypatch.setattr(filesystem, "MOUNTINFO", str(mountinfo))
        return descriptor

    yield play
    os.close(descriptor)


@pytest.mark.parametrize(
    ("number", "kind", "network"),
    [
        (NFS, "nfs4", True), (CIFS, "cifs", True), (NINE_P, "9p", True), (CEPH, "ceph", True), (AFS, "afs", True),
        (FUSE, "fuse.sshfs", False), (OVERLAY, "overlay", False), (0x4D44, "vfat", False),
    ],
)  # fmt: skip
def test_what_is_not_known_of_a_kind_is_not_promised(scene: Scene, number: int, kind: str, network: bool) -> None:
    descriptor = scene(number, b"0:50 / /mnt rw - " + kind.encode() + b" source rw\n")

    found = describe(descriptor)

    assert (found.kind, found.network, found.survives_power_failure) == (kind, network, None)
    assert found.sentence.startswith(f"{kind}, ")
    assert on_network(descriptor) is network


@pytest.mark.parametrize(
    ("line", "survives"),
    [
        (b"8:1 / /mnt rw - ext3 /dev/sda1 rw\n", True),
        (b"8:1 / /mnt rw - ext2 /dev/sda1 rw\n", False),
        (b"8:1 / /mnt rw - f2fs /dev/sda1 rw,fsync_mode=nobarrier\n", None),
        (b"8:1 / /mnt rw - btrfs /dev/sda1 rw,nobarrier\n", None),
        (b"8:1 / /mnt rw,nobarrier - xfs /dev/sda1 rw\n", True),  # the mount's own flags do not mean it
        (b"8:250 / /mnt rw - ext4 /dev/none rw\n", None),  # sysfs does not know it
    ],
)
def test_journals_and_barriers_decide(scene: Scene, line: bytes, survives: bool | None) -> None:
    assert describe(scene(EXT4, line)).survives_power_failure is survives


@pytest.mark.parametrize(("number", "kind"), [(NFS, "nfs"), (EXT4, "ext4"), (0x1234, "unknown")])
def test_without_mountinfo_the_number_names_the_kind(scene: Scene, number: int, kind: str) -> None:
    descriptor = scene(number, b"")

    assert mount_of(descriptor) == Mount("", "unknown", "unknown", (), None)
    assert (describe(descriptor).kind, describe(descriptor).survives_power_failure) == (kind, None)


@pytest.mark.parametrize(
    ("line", "mount"),
    [
        (
            b"0:5 / /a\\040b rw shared:1 - tmpfs none rw,size=4k\n",
            Mount("/a b", "tmpfs", "none", ("rw", "size=4k"), None),
        ),
        (
            b"8:17 / /real rw - xfs /dev/sdb1 rw,rtdev=/dev/sdc1\n",  # data may be on its realtime device
            Mount("/real", "xfs", "/dev/sdb1", ("rw", "rtdev=/dev/sdc1"), None),
        ),
        (
            b"7:3 / /mnt rw - xfs /dev/loop3 rw\n",
            Mount("/mnt", "xfs", "/dev/loop3", ("rw",), os.makedev(7, 3)),
        ),
    ],
)  # fmt: skip
def test_a_line_of_mountinfo_is_taken_apart(scene: Scene, line: bytes, mount: Mount) -> None:
    assert mount_of(scene(EXT4, line)) == mount


def test_a_file_system_with_a_number_of_its_own_is_on_the_device_that_it_names(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = b"0:77 / /tree rw - btrfs /dev/node rw\n"
    assert mount_of(scene(EXT4, line)).device is None
    real = os.stat

    class Block:
        st_mode = stat.S_IFBLK
        st_rdev = os.makedev(9, 1)

    monkeypatch.setattr(os, "stat", lambda path, **options: Block if path == "/dev/node" else real(path, **options))

    assert mount_of(scene(EXT4, line)).device == os.makedev(9, 1)


def test_a_descriptor_that_is_none_is_an_error() -> None:
    with pytest.raises(OSError, match="Bad file descriptor"):
        on_network(-1)


@pytest.mark.parametrize("code", [errno.ENOSYS, errno.EPERM])
def test_where_a_sandbox_forbids_to_ask_files_are_opened_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def fstatfs(_: int, buffer: object) -> int:
        ctypes.set_errno(code)
        return -1

    monkeypatch.setattr(filesystem, "_fstatfs", fstatfs)
    monkeypatch.setattr(filesystem, "MOUNTINFO", str(tmp_path / "none"))
    monkeypatch.setattr(open_inode, "_devices", set())
    with untorn.open(tmp_path / "file", "w+b") as file:
        file.write(b"data")

    found = untorn.status(tmp_path / "file").filesystem
    assert found is not None
    assert (found.kind, found.network, found.survives_power_failure) == ("unknown", False, None)


# The warning


@pytest.fixture
def network(scene: Scene, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A file that seems to be on NFS, in a process that has not opened any yet."""
    scene(NFS, b"0:50 / /mnt rw - nfs4 server:/export rw\n")
    monkeypatch.setattr(open_inode, "_devices", set())
    return tmp_path / "file"


def test_a_network_file_system_is_warned_of_once_at_the_line_that_opens(network: Path) -> None:
    with pytest.warns(UntornWarning, match=r"network file system \(nfs4\).*docs/guides/filesystems\.md") as caught:
        untorn.open(network, "r+b").close()

    assert [warning.filename for warning in caught] == [__file__]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        untorn.open(network, "r+b").close()


def test_a_reader_and_a_status_are_not_warned(network: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        untorn.open(network, "rb").close()
        assert untorn.status(network).filesystem is not None


def test_a_warning_that_is_made_an_error_lets_go_of_the_file(network: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(UntornWarning):
            untorn.open(network, "r+b")
        untorn.open(network, "r+b", timeout=0).close()


@pytest.mark.parametrize(("number", "kind"), [(FUSE, b"fuse.sshfs"), (OVERLAY, b"overlay"), (EXT4, b"ext4")])
def test_control_what_is_no_network_is_not_warned_of(
    scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, kind: bytes
) -> None:
    scene(number, b"0:50 / /mnt rw - " + kind + b" source rw\n")
    monkeypatch.setattr(open_inode, "_devices", set())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        untorn.open(tmp_path / "file", "r+b").close()
