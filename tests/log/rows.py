"""The disk states that recovery may find, one row each. ``tests/log/pictures.py`` says how to read them."""

from __future__ import annotations

from tests.log.pictures import Picture

P = Picture
W = "wxyz"
"""What home holds where nothing else is said."""

DAMAGE = ("!h", "!t", "!p", "!H", "!T", "!P", "!z")
TEARS = (*DAMAGE, "!c", "!n")

PICTURES: dict[str, Picture] = {
    # No log, or none that counts
    "no log": P("-", W, W, mark="none"),
    "created, never allocated": P("0", W, W, mark="none"),
    "created, never started": P("00", W, W, mark="none"),
    "started, not marked": P("S1", W, W, mark="none"),
    "started, not marked, a record torn": P("S1 cA0!p", W, W, mark="none"),
    "started": P("S1", W, W),
    "at its end, mark removed": P("K2~1 S3", W, W, mark="none"),
    "at its end, mark removed, old records behind": P("K2~1 S3 1:cA0", W, W, mark="none"),
    # Commits
    "one commit": P("S1 cA0", W, "Axyz"),
    "an empty commit": P("S1 c", W, W),
    "commits in order": P("S1 cA0 cB1 cC0", W, "CByz"),
    "a commit of many extents": P("S1 cAB1C3D5", W, "wABC.D"),
    "a commit over part of another": P("S1 cABC0 cD1", W, "ADCz"),
    "a commit that grows the file": P("S1 cA6", W, "wxyz..A"),
    "a new file": P("S1 cA0", "", "A"),
    # Sizes
    "truncated": P("S1 c<2=2", W, "wx"),
    "truncated to nothing": P("S1 c<0=0", W, ""),
    "extended": P("S1 c=6", W, "wxyz.."),
    "truncated down and up": P("S1 c<1=4", W, "w..."),
    "truncated down and up, with data": P("S1 cA3<1=5", W, "w..A."),
    "truncated down, up by the next commit": P("S1 c<1=1 c=4", W, "w..."),
    "truncated down, up by the next write": P("S1 c<1=1 cA3", W, "w..A"),
    "logged data cut off": P("S1 cA2 c<2=2 c=4", W, "wx.."),
    "part of an extent cut off": P("S1 cABC0 c<2=2 c=4", W, "AB.."),
    # Spills, savepoints, rollbacks
    "data without a commit": P("S1 dA0", W, W),
    "data without a commit, after one": P("S1 cA0 dB1", W, "Axyz"),
    "data and its commit": P("S1 dA0 dB1 cC2", W, "ABCz"),
    "data rolled back": P("S1 dA0 cB1^0", W, "wByz"),
    "data rolled back by an empty commit": P("S1 dA0 c^0", W, W),
    "data rolled back after a commit": P("S1 cA0 dB1 cC2^1", W, "AxCz"),
    "a savepoint rolled back": P("S1 dA0 dB1 cC2^1", W, "AxCz"),
    "savepoints rolled back at once": P("S1 dA0 dB1 dC2 dD3^1 cE0^4", W, "ExyD"),
    "data cuts, its commit extends": P("S1 dA0<1=1 c=4", W, "A..."),
    "a cut rolled back": P("S1 d<1=1 cA0^0", W, "Axyz"),
    "a commit on data that was rolled back": P("S1 dA0 dB1^0 cC2^1", W, W),
    "a commit on a commit before the last": P("S1 cA0 cB1 cC2^1", W, "AByz"),
    "a commit on itself": P("S1 cA0 cB1 cC2^2 cD3^3", W, "ABCD"),
    # A torn tail is normal
    **{f"first record torn ({t})": P(f"S1 cA0{t}", W, W) for t in TEARS},
    **{f"last record torn ({t})": P(f"S1 cA0 cB1{t}", W, "Axyz") for t in TEARS},
    "a middle record torn": P("S1 cA0 cB1!p cC2", W, "Axyz"),
    "a middle record torn, what was before it durable": P("S1 cA0 cB1!z cC2~1", W, "Axyz"),
    "the tail torn in a checkpoint": P("S1 K2~2 cA0 cB1 cC2!p", W, "AByz"),
    "a transaction's data torn": P("S1 cA0 dB1!z cC2", W, "Axyz"),
    "a later generation's record behind a torn one": P("S1 cA0!z 3:cB1~1", W, W),
    # Damage is not
    **{
        f"a durable record damaged ({t})": P(f"S1 cA0 cB1{t} cC2~2", W, "CorruptLogError@36864", "Axyz") for t in DAMAGE
    },
    "the first record damaged": P("S1 cA0!p cB1~1", W, "CorruptLogError@32768", W),
    "damaged, known from far behind": P("S1 cA0 cB1!p cC2 cD3 cA1~2", W, "CorruptLogError@36864", "Axyz"),
    "damaged, known from data": P("S1 cA0!p dB1~1", W, "CorruptLogError@32768", W),
    "damaged, known from a record that is torn": P("S1 cA0!z cB1~1!p", W, "CorruptLogError@32768", W),
    "damaged in a checkpoint": P("S1 K2~2 cA0 cB1!p", W, "CorruptLogError@36864", "Axyz"),
    "damaged in a checkpoint, home partly rewritten": P("S1 K2~2 cA0!p cB1", "wByz", "CorruptLogError@32768"),
    "all records lost in a checkpoint": P("S1 K2~2 cA0!z cB1!z", W, "CorruptLogError@32768", W),
    "a record in another's place": P("S1 cA0 cB1!n~2", W, "CorruptLogError@36864", "Axyz"),
    # Checkpoints: home in any state between
    **{
        f"checkpoint of two commits, home {home}": P("S1 K2~2 cA0 cB1", home, "AByz")
        for home in ["wxyz", "Axyz", "wByz", "AByz"]
    },
    **{f"checkpoint of a cut, home {home}": P("S1 K2~1=4 c<2=2", home, "wx") for home in ["wxyz", "wx"]},
    **{
        f"checkpoint of a cut and a growth, home {home}": P("S1 K2~1=4 cA6<1=7", home, "w.....A")
        for home in ["wxyz", "w", "w.....A", "w......", "wxyz..A"]
    },
    **{
        f"checkpoint of a growth, home {home}": P("S1 K2~1=4 cA6", home, "wxyz..A")
        for home in ["wxyz", "wxyz..", "wxyz...", "wxyz..A"]
    },
    # What an earlier recovery could not prove it copied, and was cut off in its checkpoint
    **{
        f"copied by recovery, home {home}": P("S1 K2~2@1 cA0 cB1!z + cB1", home, "AByz")
        for home in ["wxyz", "Axyz", "wByz", "AByz"]
    },
    "copied, the records in their place are whole, too": P("S1 K2~2@1 cA0 cB1 + cB1", W, "AByz"),
    "all of it copied": P("S1 K2~2@0 cA0!z cB1!z + cA0 cB1", W, "AByz"),
    "a transaction copied": P("S1 K2~3@1 cA0 dB1!z cC2!z + dB1 cC2", W, "ABCz"),
    "a record behind the copy": P("S1 K2~1@0 cA0 + cA0 cB1", W, "Axyz"),
    "the copy damaged": P("S1 K2~2@1 cA0 cB1 + cB1!p", W, "CorruptLogError@40960", "Axyz"),
    "what was not copied damaged": P("S1 K2~2@1 cA0!p cB1 + cB1", W, "CorruptLogError@32768", W),
    "another record where the copy should be": P("S1 K2~2@1 cA0 cB1 + cB1!n", W, "CorruptLogError@40960", "Axyz"),
    "copied, restarted": P("K2~2@1 S3 1:cA0 1:cB1", "ABqz", "ABqz"),
    "checkpoint, slot alone left": P("K2~1 cA0", W, "Axyz"),
    "checkpoint of nothing": P("S1 K2", W, W),
    # Restarts
    "checkpoint done, restart not durable": P("S1 K2~1 cA0", "Axyz", "Axyz"),
    "restarted, old records behind": P("K2~1 S3 1:cA0 1:cB1", "ABqz", "ABqz"),
    "restarted, a new record over an old one": P("K2~2 S3 cC2 1:cB1", "AByz", "ABCz"),
    "restarted, old slot zeroed": P("S3 cC2 1:cB1", "AByz", "ABCz"),
    "restarted twice": P("K4~1 S5 cC2 3:cB1 1:cA0", W, "wxCz"),
    "in the second checkpoint": P("S3 K4~1 cC2", W, "wxCz"),
    # Damaged slots: no older generation comes back
    "the only slot damaged": P("S1!h cA0", W, "CorruptLogError@0"),
    "both slots damaged": P("S1!h K2!h cA0", W, "CorruptLogError@0"),
    "the newest slot damaged, the one before zeroed": P("S3!h cC2 1:cB1", W, "CorruptLogError@0"),
    "the newest slot damaged, new records over the old": P("K2~1 S3!h cC2", W, "CorruptLogError@32768"),
    "the newest slot damaged, nothing written since": P("K2~1 S3!h 1:cA0", "Axyz", "Axyz"),
    "the checkpoint slot damaged, home touched": P("S1 K2~1!h cA0", "Axyz", "ForeignEditError", "Axyz", edited="later"),
    "the checkpoint slot damaged, no record left": P("S1 K2~1!h", "Axyz", "CorruptLogError@4096", edited="later"),
    "a recovery cut off in its slot, then edited": P("S1 K2!h", "qqqq", "CorruptLogError@4096", edited="later"),
    "the checkpoint slot damaged, home untouched": P("S1 K2!h", W, W),
    "the older slot damaged": P("S1!h K2~1 cA0", W, "Axyz"),
    # Whose log it is
    "unmarked, a log with records": P("S1 cA0", W, "aside wxyz", "Axyz", mark="none"),
    "unmarked, a checkpoint": P("S1 K2~1 cA0", W, "aside wxyz", "Axyz", mark="none"),
    "unmarked, something else": P("S1!h cA0", W, "aside wxyz", mark="none"),
    "unmarked, slots zero, records behind": P("00 cA0", W, "aside wxyz", mark="none"),
    "unmarked, another file's log": P("S1!f cA0", W, "aside wxyz", "Axyz", mark="none"),
    "unmarked, the first record damaged": P("S1 cA0!p cB1~1", W, "aside wxyz", mark="none"),
    "unmarked, damaged": P("S1 cA0 cB1!p cC2~2", W, "aside wxyz", "Axyz", mark="none"),
    "marked, no log": P("-", W, "MissingLogError"),
    "marked, an empty file": P("0", W, "CorruptLogError@0"),
    "marked, a blank log": P("00", W, "CorruptLogError@0"),
    "marked, another file's log": P("S1!f cA0", W, "LogError"),
    "marked as another file, its log is not there": P("S1 cA0", W, "LogError", mark="other"),
    "marked, another file's log, no records": P("S1!f", W, "LogError"),
    # Without extended attributes
    "by inode, no log": P("-", W, W, xattrs=False),
    "by inode": P("S1 cA0", W, "Axyz", xattrs=False),
    "by inode, started": P("S1", W, W, xattrs=False),
    "by inode, created": P("00", W, W, xattrs=False),
    "by inode, in a checkpoint": P("S1 K2~2 cA0 cB1", "wByz", "AByz", xattrs=False),
    "by inode, another file": P("S1 cA0", W, "aside wxyz", "Axyz", xattrs=False, moved=True),
    "by inode, another file, changed": P("S1 cA0", W, "aside wxyz", xattrs=False, moved=True, edited="later"),
    "unmarked, another file": P("S1 cA0", W, "aside wxyz", mark="none", moved=True, edited="later"),
    "by inode, another file, no records": P("S1", W, W, xattrs=False, moved=True),
    "by inode, slot damaged": P("S1!h cA0", W, "aside wxyz", xattrs=False),
    "by inode, damaged": P("S1 cA0!p cB1~1", W, "CorruptLogError@32768", W, xattrs=False),
    "by inode, edited": P("S1 cA0", W, "ForeignEditError", "Axyz", xattrs=False, edited="later"),
    # Home changed by another program
    "edited, longer": P("S1=3 cA0", W, "ForeignEditError", "Axy"),
    "edited, shorter": P("S1=5 cA0", W, "ForeignEditError", "Axyz."),
    "edited": P("S1 cA0", W, "ForeignEditError", "Axyz", edited="later"),
    "restored from a backup": P("S1 cA0", W, "ForeignEditError", "Axyz", edited="earlier"),
    "edited, nothing committed": P("S1", W, W, edited="later"),
    "edited, data but no commit": P("S1 dA0", W, W, edited="later"),
    "edited, damaged": P("S1 cA0!p cB1~1", W, "CorruptLogError@32768", W, edited="later"),
    "in a checkpoint, home newer": P("S1 K2~1 cA0", W, "Axyz", edited="later"),
    "restored from a backup in a checkpoint": P("S1 K2~1 cA0", W, "ForeignEditError", "Axyz", edited="earlier"),
    # The writer was killed: some of it is in the cache only
    "killed, a commit not durable": P("S1 cA0 | cB1", W, "AByz", legal=("Axyz",)),
    "killed, no commit durable": P("S1 | cA0 cB1", W, "AByz", legal=("Axyz", W)),
    "killed, a transaction not durable": P("S1 cA0 | dB1 cC2", W, "ABCz", legal=("Axyz",)),
    "killed after its sync failed": P("S1 cA0 || cB1", W, "AByz", legal=("Axyz",)),
    "killed in a spill": P("S1 cA0 | dB1 dC2", W, "Axyz"),
    "killed in a checkpoint": P("S1 K2~1 cA0", W, "Axyz", cached="Axyz"),
    "killed in a checkpoint that grows": P("S1 K2~1 cA6", W, "wxyz..A", cached="wxyz..A"),
    "killed in a checkpoint, a commit behind what the slot counts": P("S1 K2~1 cA0 | cB1", W, "Axyz", cached="Axyz"),
}
