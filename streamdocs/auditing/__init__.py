"""What is known of a run by looking at it: the account of what it read."""
