"""Steering: what training reports, and what that makes of the shares of the next window; pure but for two tables."""
