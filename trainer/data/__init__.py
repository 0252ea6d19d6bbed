"""The labelled images: read from a CSV or a folder, cleaned, checked for leaks, cut into folds."""
