"""Which files of ended trials stay or go, and which ended trials are repeated or used again."""
