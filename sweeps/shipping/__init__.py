"""What leaves a sweep: submissions, packed models, models trained on all data."""
