"""The copy-on-write log beside a file: format, append, checkpoint, recovery.

Read in this order: ``format`` (every byte), ``extent_map`` (where current data lie), ``writer`` (append, sync,
restart), ``checkpoint`` (log to home), ``scan`` (what a found log holds), ``recovery`` (what to do with it).
"""
