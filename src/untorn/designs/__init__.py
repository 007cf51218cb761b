"""How dirty folios become a committed file: the designs of the debate, behind one seam."""
