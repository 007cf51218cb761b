"""The search over all crashes of a recording: ``engine`` runs it, ``recovery_crashes`` crashes recovery itself.

Each word in one line; it means the same everywhere in the explorer. First, what a crash may leave:

    event           a number for the issue and one for the return of each operation of a trace
    crash point     the event just after which a crash comes; 0 is before all of them
    layer           what was done until a crash: by the workload (depth 0), by a recovery cut off itself (depth 1), ...
    variable        one thing that a crash decides: a sector, a size, a name, an attribute, a time, an owner
    alternatives    of a variable in a layer: its values, each with the classes at which it is legal
    class           crash points of a layer that no legal interval and no acknowledgement tells apart, by number
    mask            a set of classes, as bits
    INHERITED       the value of a variable that the layer below decides
    deciders        the variables of layers that decide what one variable holds, uppermost first
    level           one of several that the versions of a sector lie in (``crashmodel.write_groups``); no layer

Then, how the states are gone through:

    question        what recovery or check wants to know: a value, a digest, a crash point (AskValue, ...)
    answer          what it is told; the values that give the same answer are one part, and one branch
    choice          the branch that is taken at a question; a prefix is the first choices of an execution
    domain          of a variable that was asked about: the values that it still may have
    group           sectors that were found not to match a digest: each may have any value, but not all match
    crash state     masks, domains and groups at one moment of an execution; a Snapshot is a copy of them
    execution       one run of recovery and check, along one path of choices
    outcome         what an execution came to: a leaf of the tree of choices, for all states that its end leaves
    segment         the events of recovery between two choices of an execution
    search          all executions that start from one state
    nested search   the search over the crashes of a segment: recovery is cut off there, and begins again
    pinned state    one state, chosen out of all that an outcome stands for
    coverage        how far the states were gone through, if a budget ended the search: the fallbacks have less of it
    counterexample  a pinned state that is bad, made as small as it can be, and told in words
    certificate     the word of ``explore.certificate``, by rules of its own, that no state was left out

One search, drawn by itself (``tests/explore/search/picture.py``). The workload writes a record of two sectors into a
file of three, then the header in sector 0 that makes it count, syncs, and tells the world. Recovery reads the header
and, if that is new, asks for the record's digest; if that does not match it puts the old header back and syncs. Check
reads the header and asks what had been told.

THE TRACE of the workload, which is the layer at depth 0. A crash comes just after one of its events, and leaves
of each variable one of the values that have a line there. To the right, the mask of each.

    event                   0  1  2  3  4  5  6  7  8  9 10
    0 open                   [====]
    1 pwritev 1, 2 new             [====]
    2 pwritev 0 new                      [====]
    3 fdatasync                                [====]
    4 acknowledge                                    [====]
    sector 1 old          ------------------------            012..
             new                   ------------------------   .1234
    sector 2 old          ------------------------            012..
             new                   ------------------------   .1234
    time     t0           ---------------------------------   01234
             t1                    ------------------------   .1234
             t2                          ------------------   ..234
    sector 0 old          ------------------------            012..
             new                         ------------------   ..234
    class                   0        1     2        3     4

THE TREE of the choices that recovery and check make: the choices so far, the mask of the classes that are left,
and the next question, or the outcome with the domains of what was asked about. Nobody asked about the time, so
that each outcome stands for all times that are legal with it.

    ()        01234   AskValue, sector 0: 0 old | 1 new
    (0)       012..     outcome: 21 ways; sector 0 old
    (1)       ..234     AskDigest, sector 1 and sector 2: 0 match | 1 do not all match
    (1, 0)    ..234       AskCrashPoint, told by then: 0 nothing | 1 saved
    (1, 0, 0) ..23.         outcome: 6 ways; sector 0 new, sector 1 new, sector 2 new
    (1, 0, 1) ....4         outcome: 3 ways; sector 0 new, sector 1 new, sector 2 new
    (1, 1)    ..2..       outcome: 9 ways; sector 0 new, sector 1 old or new, sector 2 old or new
                                   group: sector 1 and sector 2 not both new

THE SEGMENTS of the execution (1, 1) lie between its choices. Only the last changes something, so there recovery
is cut off: this is the layer at depth 1. What did not survive is INHERITED from the layer below.

    event                   0  1  2  3  4  5  6  7  8
    0 open                   [====]
    1 pread                        [====]
    2 pwritev 0 old                      [====]
    3 fdatasync                                [====]
    segment ()               ......
    segment (1)                    ......
    segment (1, 1)                       ............
    sector 0 INHERITED                   ---------      0.
             old                         ------------   01
    time     INHERITED                   ------------   01
             t3                          ------------   01
    class                                  0        1

THE NESTED SEARCH runs recovery once more over both layers, from what that execution had decided. Where sector 0
is INHERITED, it is new, for that is its domain; and that the digest does not match then says the group, without
a question.

    ()        01      AskValue, sector 0: 0 INHERITED | 1 old
    (0)       0.        outcome: 9 x 2 = 18 ways; sector 0 INHERITED
    (1)       01        outcome: 9 x 4 = 36 ways; sector 0 old

THE CERTIFICATE counts the same by its own rules; classes that differ in what was told alone count once.

    depth 0: 36 states in 4 recoveries
    depth 1: 54 states in 2 recoveries
"""
