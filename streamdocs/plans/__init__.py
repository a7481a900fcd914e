"""What was sealed of a graph: its editions, and which of these the walks of each round are from."""
