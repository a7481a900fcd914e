"""What recipes are worth: loss on held-out text, data efficiency, scaling laws, and the shares that papers report."""
