"""The gallery's programs: plain Python that knows nothing of the explorer but ``ack`` and ``acknowledged``.

Each has ``workload(dir)`` and ``check(dir)``; see ``untorn.explore.targets.python_module``. A check is honest: it asks
for what the program may believe, that is the old content or the new one, whole, and whatever was acknowledged.
"""
