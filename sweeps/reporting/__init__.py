"""What a sweep shows of itself to people and to other programs."""
