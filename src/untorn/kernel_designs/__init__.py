"""The designs of the kernel's debate, which write home in place: there to be compared with ``cow``.

``in_place`` and ``in_place_inode`` are what they have in common, ``plain`` is the control, ``folio_flag`` (with
``atomic_blocks``) and ``mapping_flag`` write back later (``written_back``), ``writethrough`` and ``writethrough_inode``
write within the call.
"""
