"""What there is for Composer under its public name; it lives in ``streamdocs.integrations``."""

from streamdocs.integrations.composer import MegadocMonitor, held_out_evaluators

__all__ = ["MegadocMonitor", "held_out_evaluators"]
