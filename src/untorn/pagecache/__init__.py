"""The page cache: folios of immutable bytes, their flags, and which are clean, dirty and in writeback."""
