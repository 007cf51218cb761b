"""The designs of the kernel's debate, which write home in place: there to be compared with ``cow``."""
