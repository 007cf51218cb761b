"""A crashed machine that decides what its disk holds only when somebody looks, and what it then may hold."""
