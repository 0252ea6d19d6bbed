"""The search space file: parameters with distributions and conditions, and other sections."""
