"""The gallery: each program with its known defect, where that is known from, and what does not have it.

To add one: write a module in ``programs``, and an entry here. A defect without a safe program beside it proves
little, for a check that is never content finds everything.
"""

from __future__ import annotations

from typing import Final

from examples.gallery.entry import Entry, Program

_CPYTHON: Final = "https://github.com/python/cpython/blob/v3.11.7/Lib/"
_ZODB: Final = "https://github.com/zopefoundation/ZODB/blob/6.4/src/ZODB/FileStorage/"
_JUPYTER: Final = (
    "https://github.com/jupyter-server/jupyter_server/blob/v2.21.1/jupyter_server/services/contents/fileio.py"
)
_EXT4: Final = "https://docs.kernel.org/admin-guide/ext4.html (auto_da_alloc)"

ENTRIES: Final = (
    Entry(
        Program("dbm-dumb"),
        "dbm.dumb",
        "Nothing is ever synced, so all keys may be gone after a clean close.",
        f"{_CPYTHON}dbm/dumb.py (no fsync)",
        ("lost sync", "lost metadata", "reordered"),
        (Program("dbm-dumb-synced"),),
    ),
    Entry(
        Program("shelve-update"),
        "shelve over dbm.dumb",
        "The list of keys is moved away before the new one is written: a crash in between loses all entries.",
        f"{_CPYTHON}dbm/dumb.py (_commit, and the comment in __setitem__)",
        ("cut short", "reordered", "lost sync"),
        (Program("shelve-switched"),),
        "No sync mends it; a synced copy and a switch by symbolic link do.",
    ),
    Entry(
        Program("zipfile-append"),
        "zipfile",
        "A new member is written over the central directory, so until that is written again there is no archive.",
        f"{_CPYTHON}zipfile.py (start_dir; close)",
        ("cut short", "torn", "reordered"),
        (Program("zipfile-untorn"),),
    ),
    Entry(
        Program("tarfile-append"),
        "tarfile",
        "A member's header and its data may come to the disk apart: the archive opens and its content is wrong.",
        f"{_CPYTHON}tarfile.py (addfile; no fsync, no checksum of data)",
        ("torn", "cut short", "reordered"),
        (Program("tarfile-untorn"),),
    ),
    Entry(
        Program("gzip-append"),
        "gzip",
        "A torn new member makes the whole file raise when it is read.",
        f"{_CPYTHON}gzip.py (close; no fsync)",
        ("torn", "cut short", "reordered"),
        (Program("gzip-untorn"),),
    ),
    Entry(
        Program("tinydb-insert", ("tinydb",)),
        "tinydb",
        "The whole database is written over itself and only then cut to its length.",
        "https://github.com/msiemens/tinydb/issues/467",
        ("torn", "reordered", "cut short"),
        (Program("tinydb-renamed", ("tinydb",)),),
        "With a storage of the user's own that writes beside and renames, as the issue proposes.",
    ),
    Entry(
        Program("zodb-commit", ("ZODB",)),
        "ZODB.FileStorage",
        "A transaction's mark and its data share one fsync, and there is no checksum: wrong values, without an error.",
        f"{_ZODB}FileStorage.py (tpc_vote, _finish)",
        ("torn", "reordered"),
        (Program("zodb-commit-synced", ("ZODB",)),),
        "With an fsync at the end of tpc_vote.",
    ),
    Entry(
        Program("zodb-refused", ("ZODB",)),
        "ZODB.FileStorage",
        "A transaction came to the disk in part: the storage refuses to open, with all that was committed before.",
        f"{_ZODB}FileStorage.py (read_index, panic)",
        ("torn", "reordered"),
        (),
        "There is no safe program: with an fsync at the end of tpc_vote it still happens before that, when the "
        "length at the end of a transaction is on the disk and its header is not. The header would have to come last.",
    ),
    Entry(
        Program("zodb-first-open", ("ZODB",)),
        "ZODB.FileStorage",
        "Zeros at the end are cut off, but their transaction id 0 is kept: until it is opened again nothing is found.",
        f"{_ZODB}FileStorage.py (read_index: ltid = tid before the record is known to be good)",
        ("lost sync", "reordered", "torn"),
        (Program("zodb-commit-synced", ("ZODB",)),),
        "There too, but its check opens twice, and the second time all is well.",
    ),
    Entry(
        Program("zodb-pack", ("ZODB",)),
        "ZODB.FileStorage",
        "The packed file is renamed over the old one without an fsync: an empty database.",
        f"{_ZODB}FileStorage.py (pack) and fspack.py (no fsync)",
        ("lost metadata", "reordered", "lost sync"),
        (Program("zodb-pack-synced", ("ZODB",)),),
        "In both somebody puts Data.fs.old back if there is no Data.fs; see zodb-pack-window.",
    ),
    Entry(
        Program("zodb-pack-window", ("ZODB",)),
        "ZODB.FileStorage",
        "Between the two renames of pack there is no Data.fs, and a new one is made: an empty database.",
        f"{_ZODB}FileStorage.py (pack: os.rename, os.rename)",
        ("cut short", "reordered", "lost metadata"),
        (Program("zodb-pack-synced", ("ZODB",)),),
        "It puts Data.fs.old back.",
    ),
    Entry(
        Program("diskcache-value", ("diskcache",)),
        "diskcache.Disk",
        "A value in a file of its own is never synced, so its row outlives it. Only Disk is explored, not Cache.",
        "https://github.com/grantjenks/python-diskcache/blob/v5.6.3/diskcache/core.py (Disk._write)",
        ("lost metadata", "reordered", "torn", "lost sync"),
        (Program("diskcache-synced", ("diskcache",)),),
    ),
    Entry(
        Program("h5py-update", ("h5py", "numpy")),
        "h5py",
        "Parts of the file that belong together are written one by one.",
        "https://github.com/h5py/h5py/issues/1807",
        ("cut short", "reordered", "torn"),
        (Program("h5py-untorn", ("h5py", "numpy")),),
        "The code in C gets a file object, so the explorer sees what it does.",
    ),
    Entry(
        Program("numpy-savez", ("numpy",)),
        "numpy.savez",
        "The old file is cut off before the new one is there.",
        _EXT4,
        ("cut short", "reordered", "lost sync"),
        (Program("numpy-untorn", ("numpy",)),),
    ),
    Entry(
        Program("rename-unsynced"),
        "os.replace",
        "The new name may be on the disk before the data: an empty file, or zeros.",
        f"https://github.com/whoosh-community/whoosh/issues/322; {_EXT4}",
        ("reordered", "lost metadata"),
        (Program("rename-synced"),),
    ),
    Entry(
        Program("pickle-in-place"),
        "pickle",
        "The old file is cut off before the new one is there.",
        _EXT4,
        ("cut short", "reordered", "lost sync", "torn"),
        (Program("pickle-untorn"),),
    ),
    Entry(
        Program("json-in-place"),
        "json",
        "The old file is cut off before the new one is there.",
        f"https://github.com/szabodanika/microbin/issues/278 (the same elsewhere); {_EXT4}",
        ("cut short", "reordered", "lost sync", "torn"),
        (Program("json-untorn"), Program("rename-synced")),
    ),
    Entry(
        Program("json-synced"),
        "json",
        "The same with an fsync, which makes it durable and not whole.",
        _EXT4,
        ("cut short", "reordered", "lost sync", "torn"),
        (Program("json-untorn"), Program("rename-synced")),
    ),
    Entry(
        Program("configparser-in-place"),
        "configparser",
        "The old file is cut off before the new one is there; an empty one is read without an error.",
        "https://docs.python.org/3.11/library/configparser.html (Quick Start)",
        ("cut short", "reordered", "lost sync", "torn"),
        (Program("configparser-renamed"),),
    ),
    Entry(
        Program("copy-over"),
        "shutil.copyfile",
        "The old version is cut off before the new one is there.",
        f"{_CPYTHON}shutil.py (copyfile)",
        ("cut short", "reordered", "lost sync", "torn"),
        (Program("copy-renamed"),),
    ),
    Entry(
        Program("maildir-add"),
        "mailbox.Maildir",
        "A message's data are synced and its name is not: a message that was delivered may be gone.",
        f"{_CPYTHON}mailbox.py (Maildir.add); https://github.com/marlam/mpop/issues/8 (the same elsewhere)",
        ("lost sync", "lost metadata", "reordered"),
        (Program("maildir-synced"), Program("mbox-remove")),
        "mailbox.mbox writes beside, syncs and renames, and needs no help: the box is the old one or the new.",
    ),
    Entry(
        Program("cachelib-set", ("cachelib",)),
        "cachelib.FileSystemCache",
        "A session is renamed over the old one without an fsync: an empty file, and the session is gone.",
        "https://github.com/wizarrrr/wizarr/issues/1180; https://github.com/pallets-eco/cachelib/issues/360 (no crash)",
        ("reordered", "lost metadata", "torn"),
        (Program("cachelib-synced", ("cachelib",)),),
    ),
    Entry(
        Program("joblib-memory", ("joblib",)),
        "joblib.Memory",
        "A result is renamed to its name without an fsync, and has no checksum: a wrong result, without an error.",
        "https://github.com/joblib/joblib/blob/1.6.0/joblib/_store_backends.py (_concurrency_safe_write, no fsync)",
        ("torn", "reordered", "lost metadata"),
        (Program("joblib-synced", ("joblib",)),),
        "What cannot be unpickled is computed anew; zeros within the result are given back.",
    ),
    Entry(
        Program("dotenv-set-key", ("python-dotenv",)),
        "python-dotenv",
        "The new file takes the place of the old one without an fsync: all keys are gone.",
        "https://github.com/theskumar/python-dotenv/blob/v1.2.2/src/dotenv/main.py (rewrite, no fsync); "
        "https://github.com/NousResearch/hermes-agent/pull/842 (the same elsewhere)",
        ("reordered", "lost metadata", "torn"),
        (Program("dotenv-renamed", ("python-dotenv",)),),
    ),
    Entry(
        Program("zarr-store", ("zarr",)),
        "zarr.storage.LocalStore",
        "A chunk is renamed over the old one without an fsync: an empty chunk, or zeros.",
        "https://github.com/zarr-developers/zarr-python/blob/v3.1.6/src/zarr/storage/_local.py (_atomic_write, no "
        "fsync); https://github.com/zarrs/zarrs-python/issues/185 (truncated chunks elsewhere)",
        ("reordered", "lost metadata", "torn"),
        (Program("zarr-synced", ("zarr",)),),
        "With a store of the user's own that syncs the chunk before it renames it.",
    ),
    Entry(
        Program("nbformat-write", ("nbformat",)),
        "nbformat.write",
        "The old notebook is cut off before the new one is there.",
        "https://github.com/jupyter/help/issues/171; https://github.com/nbQA-dev/nbQA/pull/542",
        ("cut short", "reordered", "lost sync", "torn"),
        (Program("nbformat-renamed", ("nbformat",)),),
    ),
    Entry(
        Program("jupyter-save", ("jupyter_server",)),
        "jupyter_server",
        "A save cuts off the old notebook before the copy that is to replace it is synced: both may be gone.",
        f"{_JUPYTER} (atomic_writing: copy2_safe, no fsync); https://github.com/jupyter/notebook/issues/1563; "
        "https://github.com/jupyter-ai-contrib/jupyter-server-documents/pull/292",
        ("lost metadata", "reordered", "lost sync", "torn"),
        (Program("jupyter-synced", ("jupyter_server",)),),
        "With an fsync of the copy and one of the directory, when atomic_writing has made it. If only the server "
        "dies, the next one restores the notebook when it opens it; other files are saved likewise and never restored: "
        "what was there is in .~NAME then. A notebook that was saved before may also be in .ipynb_checkpoints, in an "
        "older version, which is not explored here.",
    ),
    Entry(
        Program("jupyter-restore", ("jupyter_server",)),
        "jupyter_server",
        "Between the two renames that restore a notebook there is none, and the server never looks for the copy again.",
        f"{_JUPYTER} (_read_notebook: async_replace_file, async_replace_file)",
        ("cut short", "reordered", "lost metadata"),
        (Program("jupyter-restored", ("jupyter_server",)),),
        "The cells are still in .~NAME, for a user who knows of it.",
    ),
    Entry(
        Program("mh-add"),
        "mailbox.MH",
        "A message is added, and the list of sequences is cut off first: the flags of all others may be gone.",
        f"{_CPYTHON}mailbox.py (MH.set_sequences); https://github.com/python/cpython/issues/156312 (messages likewise)",
        ("cut short", "reordered", "lost sync", "torn"),
        (Program("mh-replaced"),),
        "With the list written beside, synced and renamed.",
    ),
    Entry(
        Program("rotating-log"),
        "logging.handlers.RotatingFileHandler",
        "Records are flushed and never synced, and neither is the directory when a file is begun.",
        f"{_CPYTHON}logging/handlers.py (no fsync); https://github.com/zeek/zeek/pull/1817 (the same elsewhere)",
        ("lost sync", "lost metadata", "reordered", "torn"),
        (Program("rotating-synced"),),
    ),
    Entry(
        Program("copy-new"),
        "shutil.copyfile",
        "What has the new name may be a part of the file, as many zeros, or empty.",
        f"{_CPYTHON}shutil.py (copyfile); https://github.com/balena-os/balenahup/issues/2",
        ("cut short", "reordered", "lost sync", "torn"),
        (Program("copy-new-renamed"),),
    ),
    Entry(
        Program("wave-record"),
        "wave",
        "Frames are synced while a recording grows, but the header says how many only at the end: they are not read.",
        f"{_CPYTHON}wave.py (writeframesraw, close); https://github.com/monome/norns/issues/1436 (the same elsewhere)",
        ("cut short", "lost sync", "reordered"),
        (Program("wave-patched"),),
        "With writeframes in place of writeframesraw.",
    ),
)

TARGETS: Final = tuple({program.name: program for one in ENTRIES for program in (one.program, *one.safe)}.values())
"""Those with a defect and, behind each, those without it."""
