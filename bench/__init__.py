"""How fast untorn is, side by side with what it replaces and with the best that its design allows.

Not part of the installed package: ``make bench``, or ``python -m bench`` in the source tree.
"""
