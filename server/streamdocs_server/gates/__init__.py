"""Gates: what of a generation is good enough to be read."""
