"""How dirty folios become a committed file: the seam for designs, and copy-on-write, which is the default."""
