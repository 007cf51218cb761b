"""The search over all crashes of a recording: runs of recovery, each with another answer to its first open question."""
