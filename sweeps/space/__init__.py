"""What a search space file says: parameters, their laws and conditions, and the sections around them."""
