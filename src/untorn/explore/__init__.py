"""The explorer: every crash state of a recorded run, recovered, checked and counted."""
