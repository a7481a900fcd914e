"""Small helpers that every room uses, and that know nothing of any."""
