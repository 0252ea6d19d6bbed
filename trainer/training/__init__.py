"""One fold run from its first epoch to its result, and what it writes."""
