"""From a CSV or a folder to decoded batches: manifest, folds, cache, batches."""
