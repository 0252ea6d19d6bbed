"""Predictions for new images: calibrated fold models, mixed by weight, decided by a rule."""
