"""Results of a stored sweep: its summary, its leaderboard, and scores of OOF predictions."""
