"""The sidecar: writes the generations of a run, in the order in which training will read them."""
