"""What happens in an epoch: loss, optimizer, learning rate, one step after another."""
