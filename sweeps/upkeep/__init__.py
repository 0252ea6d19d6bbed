"""What stays of ended trials, what is removed, and what is tried or used again."""
