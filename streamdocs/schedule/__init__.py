"""Schedule: pure arithmetic that trainer and server share. Nothing here reads a store, a corpus or a clock."""
