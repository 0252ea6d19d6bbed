"""Labelled images: read them from a table or a folder, clean them, find leaks, make folds."""
