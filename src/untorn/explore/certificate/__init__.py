"""A second opinion on a search: the persistence rules by other code, and a count of what the search has seen."""
