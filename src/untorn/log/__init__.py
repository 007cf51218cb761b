"""The copy-on-write log beside a file: format, append, checkpoint, recovery.

Read in this order: ``ondisk`` (every byte), ``mapping`` (where current data lie), ``log`` (append, sync,
restart), ``install`` (log to home), ``scan`` (what a found log holds), ``recovery`` (what to do with it).
"""
