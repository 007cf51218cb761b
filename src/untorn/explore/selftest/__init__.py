"""untorn's own library under the explorer: what it goes through, and the defects that must be caught."""
