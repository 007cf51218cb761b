"""What can be explored: the protocol, modules of plain functions, and targets by name."""
