"""The demo: everything on one machine in a few minutes, without a GPU, a network or a model."""
