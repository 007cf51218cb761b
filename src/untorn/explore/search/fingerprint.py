"""A digest of what a workload did, by which a recording is known to be the same."""

from __future__ import annotations

from xxhash import xxh3_64_hexdigest

from untorn.crashmodel.trace import Operation, Trace
from untorn.explore.interpose.bypass_watch import neutral


def fingerprint(trace: Trace) -> str:
    """A digest of every operation and its content."""
    lines = "\n".join(_line(operation) for operation in trace.operations)
    return xxh3_64_hexdigest(neutral(lines).encode(errors="surrogatepass"))


def _line(operation: Operation) -> str:
    return f"{operation.name} {operation.path} {operation.arguments!r} {operation.issued} {operation.completed}"
