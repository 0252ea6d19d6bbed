"""One fold run from its first epoch to its result, and the files that it writes."""
