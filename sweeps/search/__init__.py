"""What to try next, and what to stop: samplers, rules and budgets as functions of the stored trials."""
