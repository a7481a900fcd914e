"""The command ``streamdocs export``."""
