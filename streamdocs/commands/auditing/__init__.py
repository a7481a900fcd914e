"""The command ``streamdocs audit``."""
