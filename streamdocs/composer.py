"""The Composer callback under its public name; it lives in ``streamdocs.integrations``."""

from streamdocs.integrations.composer import MegadocMonitor

__all__ = ["MegadocMonitor"]
