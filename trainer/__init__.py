"""One training: a frozen configuration, K-1 folds in, the held-out fold scored.

Nothing here knows of sweeps, Ray, Optuna or W&B; `python -m trainer` trains one fold alone.
"""
