"""What happens before the first trial: cut the data, check the search space, open the sweep."""
