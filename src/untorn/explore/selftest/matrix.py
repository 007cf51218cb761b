"""The whole matrix, ``untorn explore --all matrix``: every workload of the library on every device."""

from untorn.explore.selftest.targets import MATRIX

TARGETS = MATRIX
