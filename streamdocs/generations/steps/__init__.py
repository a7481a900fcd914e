"""What is asked for an item, step by step, and what became of the answers."""
