"""Many trainings: search spaces, trials, folds, and what to conclude from them."""
