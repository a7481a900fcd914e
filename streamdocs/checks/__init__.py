"""Checks: what can be known of a run before anything of it is generated or read."""
