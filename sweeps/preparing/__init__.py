"""What happens before the first trial: the data are read and cut, the space is tried, the sweep is opened."""
