"""Reading: from a sealed window to a batch in the trainer."""
