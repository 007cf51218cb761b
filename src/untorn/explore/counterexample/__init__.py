"""A bad state: made as small as it can be, told, confirmed on a plain disk, and run again from a file."""
