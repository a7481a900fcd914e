"""Generations: how they are stored, what exists of them, and who writes."""
