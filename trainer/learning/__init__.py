"""Training steps: loss, optimizer, learning rate, weight average and early stopping."""
