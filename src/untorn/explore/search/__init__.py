"""The search over all crashes of a recording."""
