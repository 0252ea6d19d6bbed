"""What the storage holds about a sweep, and which process may write to the storage."""
