"""Small helpers that the server's rooms share."""
