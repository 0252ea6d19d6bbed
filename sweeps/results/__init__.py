"""What a stored sweep comes to: its summary, its leaderboard, its out-of-fold predictions."""
