"""The commands ``streamdocs check`` and ``streamdocs schema``."""
