"""What the storage remembers of a sweep, and who may write there."""
